"""Series that hold several volumes, and the choice of one: split only where that explains the series."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_series import AXIAL, decimal, lean, make_enhanced, make_series, save
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from client.dicom import VerdictKind, choose, read_volume, scan_folder, select_series
from imaging import Code, Label, ModelSpec, ZScore
from swinunet.errors import GeometryError, InputError

CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


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
    "two traits": (
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
    assert [second.source(k)[1] for k in range(3)] == [4, 5, 6]
    assert len(second.headers) == 1


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


def spec(**attributes: object) -> ModelSpec:
    return ModelSpec(
        **{
            "name": "m", "version": 1, "modality": "MR", "body_part": "BRAIN", "plane": "axial", "context_slices": 1,
            "context_step_mm": 1.0, "input_size": (64, 64), "spacing_mm": None, "intensity": ZScore(),
            "labels": (Label(1, "a", (1, 2, 3), Code("1", "SCT", "a")),),
        }
        | attributes  # type: ignore[arg-type]
    )  # fmt: skip


RULES: dict[str, tuple[dict[str, object], dict[str, object], str]] = {
    "modality": ({}, {"Modality": "CT"}, "its modality is CT, the model reads MR"),
    "body part": ({"BodyPartExamined": "BRAIN"}, {"BodyPartExamined": "KNEE"}, "not of BRAIN"),
    "body part not said": ({"BodyPartExamined": "BRAIN"}, {}, "it does not say that it is of BRAIN"),
    "description": ({}, {"SeriesDescription": "3-plane Scout"}, "a localizer"),
    "image type": ({}, {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "a localizer"),
    "slice count": ({}, {"stored": np.ones((1, 4, 3), np.uint16)}, "a single slice"),
    "plane": ({}, {"orientation": CORONAL, "step_mm": (0, 2, 0)}, "its slices are not axial"),
    "verdict": ({}, {"step_mm": (0, 0.8, 2)}, "tilted"),
}


@pytest.mark.parametrize("name", RULES)
def test_the_spec_chooses_and_says_why(name: str, tmp_path: Path) -> None:
    wanted, other, reason = RULES[name]
    good, bad = make_series(**wanted), make_series(**other)  # type: ignore[arg-type]
    save(tmp_path / "a", good)
    save(tmp_path / "b", bad)
    scan = scan_folder(tmp_path)
    choice = choose(scan, spec=spec())
    assert choice.taken is scan.series[0] is select_series(scan, spec=spec())
    assert choice.reasons[0] == "taken: the only one that fits"
    assert choice.reasons[1].startswith(f"not taken: {reason}")
    if name not in ("modality", "verdict"):
        assert select_series(scan, bad[0].SeriesInstanceUID, spec=spec()) is scan.series[1]


def test_a_rule_that_nothing_meets_leaves_all(tmp_path: Path) -> None:
    save(tmp_path, make_series(orientation=CORONAL, step_mm=(0, 2, 0), BodyPartExamined="HEAD"))
    assert select_series(scan_folder(tmp_path), spec=spec()).body_part == "HEAD"
    save(tmp_path / "b", make_series(orientation=SAGITTAL, step_mm=(2, 0, 0)))
    save(tmp_path / "c", make_series(orientation=SAGITTAL, step_mm=(2, 0, 0)))
    choice = choose(scan_folder(tmp_path), spec=spec())
    assert (choice.taken, len(choice.candidates)) == (None, 2)
    assert all(f"choose with --series {one.uid}" in "".join(choice.reasons) for one in choice.candidates)


def gapped(slices: list[Dataset]) -> None:
    slices.pop(2)


def gapped_and_lean(slices: list[Dataset]) -> None:
    lean(slices)
    slices.pop(2)


@pytest.mark.parametrize(
    ("edit", "needs"), [(lean, ["tilted"]), (gapped, ["gap"]), (gapped_and_lean, ["gap", "tilted"])]
)
def test_allowances_overrule_exactly_their_verdicts(
    edit: Callable[[list[Dataset]], object], needs: list[str], tmp_path: Path
) -> None:
    slices = make_series()
    edit(slices)
    scan = scan_folder(save(tmp_path, slices))
    assert sorted(scan.series[0].verdict.needs) == needs
    for allow in ([], ["gap"], ["tilted"], ["gap", "tilted"]):
        if set(needs) <= set(allow):
            dicom = read_volume(select_series(scan, allow=allow), allow)
            last = dicom.volume.affine @ [0, 0, len(slices) - 1, 1]
            np.testing.assert_allclose(last[:3], np.array(slices[-1].ImagePositionPatient, float), atol=1e-6)
        else:
            with pytest.raises(GeometryError, match=f"{needs[0]}"):
                select_series(scan, allow=allow)
            with pytest.raises(GeometryError, match=f"{needs[0]}"):
                read_volume(scan.series[0], allow)


def test_an_unknown_allowance_is_refused(tmp_path: Path) -> None:
    scan = scan_folder(save(tmp_path, make_series()))
    with pytest.raises(InputError, match="--allow duplicates: there is no such allowance; expected gap or tilted"):
        select_series(scan, allow=["duplicates"])


def test_the_spec_of_the_shipped_model_is_read_by_inspect(tmp_path: Path, repository: Path) -> None:
    from typer.testing import CliRunner

    from swinunet.cli import app

    save(tmp_path / "a", make_series(BodyPartExamined="BRAIN"))
    save(tmp_path / "b", make_series(BodyPartExamined="KNEE"))
    path = Path(__file__).parents[1] / "training" / "specs" / "hippocampus.json"
    done = CliRunner().invoke(app, ["inspect", str(tmp_path), "--json", "--spec", str(path)])
    assert done.exit_code == 0, done.output
    assert [one["taken"] for one in json.loads(done.stdout)["series"]] == [True, False]


def test_a_radial_scan_is_no_set_of_volumes(tmp_path: Path) -> None:
    slices = make_series(np.zeros((40, 2, 2), np.uint16))
    for k, ds in enumerate(slices):
        angle = np.pi * (k // 2) / 20
        ds.ImageOrientationPatient = decimal((np.cos(angle), np.sin(angle), 0, 0, 0, -1))
        ds.ImagePositionPatient = decimal((np.sin(angle) * (k % 2), np.cos(angle) * (k % 2), 0))
    (series,) = scan_folder(save(tmp_path, slices)).series
    assert series.verdict.kind is VerdictKind.MIXED_ORIENTATION
