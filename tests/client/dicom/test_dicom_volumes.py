"""Series that hold several volumes, and the choice of one: split only where that explains the series."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_series import AXIAL, CORONAL, SAGITTAL, decimal, make_enhanced, make_series, save
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from swinunet.client.dicom import VerdictKind, read_volume, scan_folder, select_series
from swinunet.foundation.errors import InputError


def several(trait: Callable[[Dataset, int], object], volumes: int = 3, count: int = 4) -> list[Dataset]:
    """One series of `volumes` volumes at the same places; values of the v-th are v; `trait` marks each slice."""
    slices = []
    for v in range(volumes):
        for ds in make_series(np.full((count, 2, 3), v, np.uint16)):
            trait(ds, v)
            slices.append(ds)
    for ds in slices:
        ds.SeriesInstanceUID, ds.FrameOfReferenceUID = slices[0].SeriesInstanceUID, slices[0].FrameOfReferenceUID
    return random.Random(0).sample(slices, len(slices))


def put(**attributes: Callable[[int], object]) -> Callable[[Dataset, int], object]:
    return lambda ds, v: [setattr(ds, keyword, value(v)) for keyword, value in attributes.items()]


def siemens_b_value(ds: Dataset, v: int) -> None:
    ds.add(DataElement(0x00190010, "LO", "SIEMENS MR HEADER"))
    ds.add(DataElement(0x0019100C, "IS", str(500 * v)))


def ge_b_value(ds: Dataset, v: int) -> None:
    ds.add(DataElement(0x00430010, "LO", "GEMS_PARM_01"))
    ds.add(DataElement(0x00431039, "IS", [1_000_000_000 + 500 * v, 8, 0, 0]))


SPLITS: dict[str, tuple[Callable[[Dataset, int], object], list[str]]] = {
    "echo time": (put(EchoTime=lambda v: str(10 * v + 5)), [f"echo time {10 * v + 5} ms" for v in range(3)]),
    "echo": (put(EchoNumbers=lambda v: v + 1), ["echo 1", "echo 2", "echo 3"]),
    "time point": (put(TemporalPositionIdentifier=lambda v: v + 9), ["time point 9", "time point 10", "time point 11"]),
    "acquisition": (put(AcquisitionNumber=lambda v: v + 1), [f"acquisition {v + 1}" for v in range(3)]),
    "image type": (
        put(ImageType=lambda v: ["ORIGINAL", "PRIMARY", "ABC"[v]]),
        [f"image type ORIGINAL/PRIMARY/{letter}" for letter in "ABC"],
    ),
    "b-value": (put(DiffusionBValue=lambda v: 1000.0 * v), [f"b-value {1000.0 * v} s/mm2" for v in range(3)]),
    "b-value of Siemens": (siemens_b_value, [f"b-value {500 * v} s/mm2" for v in range(3)]),
    "b-value of GE": (ge_b_value, [f"b-value {500 * v} s/mm2" for v in range(3)]),
    "dual energy": (put(KVP=lambda v: str(80 + 30 * v)), [f"tube voltage {80 + 30 * v} kV" for v in range(3)]),
    "time": (put(AcquisitionTime=lambda v: f"1200{v:02d}"), [f"acquired at time {v + 1}" for v in range(3)]),
    "two attributes": (
        put(EchoTime=lambda v: "5" if v < 2 else "9", FlipAngle=lambda v: "20" if v % 2 else "10"),
        ["echo time 5 ms, flip angle 10 degrees", "echo time 5 ms, flip angle 20 degrees",
         "echo time 9 ms, flip angle 10 degrees"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SPLITS)
def test_a_series_is_split_by_what_explains_it(name: str, tmp_path: Path) -> None:
    trait, names = SPLITS[name]
    slices = several(trait)
    uid = slices[0].SeriesInstanceUID
    scan = scan_folder(save(tmp_path, slices))
    assert [one.name for one in scan.series] == names
    assert [one.selector for one in scan.series] == [f"{uid}#1", f"{uid}#2", f"{uid}#3"]
    for v, series in enumerate(scan.series):
        assert (series.verdict.kind, series.shape) == (VerdictKind.OK, (3, 2, 4))
        assert np.unique(read_volume(series).volume.voxels).tolist() == [v]
        for selector in (series.selector, f"{uid}#{series.name}"):
            assert select_series(scan, uid=selector) is series
    with pytest.raises(InputError, match=r"3 volumes could be meant, choose one with --series UID#NUMBER: 1\)"):
        select_series(scan, uid=uid)


def test_a_volume_that_lacks_a_slice_is_refused_and_the_others_are_not(tmp_path: Path) -> None:
    slices = several(put(EchoNumbers=lambda v: v))
    gone = next(ds for ds in slices if ds.EchoNumbers == 1 and ds.ImagePositionPatient[2] == 32)
    slices.remove(gone)
    kinds = [one.verdict.kind for one in scan_folder(save(tmp_path, slices)).series]
    assert kinds == [VerdictKind.OK, VerdictKind.GAP, VerdictKind.OK]


def test_a_series_with_one_slice_a_place_is_never_split(tmp_path: Path) -> None:
    slices = make_series()
    for k, ds in enumerate(slices):
        ds.AcquisitionNumber, ds.EchoTime, ds.ImageType = k, str(k), ["ORIGINAL", "PRIMARY", f"T{k}"]
    (series,) = scan_folder(save(tmp_path, slices)).series
    assert (series.verdict.kind, series.total, series.selector) == (VerdictKind.OK, 1, series.uid)


@pytest.mark.parametrize("times", [["120000"] * 12, [f"1200{n:02d}" for n in range(12)]], ids=["equal", "each its own"])
def test_duplicates_that_nothing_explains_stay_refused(times: list[str], tmp_path: Path) -> None:
    slices = several(put())
    for ds, time in zip(slices, times, strict=True):
        ds.AcquisitionTime = time
    (series,) = scan_folder(save(tmp_path, slices)).series
    assert series.verdict.kind is VerdictKind.DUPLICATE_POSITIONS
    assert "12 slices at 4 positions" in series.verdict.sentence


def test_orientations_with_several_slices_each_are_volumes(tmp_path: Path) -> None:
    stacks = [
        make_series(orientation=AXIAL, step_mm=(0, 0, 2)),
        make_series(orientation=CORONAL, step_mm=(0, 2, 0)),
        make_series(orientation=SAGITTAL, step_mm=(2, 0, 0)),
        make_series(orientation=(0.8, 0.6, 0, 0, 0, -1), step_mm=(1.2, -1.6, 0)),
    ]
    slices = [ds for stack in stacks for ds in stack]
    for ds in slices:
        ds.SeriesInstanceUID, ds.FrameOfReferenceUID = slices[0].SeriesInstanceUID, slices[0].FrameOfReferenceUID
    scan = scan_folder(save(tmp_path, random.Random(1).sample(slices, len(slices))))
    assert [one.name for one in scan.series] == ["axial", "coronal 1", "coronal 2", "sagittal"]
    assert {one.verdict.kind for one in scan.series} == {VerdictKind.OK}


def test_a_scout_in_the_series_is_set_apart(tmp_path: Path) -> None:
    slices = make_series(Modality="CT", SOPClassUID=CTImageStorage, ImageType=["ORIGINAL", "PRIMARY", "AXIAL"])
    slices[0].ImageType, slices[0].ImageOrientationPatient = ["ORIGINAL", "PRIMARY", "LOCALIZER"], decimal(CORONAL)
    scan = scan_folder(save(tmp_path, slices))
    assert [(one.verdict.kind, len(one.frames)) for one in scan.series] == [
        (VerdictKind.OK, 4),
        (VerdictKind.SINGLE_SLICE, 1),
    ]


def test_enhanced_frames_are_split_by_their_groups(tmp_path: Path) -> None:
    ds = make_enhanced([0, 1, 2, 0, 1, 2])
    for n, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
        echo = Dataset()
        echo.EffectiveEchoTime = 10.0 + 20 * (n // 3)
        group.MREchoSequence = [echo]
    scan = scan_folder(save(tmp_path, [ds]))
    assert [one.name for one in scan.series] == ["echo time 10.0 ms", "echo time 30.0 ms"]
    second = read_volume(scan.series[1])
    assert [second.source.references[k][1] for k in range(3)] == [4, 5, 6]
    assert len(second.source.headers) == 1


def test_copies_of_an_instance_are_used_once(tmp_path: Path) -> None:
    slices = make_series()
    save(tmp_path / "a", slices)
    for ds in slices:
        ds.file_meta.SourceApplicationEntityTitle = "ELSEWHERE"
    save(tmp_path / "b", slices[:3])
    (series,) = scan_folder(tmp_path).series
    assert (series.verdict.kind, len(series.files), series.copies) == (VerdictKind.OK, 5, 3)


@pytest.mark.parametrize("differ", ["pixels", "position"])
def test_an_instance_of_two_contents_is_refused(differ: str, tmp_path: Path) -> None:
    slices = make_series()
    save(tmp_path / "a", slices)
    if differ == "pixels":
        slices[2].PixelData = bytes(24)
    else:
        slices[2].ImagePositionPatient = decimal((0, 0, 99))
    save(tmp_path / "b", slices[2:3])
    scan = scan_folder(tmp_path)
    assert scan.series[0].verdict.kind is VerdictKind.CONFLICTING_COPIES
    with pytest.raises(InputError, match="conflicting_copies: IM0002 and IM0000 hold the same instance and differ"):
        select_series(scan)


def slabs(trait: Callable[[Dataset, int], object], apart_mm: float, count: int = 4) -> list[Dataset]:
    """One series of two stacks, the second of which begins `apart_mm` after the first one's beginning."""
    slices = several(trait, volumes=2, count=count)
    for ds in slices:
        x, y, z = map(float, ds.ImagePositionPatient)
        moved = apart_mm if ds.PixelData[0] else 0.0
        ds.ImagePositionPatient = decimal((x, y, z + moved))
    return slices


