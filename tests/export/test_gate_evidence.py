"""Which cases the gate judges on, and which slices int8 is calibrated on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from labelled_folders import make_cases, put, write_msd, write_plain
from small_model import SMALL_SPEC

from swinunet.export.gate import evidence as evidence_module
from swinunet.export.gate.evidence import gather_evidence, unseen_cases
from swinunet.foundation.errors import InputError
from swinunet.imaging import Volume
from swinunet.training.data.cases import load_case
from swinunet.training.data.folders import CasePaths, DataFolder

SLICES = 24  # sagittal ones of a case of `make_cases`


def slices_of(data: Path, names: Sequence[str]) -> np.ndarray:
    paths = {case.name: case for case in DataFolder.open(data).cases}
    return np.concatenate([load_case(paths[name], SMALL_SPEC).images for name in names])


def split_file(folder: Path, training: Sequence[str], validation: Sequence[str]) -> Path:
    path = folder / "split.json"
    path.write_text(json.dumps({"training": list(training), "validation": list(validation)}))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plain(tmp_path_factory.mktemp("cases") / "blob", make_cases(9))


@pytest.fixture(scope="module")
def names(data: Path) -> list[str]:
    return sorted(path.name.removesuffix(".nii.gz") for path in (data / "labels").iterdir())


def test_without_a_split_all_cases_are_judged_and_the_description_warns(data: Path, names: list[str]) -> None:
    found = gather_evidence(SMALL_SPEC, data, data / "split.json")
    assert found.description == "blob: 9 labelled cases (no split.json: some may be training cases)"
    assert (found.count, found.labelled, found.spec) == (9, True, SMALL_SPEC)
    cases = list(found.cases())
    assert [case.name for case in cases] == names
    assert all(case.native_labels.voxels.max() == 2 for case in cases)


def test_tensors_are_compared_on_the_first_four_cases(data: Path, names: list[str]) -> None:
    found = gather_evidence(SMALL_SPEC, data, data / "split.json").slices()
    assert (found.shape, found.dtype) == ((4 * SLICES, 1, 32, 32), np.float16)
    np.testing.assert_array_equal(found, slices_of(data, names[:4]))


def test_without_a_split_int8_is_calibrated_on_half_of_the_slices_that_are_judged(data: Path) -> None:
    found = gather_evidence(SMALL_SPEC, data, data / "split.json")
    judged = {image.tobytes() for image in found.slices()}
    calibration = {image.tobytes() for image in found.calibration()}
    assert calibration < judged
    assert len(calibration) == pytest.approx(len(judged) / 2, abs=8)


def test_int8_is_calibrated_on_four_training_cases_spread_over_all(
    data: Path, names: list[str], tmp_path: Path
) -> None:
    split = split_file(tmp_path, names[:7], names[7:])
    found = gather_evidence(SMALL_SPEC, data, split)
    assert [case.name for case in found.cases()] == names[7:]
    assert found.description == "blob: 2 validation cases of split.json"
    np.testing.assert_array_equal(found.calibration(), slices_of(data, [names[at] for at in (0, 2, 4, 6)]))


def test_a_single_training_case_is_read_once(data: Path, names: list[str], tmp_path: Path) -> None:
    found = gather_evidence(SMALL_SPEC, data, split_file(tmp_path, names[:1], names[1:]))
    np.testing.assert_array_equal(found.calibration(), slices_of(data, names[:1]))


def test_forty_cases_of_more_are_spread_over_all(tmp_path: Path) -> None:
    data = write_msd(tmp_path / "many", make_cases(45))
    found = gather_evidence(SMALL_SPEC, data, tmp_path / "split.json")
    assert found.count == 40
    assert found.description == "Blob: 40 of 45 labelled cases (no split.json: some may be training cases)"
    chosen = [int(paths.name.removeprefix("case_")) for paths in found._files]
    assert len(set(chosen)) == 40
    expected = np.linspace(0, 44, 40)
    places = [int(case.name.removeprefix("case_")) for case in DataFolder.open(data).cases]
    assert (np.abs([places.index(at) for at in chosen] - expected) <= 0.5).all()


def folder_of(*names: str) -> DataFolder:
    return DataFolder(Path("data"), "organ", tuple(CasePaths(name, (Path(name),), Path(name)) for name in names))


@pytest.mark.parametrize(
    ("training", "validation", "expected", "says"),
    [
        ("a", "bx", "b", "1 validation cases of split.json"),
        ("", "abcd", "abcd", "4 validation cases of split.json"),
        ("ab", "", "cd", "2 labelled cases that split.json does not name"),
        ("ab", "x", "cd", "2 labelled cases that split.json does not name"),
        ("xy", "z", "abcd", "4 labelled cases that split.json does not name"),
    ],
)
def test_validation_cases_come_first_and_training_cases_never(
    tmp_path: Path, training: str, validation: str, expected: str, says: str
) -> None:
    found, description = unseen_cases(folder_of(*"abcd"), split_file(tmp_path, training, validation))
    assert [case.name for case in found] == list(expected)
    assert description == says


def test_a_folder_of_training_cases_only_is_refused_by_name(tmp_path: Path) -> None:
    split = split_file(tmp_path, "abcde", "x")
    with pytest.raises(InputError) as caught:
        unseen_cases(folder_of(*"abcd"), split)
    assert str(caught.value) == (
        f"data: all its cases were trained on ({split}); judge on cases the model has not seen"
    )


def test_images_without_labels_are_cases_with_an_empty_reference(tmp_path: Path) -> None:
    made = make_cases(2)
    for name, case in made.items():
        put(case.modalities[0], case.affine, tmp_path / "scans" / f"{name}.nii.gz")
    found = gather_evidence(SMALL_SPEC, tmp_path / "scans", tmp_path / "split.json")
    assert found.description == "2 images of scans, no labels"
    assert (found.count, found.labelled) == (2, False)
    cases = list(found.cases())
    assert [case.name for case in cases] == ["image 1", "image 2"]
    for case in cases:
        assert not case.native_labels.voxels.any()
        assert case.native_labels.voxels.dtype == np.uint8
        assert case.native_labels.same_grid(case.study[0])
    assert len(found.slices()) == sum(len(case.images) for case in cases) == 2 * SLICES


@pytest.mark.parametrize("indexed", [False, True])
def test_either_layout_of_a_labelled_folder_is_known(tmp_path: Path, indexed: bool) -> None:
    write = write_msd if indexed else write_plain
    assert gather_evidence(SMALL_SPEC, write(tmp_path / "data", make_cases(2)), tmp_path / "split.json").labelled


def test_without_data_it_is_the_mni152_brain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    brain = Volume(make_cases(1)["case_0"].modalities[0], np.eye(4))

    def samples(spec: object, data: Path | None) -> list[tuple[Volume, ...]]:
        asked.append((spec, data))
        return [(brain,)]

    monkeypatch.setattr(evidence_module, "sample_studies", samples)
    found = gather_evidence(SMALL_SPEC, None, tmp_path / "split.json")
    assert asked == [(SMALL_SPEC, None)]
    assert found.description == "the MNI152 T1 brain, no labels"
    assert (found.count, found.labelled) == (1, False)
    assert [case.study for case in found.cases()] == [(brain,)]
