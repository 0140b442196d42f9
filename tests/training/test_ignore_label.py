"""nnU-Net's label `ignore`: no class, not in the loss, not scored, counted in the report. Regions: refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluated_cases import Run, verb_runner
from labelled_folders import put, write_index

from swinunet.evaluation.result import read_evaluation
from swinunet.foundation.errors import InputError
from swinunet.imaging import Volume
from swinunet.training.data.cases import load_case
from swinunet.training.data.derive_spec import derive_spec
from swinunet.training.data.fingerprint import examine_folder
from swinunet.training.data.folders import DataFolder
from swinunet.training.loop.batch_loader import BatchLoader
from swinunet.training.loop.distributed import ProcessGroup
from swinunet.training.loop.losses import loss_by_name
from swinunet.training.loop.settings import TrainSettings
from swinunet.training.loop.trainer import train
from swinunet.training.metrics.case_scores import IGNORED, dice, score_case
from swinunet.training.network.checkpoint import load_checkpoint

SHAPE, ORGAN = (32, 32, 8), (slice(10, 20), slice(10, 20))
IGNORED_VOXELS = 32 * 32 * 6  # of each case: two of the eight slices are annotated


def write_partly_annotated(root: Path, count: int = 4) -> Path:
    """nnU-Net's layout: an organ in two annotated slices, and 2, which is `ignore`, in all others."""
    random = np.random.default_rng(0)
    for case in range(count):
        image = random.normal(100, 10, SHAPE).astype(np.float32)
        image[ORGAN] += 80
        labels = np.full(SHAPE, 2, np.uint8)
        labels[:, :, 3:5] = 0
        labels[(*ORGAN, slice(3, 5))] = 1
        put(image, np.eye(4), root / "imagesTr" / f"case_{case:03d}_0000.nii.gz")
        put(labels, np.eye(4), root / "labelsTr" / f"case_{case:03d}.nii.gz")
    write_index(
        root,
        channel_names={"0": "T1"},
        labels={"background": 0, "organ": 1, "ignore": 2},
        numTraining=count,
        file_ending=".nii.gz",
    )
    return root


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_partly_annotated(tmp_path / "data")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return verb_runner(monkeypatch, capsys)


def test_it_is_no_class_and_is_counted_where_the_data_is_examined(data: Path) -> None:
    folder = DataFolder.open(data)
    assert folder.label_names == ("organ",)
    found = examine_folder(folder)
    assert not found.broken
    assert {case.ignored_voxels for case in found.cases} == {IGNORED_VOXELS}
    assert found.class_voxels() == [4 * (2 * 32 * 32 - 200), 4 * 200]
    assert any(f"{4 * IGNORED_VOXELS} voxels of 4 cases (75 % of theirs)" in remark for remark in found.remarks)
    assert found.as_dict()["ignored_voxels"] == 4 * IGNORED_VOXELS
    assert [label.name for label in derive_spec(found, (32, 32)).spec.labels] == ["organ"]


def test_slices_that_nobody_annotated_are_not_drawn(data: Path) -> None:
    """Also where the network's input is larger than the slice, so that it is padded with background."""
    folder = DataFolder.open(data)
    spec = derive_spec(examine_folder(folder), (64, 64)).spec
    cases = [load_case(paths, spec) for paths in folder.cases]
    settings = TrainSettings(batch_size=4, empty_share=1)
    loader = BatchLoader(cases, settings, torch.device("cpu"), spec.context_slices, ProcessGroup())
    annotated = [(32 if spec.plane != "axial" else 2) for _ in cases]
    assert sum(len(batch.image) for batch in loader.epoch(1)) == sum(annotated)


@pytest.mark.parametrize(
    "name", ["dice-ce", "dice-bce", "dice-focal", "dice-balanced", "slice-dice-ce", "dice-ce+boundary"]
)
def test_what_is_predicted_where_nobody_annotated_changes_no_loss_and_no_gradient(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (2, 8, 8), generator=generator)
    labels[:, :, 5:] = IGNORED
    one = torch.randn(2, 3, 8, 8, generator=generator)
    other = one.clone()
    other[..., 5:] = 10 * torch.randn(2, 3, 8, 3, generator=generator)
    losses = []
    for logits in (one.requires_grad_(), other.requires_grad_()):
        losses.append(loss_by_name(name)(logits, labels))
        losses[-1].backward()
        assert logits.grad is not None
        assert not logits.grad[..., 5:].any()
        assert logits.grad[..., :5].any()
    torch.testing.assert_close(losses[0], losses[1])


