"""Accidents and oddities of real studies on the command line: the verdicts, one sentence, and the exit status."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from command_line import run_swinunet
from dicom_series import AXIAL, CORONAL, SAGITTAL, decimal, make_enhanced, make_series, save
from pydicom.dataset import Dataset
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    EnhancedCTImageStorage,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)


def each(**values: Callable[[int], object]) -> Callable[[], list[Dataset]]:
    """Five slices, attributes set by their number."""

    def make() -> list[Dataset]:
        slices = make_series()
        for k, ds in enumerate(slices):
            for keyword, value in values.items():
                setattr(ds, keyword, value(k))
        return slices

    return make


def one_series(*stacks: Sequence[Dataset]) -> list[Dataset]:
    slices = [ds for stack in stacks for ds in stack]
    for ds in slices:
        ds.SeriesInstanceUID, ds.FrameOfReferenceUID = slices[0].SeriesInstanceUID, slices[0].FrameOfReferenceUID
    return slices


def twice(keyword: str, first: object, second: object) -> Callable[[], list[Dataset]]:
    """Two volumes at the same places, told apart by one attribute alone."""
    return lambda: one_series(make_series(**{keyword: first}), make_series(**{keyword: second}))


def projection() -> list[Dataset]:
    slices = make_series(Modality="DX", SOPClassUID=DigitalXRayImageStorageForPresentation)[:1]
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(slices[0], keyword)
    slices[0].ImagerPixelSpacing = [0.1, 0.1]
    return slices


def spacing_at_the_detector() -> list[Dataset]:
    slices = make_series()
    for ds in slices:
        ds.ImagerPixelSpacing = ds.PixelSpacing
        del ds.PixelSpacing
    return slices


def ultrasound_clip() -> list[Dataset]:
    (ds,) = make_series(np.zeros((1, 12, 4), np.uint8), bits_stored=8, SOPClassUID=UltrasoundMultiFrameImageStorage)
    ds.Rows, ds.NumberOfFrames, ds.Modality = 4, 3, "US"
    del ds.ImagePositionPatient
    return [ds]


def localizer() -> list[Dataset]:
    planes = {AXIAL: (0, 0, 5), CORONAL: (0, 5, 0), SAGITTAL: (5, 0, 0)}
    return one_series(*(make_series(orientation=plane, step_mm=step)[:1] for plane, step in planes.items()))


def slices_turned_in_turn() -> list[Dataset]:
    return each(ImageOrientationPatient=lambda k: decimal((1, 0, 0, 0, (-1) ** k, 0)))()


def enhanced(order: Sequence[int], edit: Callable[[int, Dataset], object]) -> Callable[[], list[Dataset]]:
    """An enhanced file, `edit` called with each frame's index and functional groups."""

    def make() -> list[Dataset]:
        ds = make_enhanced(order)
        for index, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
            edit(index, group)
        return [ds]

    return make


