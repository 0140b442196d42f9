"""One reject test per guard of DICOM reading, and the choice among series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_series import decimal, lean, make_series, read, save
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    CTImageStorage,
    RLELossless,
    generate_uid,
)

from swinunet.client.dicom import VerdictKind, read_volume, scan_folder, select_series
from swinunet.foundation.errors import GeometryError, InputError

Edit = Callable[[list[Dataset]], object]


def change(index: int, **attributes: Any) -> Edit:
    def edit(slices: list[Dataset]) -> None:
        for keyword, value in attributes.items():
            setattr(slices[index], keyword, value)

    return edit


def all_at(position: Sequence[float]) -> Edit:
    return lambda slices: [setattr(ds, "ImagePositionPatient", decimal(position)) for ds in slices]


def make_colour(slices: list[Dataset]) -> None:
    for ds in slices:
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
        ds.PixelData = ds.PixelData * 3


def make_larger(slices: list[Dataset]) -> None:
    slices[2].Rows, slices[2].Columns, slices[2].PixelData = 6, 5, bytes(60)


REFUSALS: dict[str, tuple[Edit, VerdictKind, str]] = {
    "duplicate": (
        change(1, ImagePositionPatient=decimal((-10, 5, 30))),
        VerdictKind.DUPLICATE_POSITIONS,
        "5 slices at 4 positions",
    ),
    "one position": (all_at((0, 0, 0)), VerdictKind.NOT_A_VOLUME, "5 slices at one position"),
    "missing slice": (
        lambda slices: slices.pop(2),
        VerdictKind.GAP,
        "2 mm apart, but 4 mm between slices 2 and 3 of 4",
    ),
    "missing thin slice": (
        lambda slices: [
            setattr(ds, "ImagePositionPatient", decimal((0, 0, z)))
            for ds, z in zip(slices, (0, 0.05, 0.1, 0.2, 0.25), strict=True)
        ],
        VerdictKind.GAP,
        "about 1 missing",
    ),
    "uneven": (change(2, ImagePositionPatient=decimal((-10, 5, 34.6))), VerdictKind.GAP, "uneven steps"),
    "tilt": (lean, VerdictKind.TILTED, "12.0 degrees"),
    "sideways": (change(2, ImagePositionPatient=decimal((-9, 5, 34))), VerdictKind.NOT_A_VOLUME, "1.00 mm beside"),
    "orientation": (
        change(0, ImageOrientationPatient=decimal((1, 0, 0, 0, 0, -1))),
        VerdictKind.MIXED_ORIENTATION,
        "90.0 degrees",
    ),
    "size": (make_larger, VerdictKind.MIXED_SIZE, "3 x 4, 5 x 6"),
    "spacing": (change(3, PixelSpacing=decimal((0.5, 0.8))), VerdictKind.MIXED_SPACING, "0.5 x 0.75 to 0.5 x 0.8 mm"),
    "zero spacing": (change(3, PixelSpacing=decimal((0, 0.8))), VerdictKind.NOT_A_VOLUME, "pixel spacing of 0 mm"),
    "giant spacing": (change(3, PixelSpacing=decimal((0.5, 1e9))), VerdictKind.NOT_A_VOLUME, r"spacing of 1e\+09 mm"),
    "far apart": (
        lambda slices: [setattr(ds, "ImagePositionPatient", [0, 0, 5000 * k]) for k, ds in enumerate(slices)],
        VerdictKind.NOT_A_VOLUME,
        "slices 5000 mm apart, expected 0.001 to 1000 mm",
    ),
    "thick as a house": (
        lambda slices: (slices.__delitem__(slice(1, None)), setattr(slices[0], "SliceThickness", "20000")),
        VerdictKind.NOT_A_VOLUME,
        "one slice 20000 mm thick",
    ),
    "no position": (lambda slices: delattr(slices[0], "ImagePositionPatient"), VerdictKind.NOT_A_VOLUME, "1 of 5"),
    "empty orientation": (change(4, ImageOrientationPatient=[]), VerdictKind.NOT_A_VOLUME, "1 of 5"),
    "skew": (
        lambda slices: [setattr(ds, "ImageOrientationPatient", decimal((1, 0, 0, 0.5, 0.866, 0))) for ds in slices],
        VerdictKind.NOT_A_VOLUME,
        "right angle",
    ),
    "two frames of reference": (
        change(0, FrameOfReferenceUID=generate_uid()),
        VerdictKind.NOT_A_VOLUME,
        "2 frames of reference",
    ),
    "colour": (make_colour, VerdictKind.COLOUR, "RGB, 3 samples"),
    "palette": (change(0, PhotometricInterpretation="PALETTE COLOR"), VerdictKind.COLOUR, "PALETTE COLOR"),
    "short pixels": (change(1, PixelData=bytes(10)), VerdictKind.UNREADABLE, "IM0001: .*10 bytes where 24"),
    "no pixels": (lambda slices: delattr(slices[1], "PixelData"), VerdictKind.UNREADABLE, "IM0001: .*no pixel data"),
    "no rows": (lambda slices: delattr(slices[1], "Rows"), VerdictKind.UNREADABLE, "IM0001: .*lacks, Rows"),
    "zero rows": (change(1, Rows=0), VerdictKind.UNREADABLE, "3 x 0 pixels"),
    "zero slope": (change(1, RescaleSlope="0", RescaleIntercept="0"), VerdictKind.UNREADABLE, "RescaleSlope is 0"),
    "two positions": (change(1, ImagePositionPatient=decimal((0, 0))), VerdictKind.UNREADABLE, "3 finite numbers"),
    "modality LUT": (change(1, ModalityLUTSequence=[Dataset()]), VerdictKind.UNREADABLE, "lookup table"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refused_by_name_with_numbers(name: str, tmp_path: Path) -> None:
    edit, kind, numbers = REFUSALS[name]
    slices = make_series()
    edit(slices)
    save(tmp_path, slices)
    scan = scan_folder(tmp_path)
    assert scan.series[0].verdict.kind is kind
    assert scan.series[0].shape is None
    for refused in (lambda: select_series(scan), lambda: read_volume(scan.series[0])):
        with pytest.raises(InputError, match=f"{kind}: .*{numbers}") as caught:
            refused()
        no_geometry = kind in (VerdictKind.UNREADABLE, VerdictKind.COLOUR)
        assert isinstance(caught.value, GeometryError) is not no_geometry


@pytest.mark.parametrize("compressed", [False, True])
def test_a_truncated_slice_is_never_lost_in_silence(compressed: bool, tmp_path: Path) -> None:
    slices = make_series(np.random.default_rng(0).integers(0, 4000, (3, 8, 8), np.uint16))
    for ds in slices:
        if compressed:
            ds.compress(RLELossless, generate_instance_uid=False)
    save(tmp_path, slices, ["a.dcm", "b.dcm", "c.dcm"])
    whole = (tmp_path / "c.dcm").read_bytes()
    read(tmp_path)
    for length in [*range(0, len(whole), 17), len(whole) - 8, len(whole) - 1]:
        (tmp_path / "c.dcm").write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"c\.dcm") as caught:
            read(tmp_path)
        assert "SECRET" not in str(caught.value)


def test_a_file_that_changed_after_the_scan_is_named(tmp_path: Path) -> None:
    series = select_series(scan_folder(save(tmp_path, make_series())))
    path = tmp_path / "IM0002"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InputError, match=r"^IM0002: its pixels cannot be decoded"):
        read_volume(series)


def test_a_damaged_codestream_is_named(tmp_path: Path) -> None:
    slices = make_series(np.random.default_rng(0).integers(0, 4000, (2, 16, 16), np.uint16))
    for ds in slices:
        ds.compress(RLELossless, generate_instance_uid=False)
    (codestream,) = generate_frames(slices[1].PixelData)
    slices[1].PixelData = encapsulate([codestream[: len(codestream) // 2]])
    with pytest.raises(InputError, match=r"^IM0001: its pixels cannot be decoded"):
        read(save(tmp_path, slices))


def test_more_frames_than_stated_are_not_dropped(tmp_path: Path) -> None:
    slices = make_series()
    slices[0].PixelData = slices[0].PixelData * 2
    with pytest.raises(InputError, match=r"IM0000: its pixel data has 48 bytes, more than its 1 frames"):
        read(save(tmp_path, slices))


def test_several_series_are_listed_and_chosen_by_uid_or_modality(tmp_path: Path) -> None:
    mr = make_series(SeriesDescription="t1")
    ct = make_series(Modality="CT", SOPClassUID=CTImageStorage, SeriesDescription="thorax")
    save(tmp_path / "mr", mr)
    save(tmp_path / "ct", ct)
    scan = scan_folder(tmp_path)
    with pytest.raises(InputError, match=r"2 series could be meant.*--series UID: 1\).*2\)") as caught:
        select_series(scan)
    for slices in (mr, ct):
        assert slices[0].SeriesInstanceUID in str(caught.value)
        assert select_series(scan, uid=slices[0].SeriesInstanceUID).modality == slices[0].Modality
        assert select_series(scan, modality=slices[0].Modality).uid == slices[0].SeriesInstanceUID
    with pytest.raises(InputError, match="the modality is CT, MR, the model reads PT"):
        select_series(scan, modality="PT")
    with pytest.raises(InputError, match="the modality is CT, the model reads MR"):
        select_series(scan, uid=ct[0].SeriesInstanceUID, modality="MR")
    with pytest.raises(InputError, match=r"no series 1\.2\.3; found 1\)"):
        select_series(scan, uid="1.2.3")


def test_several_refused_series_are_listed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        slices = make_series()
        lean(slices)
        save(tmp_path / name, slices)
    with pytest.raises(InputError, match=r"none of 2 series is a volume: 1\).*tilted.*2\).*tilted"):
        select_series(scan_folder(tmp_path))