def test_the_loss_is_that_of_the_annotated_part_alone() -> None:
    generator = torch.Generator().manual_seed(1)
    logits, labels = torch.randn(1, 3, 8, 8, generator=generator), torch.randint(0, 3, (1, 8, 8), generator=generator)
    alone = loss_by_name("dice-ce")(logits[..., :5], labels[..., :5])
    labels[..., 5:] = IGNORED
    torch.testing.assert_close(loss_by_name("dice-ce")(logits, labels), alone)


def test_nothing_is_scored_where_nobody_annotated() -> None:
    reference = np.zeros((10, 10, 10), np.uint8)
    reference[2:5, 2:5, 2:5] = 1
    reference[:, :, 6:] = IGNORED
    predicted = np.where(reference == 1, 1, 0).astype(np.uint8)
    predicted[:, :, 6:] = 1
    (found,) = score_case(predicted, Volume(reference, np.eye(4)), 2)
    assert (found.dice, found.hd95_mm, found.nsd, found.volume_error_ml) == (1.0, 0.0, 1.0, 0.0)
    np.testing.assert_array_equal(dice(predicted, reference, 2), [1.0])
    predicted[:, :, :6] = 0
    assert score_case(predicted, Volume(reference, np.eye(4)), 2)[0].outcome == "missed"


def test_a_run_and_its_evaluation(data: Path, tmp_path: Path, run: Run) -> None:
    settings = TrainSettings(recipe="tiny", epochs=1, batch_size=8, precision="fp32")
    checkpoint = train(data, tmp_path / "run", None, settings)
    _, spec = load_checkpoint(checkpoint)
    assert spec is not None
    assert [label.name for label in spec.labels] == ["organ"]
    assert spec.labels[0].volume_ml == (0.2, 0.2)
    assert json.loads((tmp_path / "run" / "fingerprint.json").read_text())["ignored_voxels"] == 4 * IGNORED_VOXELS
    for case in range(4):  # right where it is annotated, wrong everywhere else
        put(organ_everywhere(), np.eye(4), tmp_path / f"p/case_{case:03d}.nii")
    status, said, errors = run(tmp_path / "p", data, "-o", tmp_path / "judged")
    assert status == 0, errors
    assert f"{4 * IGNORED_VOXELS} voxels (75 %) have the label `ignore`" in said
    found = read_evaluation(tmp_path / "judged" / "evaluation.json")
    assert found.mean["dice"].mean == 1.0
    assert {case.ignored_voxels for case in found.cases} == {IGNORED_VOXELS}


def organ_everywhere() -> np.ndarray:
    labels = np.ones(SHAPE, np.uint8)
    labels[:, :, 3:5] = 0
    labels[(*ORGAN, slice(3, 5))] = 1
    return labels


def test_a_case_that_nobody_annotated_is_broken(data: Path) -> None:
    put(np.full(SHAPE, 2, np.uint8), np.eye(4), data / "labelsTr" / "case_001.nii.gz")
    (broken,) = examine_folder(DataFolder.open(data)).broken
    assert (broken.name, broken.problem) == (
        "case_001",
        "nothing of it is annotated: every voxel has the label `ignore`",
    )


def test_255_is_ignored_only_where_it_is_named(data: Path) -> None:
    """As unknown as any other value where no label says `ignore`."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[0, 0, 0] = IGNORED
    put(labels, np.eye(4), data / "labelsTr" / "case_001.nii.gz")
    write_index(data, labels={"background": 0, "organ": 1, "tumour": 2})
    (broken,) = examine_folder(DataFolder.open(data)).broken
    assert "label 255 found" in broken.problem
    write_index(data, labels={"background": 0, "organ": 1, "tumour": 2, "ignore": 255})
    assert not examine_folder(DataFolder.open(data)).broken


def test_regions_are_refused_by_name(data: Path) -> None:
    regions = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}
    write_index(data, labels=regions, regions_class_order=[1, 2, 3])
    with pytest.raises(
        InputError, match=r"region-based labels \(whole, core each made of several values\) are not"
    ) as no:
        DataFolder.open(data)
    assert "name each value instead" in str(no.value)
    assert "\n" not in str(no.value)