def stack_apart(index: int, group: Dataset) -> None:
    content = Dataset()
    content.StackID = str(index // 3 + 1)
    group.FrameContentSequence = [content]
    if index >= 3:
        group.PlanePositionSequence[0].ImagePositionPatient = [1, 2, 100 + index]


def stack_across(index: int, group: Dataset) -> None:
    plane = Dataset()
    plane.ImageOrientationPatient = decimal(AXIAL if index < 3 else CORONAL)
    group.PlaneOrientationSequence = [plane]
    if index >= 3:
        group.PlanePositionSequence[0].ImagePositionPatient = [0, 2 * index, 0]


def all_shared() -> list[Dataset]:
    ds = make_enhanced([0])
    shared, (group,) = ds.SharedFunctionalGroupsSequence[0], ds.PerFrameFunctionalGroupsSequence
    shared.PlanePositionSequence = group.PlanePositionSequence
    shared.PixelValueTransformationSequence = group.PixelValueTransformationSequence
    ds.PerFrameFunctionalGroupsSequence, ds.SOPClassUID = [Dataset()], EnhancedCTImageStorage
    return [ds]


def repeated_slice(pixels: bytes | None) -> Callable[[], list[Dataset]]:
    def make() -> list[Dataset]:
        slices = make_series()
        again = make_series()[2]
        again.PixelData, again.SOPInstanceUID = pixels or slices[2].PixelData, generate_uid()
        return one_series(slices, [again])

    return make


def no_numbers() -> list[Dataset]:
    slices = make_series()
    slices[3].add_new("ImagePositionPatient", "LO", ["nan", "0", "0"])
    return slices


def floating_point() -> list[Dataset]:
    slices = make_series(np.zeros((2, 4, 3), np.uint32), bits_stored=32)
    for ds in slices:
        ds.FloatPixelData = ds.PixelData
        del ds.PixelData
    return slices


def cosines(*numbers: float) -> Callable[[], list[Dataset]]:
    return each(ImageOrientationPatient=lambda k: decimal(numbers))


def at_mm(*heights: float) -> Callable[[], list[Dataset]]:
    return each(ImagePositionPatient=lambda k: decimal((0, 0, heights[k])))


OK, NONE = "ok", "not_a_volume"
ACCIDENTS: dict[str, tuple[Callable[[], list[Dataset]], list[str], str]] = {
    "acquisitions": (twice("AcquisitionNumber", 1, 2), [OK, OK], '"acquisition 1", 5 frames'),
    "heart phases": (twice("TriggerTime", "10", "400"), [OK, OK], "2 phases, 390 ms apart, of 3 x 4 x 5 voxels"),
    "echoes": (twice("EchoTime", "5", "90"), [OK, OK], '"echo time 5 ms", 5 frames'),
    "nothing but numbers": (twice("WindowCenter", "1", "2"), ["duplicate_positions"], "10 slices at 5 positions"),
    "projection": (projection, [NONE], "missing: ImagePositionPatient, ImageOrientationPatient, PixelSpacing"),
    "spacing at the detector": (spacing_at_the_detector, [NONE], "missing: PixelSpacing)"),
    "ultrasound": (ultrasound_clip, [NONE], "3 of 3 frames do not say where"),
    "localizer": (localizer, ["mixed_orientation"], "3 slices of different orientation (up to 90.0 degrees apart)"),
    "slices turned in turn": (slices_turned_in_turn, [OK, OK], '"axial 2", 3 frames'),
    "enhanced, stacks apart": (enhanced(range(6), stack_apart), [OK, OK], '"stack 1", 3 frames'),
    "enhanced, stacks across": (enhanced(range(6), stack_across), [OK, OK], '"coronal", 3 frames'),
    "enhanced, all shared": (all_shared, ["single_slice"], "3 x 2 x 1 voxels of 0.75 x 0.5 x 2 mm, uint"),
    "enhanced, no positions": (
        enhanced(range(3), lambda index, group: delattr(group, "PlanePositionSequence")),
        [NONE],
        "missing: ImagePositionPatient)",
    ),
    "thickness of another step": (each(SliceThickness=lambda k: "9"), [OK], "3 x 4 x 5 voxels of 0.75 x 0.5 x 2 mm"),
    "numbered backwards": (each(InstanceNumber=lambda k: 5 - k), [OK], "3 x 4 x 5 voxels"),
    "the last one missing": (lambda: make_series()[:-1], [OK], "3 x 4 x 4 voxels"),
    "one missing": (at_mm(0, 2, 4, 8, 10), ["gap"], "4 mm between slices 3 and 4 of 5 (about 1 missing)"),
    "a slice twice": (repeated_slice(None), ["duplicate_positions"], "6 slices at 5 positions"),
    "two slices at a place": (repeated_slice(bytes(24)), ["duplicate_positions"], "6 slices at 5 positions"),
    "position not a number": (no_numbers, ["unreadable"], "IM0003: its ImagePositionPatient is not 3 finite numbers"),
    "cosines too long": (cosines(2, 0, 0, 0, 2, 0), [NONE], "direction cosines of length 2.000"),
    "cosines of 0": (cosines(0, 0, 0, 0, 0, 0), [NONE], "direction cosines of length 0.000"),
    "cosines parallel": (cosines(1, 0, 0, 1, 0, 0), [NONE], "with a product of 1.000"),
    "cosines askew": (cosines(1, 0, 0, 0.05, 0.99875, 0), [NONE], "with a product of 0.050"),
    "two modalities": (each(Modality=lambda k: "MR" if k else "CT"), [NONE], "slices of 2 modalities (CT, MR)"),
    "two polarities": (
        each(PhotometricInterpretation=lambda k: "MONOCHROME2" if k else "MONOCHROME1"),
        [NONE],
        "some are MONOCHROME1 and some MONOCHROME2",
    ),
    "signed and unsigned": (each(PixelRepresentation=lambda k: k % 2), [OK], "3 x 4 x 5 voxels"),
    "empty rescale": (each(RescaleSlope=lambda k: "", RescaleIntercept=lambda k: ""), [OK], "mm, uint16"),
    "one spacing": (each(PixelSpacing=lambda k: "0.5"), ["unreadable"], "PixelSpacing is not 2 finite numbers"),
    "floating point": (floating_point, ["unreadable"], "floating-point numbers, which this software does not read"),
}  # fmt: skip


@pytest.mark.parametrize("name", ACCIDENTS)
def test_verdict_sentence_and_status(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make, kinds, said = ACCIDENTS[name]
    folder, output = save(tmp_path / "in", make()), tmp_path / "out.nii"
    status, out, err = run_swinunet(capfd, monkeypatch, "inspect", str(folder), "--json")
    assert (status, err) == (0, "")
    assert [one["verdict"] for one in json.loads(out)["series"]] == kinds
    status, out, err = run_swinunet(capfd, monkeypatch, "convert", str(folder), str(output))
    readable = kinds in ([OK], ["single_slice"]) or name == "heart phases"
    assert (status, output.exists()) == ((0, True) if readable else (1, False))
    assert said in (out if readable else err)
    assert err.count("\n") == (0 if readable else 1)
    assert "SECRET" not in out + err