@pytest.mark.parametrize("apart_mm", [100.0, 7.5], ids=["apart", "overlapping"])
@pytest.mark.parametrize("attribute", ["StackID", "AcquisitionNumber"])
def test_stacks_at_different_places_are_volumes(attribute: str, apart_mm: float, tmp_path: Path) -> None:
    scan = scan_folder(save(tmp_path, slabs(put(**{attribute: lambda v: str(v + 1)}), apart_mm, count=5)))
    trait = {"StackID": "stack", "AcquisitionNumber": "acquisition"}[attribute]
    assert [one.name for one in scan.series] == [f"{trait} 1", f"{trait} 2"]
    for v, series in enumerate(scan.series):
        assert (series.verdict.kind, len(series.frames)) == (VerdictKind.OK, 5)
        assert np.unique(read_volume(series).volume.voxels).tolist() == [v]


@pytest.mark.parametrize(
    ("trait", "count"),
    [(put(), 4), (put(AcquisitionNumber=lambda v: v), 2), (put(FlipAngle=lambda v: str(v)), 4)],
    ids=["nothing", "too few slices", "no sign of a stack"],
)
def test_a_gap_that_no_stack_explains_stays_a_gap(
    trait: Callable[[Dataset, int], object], count: int, tmp_path: Path
) -> None:
    (series,) = scan_folder(save(tmp_path, slabs(trait, 100.0, count))).series
    assert series.verdict.kind is VerdictKind.GAP


def test_stacks_that_continue_each_other_are_one_volume(tmp_path: Path) -> None:
    slices = slabs(put(AcquisitionNumber=lambda v: v), 8.0)
    (series,) = scan_folder(save(tmp_path, slices)).series
    assert (series.verdict.kind, len(series.frames)) == (VerdictKind.OK, 8)


def test_a_radial_scan_is_no_set_of_volumes(tmp_path: Path) -> None:
    slices = make_series(np.zeros((40, 2, 2), np.uint16))
    for k, ds in enumerate(slices):
        angle = np.pi * (k // 2) / 20
        ds.ImageOrientationPatient = decimal((np.cos(angle), np.sin(angle), 0, 0, 0, -1))
        ds.ImagePositionPatient = decimal((np.sin(angle) * (k % 2), np.cos(angle) * (k % 2), 0))
    (series,) = scan_folder(save(tmp_path, slices)).series
    assert series.verdict.kind is VerdictKind.MIXED_ORIENTATION
