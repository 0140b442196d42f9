"""Sheets of many small slices, refused by name; and images that only a word in their header calls so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_series import make_enhanced, make_series, read, save, verdict_of
from pydicom.uid import ImplicitVRLittleEndian

from swinunet.client.dicom import VerdictKind
from swinunet.foundation.errors import InputError

MOSAIC = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
GRID = ["ORIGINAL", "PRIMARY", "M", "ND", "NORM", "VFRAME"]
COUNTS = {"siemens": (0x0019, "SIEMENS MR HEADER", 0x0A, "US"), "uih": (0x0065, "Image Private Header", 0x50, "DS")}


def say_slices(slices: list[pydicom.Dataset], vendor: str, count: int) -> list[pydicom.Dataset]:
    """The number of slices in the vendor's private element."""
    group, creator, element, vr = COUNTS[vendor]
    for ds in slices:
        ds.private_block(group, creator, create=True).add_new(element, vr, str(count) if vr == "DS" else count)
    return slices


@pytest.mark.parametrize("image_type", [MOSAIC, GRID])
def test_frames_that_lie_apart_are_slices_whatever_the_image_type_says(image_type: list[str], tmp_path: Path) -> None:
    """Enhanced MR of syngo MR XA30 keeps the word MOSAIC (dcm2niix issue 553)."""
    enhanced = make_enhanced(range(6))
    enhanced.ImageType = image_type
    enhanced.Manufacturer = "Siemens Healthineers"
    found = read(save(tmp_path, [enhanced])).volume
    assert found.shape == (3, 2, 6)
    assert found.spacing_mm == pytest.approx((0.75, 0.5, 2.0))
    assert len({found.voxels[:, :, k].tobytes() for k in range(6)}) == 6


def test_frames_at_one_place_are_sheets(tmp_path: Path) -> None:
    enhanced = make_enhanced([0, 0, 0])
    enhanced.ImageType = MOSAIC
    assert verdict_of(save(tmp_path, [enhanced]))[0] is VerdictKind.MOSAIC


@pytest.mark.parametrize("image_type", [MOSAIC, GRID])
def test_single_images_one_stated_step_apart_are_slices(image_type: list[str], tmp_path: Path) -> None:
    """A PACS that takes a mosaic apart keeps its ImageType."""
    found = read(save(tmp_path, make_series(ImageType=image_type, SpacingBetweenSlices="2"))).volume
    assert found.shape == (3, 4, 5)


@pytest.mark.parametrize(("stated", "step"), [("2.5", 2.0), (None, 2.0), ("2", 3.0)])
def test_single_images_at_other_steps_are_not_trusted(stated: str | None, step: float, tmp_path: Path) -> None:
    save(tmp_path, make_series(ImageType=MOSAIC, SpacingBetweenSlices=stated, step_mm=(0, 0, step)))
    assert verdict_of(tmp_path)[0] is VerdictKind.MOSAIC


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("flagged", [True, False])
def test_a_grid_of_united_imaging_is_refused_by_name(flagged: bool, times: int, tmp_path: Path) -> None:
    """One file is a sheet of 4 x 3 slices of one point in time (dcm2niix issues 225 and 993)."""
    sheets = make_series(
        np.arange(times * 96 * 128, dtype=np.uint16).reshape(times, 96, 128), step_mm=(0, 0, 0), Manufacturer="UIH",
        ImageType=GRID if flagged else GRID[:-1], SliceThickness="3", SpacingBetweenSlices="4",
    )  # fmt: skip
    for number, ds in enumerate(say_slices(sheets, "uih", 12), start=1):
        ds.AcquisitionNumber = number
    save(tmp_path, sheets)
    kind, sentence = verdict_of(tmp_path)
    assert kind is VerdictKind.MOSAIC
    assert sentence.startswith("United Imaging grid: each image is a sheet")
    with pytest.raises(InputError, match="mosaic: United Imaging grid"):
        read(tmp_path)


@pytest.mark.parametrize("vendor", list(COUNTS))
@pytest.mark.parametrize("implicit", [False, True])
def test_a_stated_number_of_slices_is_a_sheet_without_the_word(vendor: str, implicit: bool, tmp_path: Path) -> None:
    """Also where the images lie apart, as those of a moving table do; the element's VR may be unknown."""
    slices = say_slices(make_series(SpacingBetweenSlices="2"), vendor, 36)
    for ds in slices:
        if implicit:
            ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    assert verdict_of(save(tmp_path, slices))[0] is VerdictKind.MOSAIC


@pytest.mark.parametrize("vendor", list(COUNTS))
def test_one_slice_an_image_is_no_sheet_whatever_the_word(vendor: str, tmp_path: Path) -> None:
    slices = say_slices(make_series(ImageType={"siemens": MOSAIC, "uih": GRID}[vendor]), vendor, 1)
    assert verdict_of(save(tmp_path, slices))[0] is VerdictKind.OK


def test_the_element_of_another_creator_counts_nothing(tmp_path: Path) -> None:
    slices = make_series()
    for ds in slices:
        ds.private_block(0x0065, "SOMEBODY ELSE", create=True).add_new(0x50, "DS", "12")
    assert verdict_of(save(tmp_path, slices))[0] is VerdictKind.OK
