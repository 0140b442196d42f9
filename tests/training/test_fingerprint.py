"""Data examined before a run: every defect is named, the spec follows from the data, and what the user sets wins."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from blobs import SPEC
from labelled_folders import SHAPE, Made, make_cases, put, write_index, write_msd, write_plain, write_png
from typer.testing import CliRunner

from swinunet.cli import app
from swinunet.foundation.errors import InputError
from swinunet.imaging import ModelSpec, Window, ZScore
from swinunet.training.data.cases import load_case
from swinunet.training.data.derive_spec import derive_spec, size_hint
from swinunet.training.data.fingerprint import Fingerprint, examine_folder
from swinunet.training.data.folders import DataFolder, dicom_modality
from swinunet.training.data.prepare_data import Prepared, prepare, reopen
from swinunet.training.data.spec_overrides import SpecOverrides
from swinunet.training.loop.trainer import TrainSettings, train

SIZE = (32, 32)
BROKEN = "case_2"


def found_in(root: Path) -> Fingerprint:
    return examine_folder(DataFolder.open(root, keep_broken=True))


def relabel(root: Path, voxels: np.ndarray, affine: np.ndarray | None = None) -> None:
    put(voxels, np.eye(4) if affine is None else affine, root / "labelsTr" / f"{BROKEN}.nii.gz")


def reimage(root: Path, voxels: np.ndarray) -> None:
    put(voxels.astype(np.float32), np.eye(4), root / "imagesTr" / f"{BROKEN}.nii.gz")


def truncate(root: Path) -> None:
    path = root / "imagesTr" / f"{BROKEN}.nii.gz"
    path.write_bytes(path.read_bytes()[:300])


DEFECTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (truncate, "not a readable NIfTI"),
    "gone": (lambda root: (root / "labelsTr" / f"{BROKEN}.nii.gz").unlink(), "listed files are not there"),
    "size": (lambda root: relabel(root, np.zeros((5, 6, 7), np.uint8)), "grid .* differ in size or position"),
    "place": (lambda root: relabel(root, np.zeros(SHAPE, np.uint8), np.diag([1, 1, 2.0, 1])), "differ in size or"),
    "half": (lambda root: relabel(root, np.full(SHAPE, 0.5, np.float32)), "labels must be whole numbers"),
    "negative": (lambda root: relabel(root, np.full(SHAPE, -1, np.int16)), "labels must be whole numbers"),
    "unknown": (lambda root: relabel(root, np.full(SHAPE, 7, np.uint8)), "label 7 found, dataset.json has 0..2"),
    "constant": (lambda root: reimage(root, np.full(SHAPE, 3)), "the image is empty: every voxel is 3"),
    "nan": (lambda root: reimage(root, np.full(SHAPE, np.nan)), "not finite"),
    "channels": (lambda root: reimage(root, np.random.rand(*SHAPE, 2)), "2 modalities found, dataset.json names 1"),
    "axes": (lambda root: reimage(root, np.random.rand(*SHAPE, 2, 2)), "found 5 axes"),
    "copy": (lambda root: reimage(root, make_cases()["case_1"].modalities[0]), "the same image as case_1"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_every_defect_is_named_and_can_be_skipped(defect: str, tmp_path: Path) -> None:
    root = write_msd(tmp_path / "data", make_cases())
    damage, says = DEFECTS[defect]
    damage(root)
    with pytest.raises(InputError, match=rf"1 of 4 cases is broken, {BROKEN}: .*{says}.*--skip-broken"):
        prepare(root, SIZE)
    prepared = prepare(root, SIZE, skip_broken=True)
    assert [case.name for case in prepared.folder.cases] == ["case_0", "case_1", "case_3"]
    (tmp_path / "run").mkdir()
    prepared.write(tmp_path / "run")
    (skipped,) = json.loads((tmp_path / "run" / "fingerprint.json").read_text())["skipped"]
    assert skipped["name"] == BROKEN
    assert reopen(root, tmp_path / "run", prepared.spec).folder == prepared.folder


def test_figures_are_those_of_the_data(tmp_path: Path) -> None:
    made = make_cases(spacing_mm=(0.5, 1.0, 3.0))
    found = found_in(write_msd(tmp_path, made))
    assert found.spacing_mm() == pytest.approx((0.5, 1.0, 3.0))
    assert {case.size for case in found.cases} == {SHAPE}
    np.testing.assert_allclose(found.extents_mm()[0], (12, 26, 18))
    voxels = [sum(int((case.labels == index).sum()) for case in made.values()) for index in range(3)]
    assert found.class_voxels() == voxels
    assert found.class_cases() == [4, 4, 4]
    for facts in found.cases:
        np.testing.assert_allclose(facts.intensities[0][1], np.median(made[facts.name].modalities[0]), atol=1e-3)


def test_what_is_no_fault_is_said(tmp_path: Path) -> None:
    made = make_cases()
    made["case_1"].labels[...] = 0
    root = write_msd(tmp_path, made)
    write_index(root, labels={"0": "background", "1": "bright", "2": "dark", "3": "rare"})
    found = found_in(root)
    assert not found.broken
    assert found.remarks == (
        "cases without a labelled voxel: 1 (case_1)",
        "no case has rare: a class without examples cannot be learnt",
    )


def test_most_cases_say_how_many_modalities_there_are(tmp_path: Path) -> None:
    root = write_plain(tmp_path, make_cases(modalities=2), numbered=True)
    (root / "images" / "case_3_0001.nii.gz").unlink()
    (broken,) = found_in(root).broken
    assert (broken.name, broken.problem) == ("case_3", "1 modality found, most cases have 2 modalities")


def test_modalities_of_one_case_lie_on_one_grid(tmp_path: Path) -> None:
    root = write_plain(tmp_path, make_cases(modalities=2), numbered=True)
    put(np.random.rand(5, 6, 7), np.eye(4), root / "images" / "case_3_0001.nii.gz")
    (broken,) = found_in(root).broken
    assert broken.problem.startswith("modality 1 has the grid (5, 6, 7), the first (24, 26, 6)")


@pytest.mark.parametrize(
    ("value", "says"),
    [(0, "no labels: every voxel of all 4 label maps is 0"), (9, r"hold the values 9; expected 1, 2, \.\.\. without")],
)
def test_label_maps_that_teach_nothing_are_refused(value: int, says: str, tmp_path: Path) -> None:
    made = make_cases()
    for case in made.values():
        case.labels[...] = np.where(case.labels == 1, value, 0)
    with pytest.raises(InputError, match=says):
        prepare(write_plain(tmp_path, made), SIZE)


def test_a_single_case_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 usable case; training needs two"):
        prepare(write_plain(tmp_path, make_cases(1)), SIZE)


def test_classes_that_the_spec_lacks_are_refused(tmp_path: Path) -> None:
    root = write_plain(tmp_path, make_cases())
    spec = derive_spec(found_in(root), SIZE).spec
    put(np.full(SHAPE, 3, np.uint8), np.eye(4), root / "labels" / "case_1.nii.gz")
    with pytest.raises(InputError, match=r"case_1: label 3 found, the spec has 0\.\.2"):
        prepare(root, SIZE, spec=spec)


@pytest.mark.parametrize(
    ("spacing", "plane", "context", "pixels"),
    [
        ((1.0, 1.0, 1.0), "sagittal", 7, (1.0, 1.0)),
        ((1.0, 0.9, 5.0), "axial", 3, (0.9, 1.0)),
        ((1.0, 2.5, 1.0), "coronal", 5, (1.0, 1.0)),
        ((3.0, 0.7, 0.8), "sagittal", 5, (0.8, 0.7)),
    ],
)
def test_plane_and_context_follow_from_the_spacing(
    spacing: tuple[float, float, float], plane: str, context: int, pixels: tuple[float, float], tmp_path: Path
) -> None:
    found = found_in(write_msd(tmp_path, make_cases(2, spacing_mm=spacing)))
    spec = derive_spec(found, (64, 64)).spec
    assert (spec.plane, spec.context_slices, spec.spacing_mm) == (plane, context, pixels)
    assert spec.context_step_mm == spacing[("sagittal", "coronal", "axial").index(plane)]
    assert spec.name == "swin_unet_blob"
    assert [label.name for label in spec.labels] == ["bright", "dark"]


def test_the_largest_case_fits(tmp_path: Path) -> None:
    made = make_cases(3) | {f"large_{n}": case for n, case in enumerate(make_cases(1, shape=(70, 50, 6)).values())}
    root = write_msd(tmp_path, made)
    spec = derive_spec(found_in(root), SIZE, SpecOverrides(planes=("axial",))).spec
    assert spec.spacing_mm == pytest.approx((70 * 1.02 / 32,) * 2, abs=1e-3)
    for paths in DataFolder.open(root).cases:
        load_case(paths, spec)
    with pytest.raises(InputError, match="large_0: its axial slices do not fit the model's field of view of 32 x 32"):
        prepare(root, SIZE, overrides=SpecOverrides(planes=("axial",), spacing=(1.0, 1.0)))


def test_a_small_organ_on_a_large_input_is_remarked(tmp_path: Path) -> None:
    found = found_in(write_msd(tmp_path, make_cases(2)))
    assert "the largest slice fills 6 x 26 of 64 x 64 pixels" in size_hint(found, derive_spec(found, (64, 64)).spec)
    assert size_hint(found, derive_spec(found, SIZE).spec) == ""


def hounsfield(made: dict[str, Made]) -> dict[str, Made]:
    """The same as CT: air, and boxes of -90 and 120 HU."""
    return {
        name: Made((np.where(case.modalities[0] > 200, 120, case.modalities[0] - 1100) + (case.labels == 2) * 1000,),
                   case.labels, case.affine)
        for name, case in made.items()
    }  # fmt: skip


def test_ct_gets_a_window_over_what_is_labelled(tmp_path: Path) -> None:
    said = derive_spec(found_in(write_msd(tmp_path / "ct", hounsfield(make_cases()), {"0": "CT"})), SIZE)
    assert said.spec.modality == "CT"
    assert said.spec.intensity == Window(-90.0, 120.0)
    guessed = derive_spec(found_in(write_plain(tmp_path / "plain", hounsfield(make_cases()))), SIZE)
    assert guessed.spec.intensity == said.spec.intensity
    assert guessed.reasons["modality"].startswith("guessed")
    assert derive_spec(found_in(write_plain(tmp_path / "mr", make_cases())), SIZE).spec.intensity == ZScore()


def test_what_the_user_says_wins(tmp_path: Path) -> None:
    root = write_msd(tmp_path, make_cases())
    overrides = SpecOverrides.parse(
        plane="coronal,axial",
        context=5,
        context_step_mm=2.0,
        spacing="1.25,1.5",
        modality="CT",
        body_part="LIVER",
        name="mine",
        window="-100,300",
    )
    derived = prepare(root, SIZE, overrides=overrides)
    brought = prepare(root, SIZE, spec=prepare(root, SIZE).spec, overrides=overrides)
    for prepared in (derived, brought):
        spec = prepared.spec
        assert (spec.planes, spec.context_slices, spec.context_step_mm) == (("coronal", "axial"), 5, 2.0)
        assert (spec.spacing_mm, spec.intensity) == ((1.25, 1.5), Window(-100, 300))
        assert (spec.modality, spec.body_part, spec.name) == ("CT", "LIVER", "mine")
        assert set(prepared.reasons.values()) == {"chosen"}
    loose = SpecOverrides.parse(spacing="stretch", window="zscore").applied_to(derived.spec)
    assert (loose.spacing_mm, loose.intensity) == (None, ZScore())
    assert SpecOverrides.parse(spacing="0.5").spacing == (0.5, 0.5)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"plane": "oblique"}, "plane 'oblique'; expected one of sagittal, coronal, axial"),
        ({"spacing": "1,2,3"}, "spacing '1,2,3'; expected MM"),
        ({"spacing": "-1"}, "spacing '-1'"),
        ({"spacing": "inf"}, "spacing 'inf'"),
        ({"window": "300,100"}, "LOW below HIGH"),
        ({"window": "a,b"}, "window 'a,b'"),
        ({"context": 4}, "context_slices must be odd"),
        ({"name": "a/b"}, "name: "),
    ],
)
def test_choices_that_cannot_be(option: dict[str, object], says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says):
        prepare(write_msd(tmp_path, make_cases()), SIZE, overrides=SpecOverrides.parse(**option))  # type: ignore[arg-type]


def test_png_says_what_it_does_not_know(tmp_path: Path) -> None:
    found = found_in(write_png(tmp_path / "one", make_cases(shape=(24, 26, 1))))
    spec = derive_spec(found, SIZE).spec
    assert (spec.plane, spec.context_slices, spec.spacing_mm, spec.modality) == ("axial", 1, (1.0, 1.0), "OT")
    assert any("taken as 1 mm" in remark for remark in found.remarks)
    made = make_cases(2, shape=(24, 26, 1)) | {"wide": make_cases(1, shape=(60, 26, 1), seed=5)["case_0"]}
    assert derive_spec(found_in(write_png(tmp_path / "two", made)), SIZE).spec.spacing_mm is None


def test_a_run_without_its_fingerprint_is_not_reopened(tmp_path: Path) -> None:
    root = write_msd(tmp_path / "data", make_cases())
    with pytest.raises(InputError, match=r"no usable fingerprint\.json"):
        reopen(root, tmp_path, SPEC)
    prepare(root, SIZE).write(tmp_path)
    (root / "labelsTr" / "case_0.nii.gz").unlink()
    with pytest.raises(InputError, match=r"4 cases were used when .* was begun, 3 of them are there"):
        reopen(root, tmp_path, SPEC)


def test_a_run_goes_on_without_the_broken(tmp_path: Path) -> None:
    root = write_msd(tmp_path / "data", make_cases())
    truncate(root)
    settings = TrainSettings(recipe="tiny", epochs=1, batch_size=4, precision="fp32")
    with pytest.raises(InputError, match="1 of 4 cases is broken"):
        train(root, tmp_path / "run", None, settings)
    assert not (tmp_path / "run").exists()
    train(root, tmp_path / "run", None, settings, skip_broken=True)
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    assert BROKEN not in split["training"] + split["validation"]


def check(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["train", *map(str, arguments), "--check", "--recipe", "tiny"])
    return result.exit_code, " ".join((result.output + str(result.exception or "")).split())


def test_check_only_looks(tmp_path: Path) -> None:
    root = write_msd(tmp_path / "data", make_cases())
    before = sorted(tmp_path.rglob("*"))
    status, output = check(root, "--context", "3", "--window", "-10,240")
    assert status == 0
    assert "Blob: 4 usable cases, 0 broken" in output
    assert "window -10..240" in output
    truncate(root)
    status, output = check(root)
    assert status != 0
    assert f"broken: {BROKEN}: " in output
    assert check(root, "--skip-broken")[0] == 0
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("said", "term"), [("MRI", "MR"), ("T1w", "MR"), ("FLAIR", "MR"), ("ct", "CT"), ("PET", "PT"), ("CEPH", "CEPH")]
)
def test_modalities_in_dicom_terms(said: str, term: str) -> None:
    assert dicom_modality(said) == term


def test_the_written_spec_makes_the_same_model(tmp_path: Path) -> None:
    root = write_msd(tmp_path / "data", make_cases(modalities=2), {"0": "T1", "1": "T2"})
    prepared: Prepared = prepare(root, SIZE)
    prepared.write(tmp_path)
    spec = ModelSpec.from_json((tmp_path / "spec.json").read_text(), "here")
    assert prepare(root, SIZE, spec=spec).spec == prepared.spec
    with pytest.raises(InputError, match="a model of 2 modalities, the data has 1"):
        prepare(write_msd(tmp_path / "one", make_cases()), SIZE, spec=spec)
