"""training/: data in, a loop that learns, a checkpoint out; and what it refuses."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from imaging import Code, Label, ModelSpec, Volume, ZScore, write_nifti
from swinunet.errors import InputError, OutputError, SwinUNetError
from training.augment import Augmentation, augment
from training.checkpoint import load_checkpoint
from training.dataset import load_case, split_cases
from training.folders import DataFolder
from training.losses import dice_ce
from training.metrics import dice
from training.trainer import TrainSettings, predict_labels, train

SPEC = ModelSpec(
    name="blob",
    version=1,
    modality="MR",
    body_part="",
    plane="axial",
    context_slices=3,
    context_step_mm=1.0,
    input_size=(32, 32),
    spacing_mm=(1.0, 1.0),
    intensity=ZScore(),
    labels=(
        Label(1, "bright", (255, 0, 0), Code("85756007", "SCT", "Tissue")),
        Label(2, "dark", (0, 0, 255), Code("85756007", "SCT", "Tissue")),
    ),
)


@pytest.fixture
def msd(tmp_path: Path) -> Path:
    """Six small cases: a bright and a dark ball on noise, which a network must find."""
    root = tmp_path / "Task99_Blob"
    random = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in (24, 26, 10)], indexing="ij"), axis=-1)
    listed = []
    for case in range(6):
        image = random.normal(100, 10, grid.shape[:3]).astype(np.float32)
        labels = np.zeros(grid.shape[:3], np.uint8)
        for index, value in ((1, 220), (2, 10)):
            centre = random.uniform(6, 18, 3) * (1, 1, 0.4)
            ball = ((grid - centre) ** 2).sum(axis=-1) < 16
            image[ball], labels[ball] = value + random.normal(0, 5, int(ball.sum())), index
        for folder, voxels in (("imagesTr", image), ("labelsTr", labels)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            write_nifti(Volume(voxels, np.eye(4)), root / folder / f"blob_{case}.nii.gz")
        listed.append({"image": f"./imagesTr/blob_{case}.nii.gz", "label": f"./labelsTr/blob_{case}.nii.gz"})
    said = {
        "name": "Blob",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "bright", "2": "dark"},
        "training": listed,
    }
    (root / "dataset.json").write_text(json.dumps(said))
    return root


def change(root: Path, **said: object) -> None:
    path = root / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | said))


def test_it_learns_and_the_checkpoint_predicts(msd: Path, tmp_path: Path) -> None:
    settings = TrainSettings(
        recipe="tiny", epochs=12, batch_size=8, learning_rate=5e-3, ema_decay=0.9, precision="fp32"
    )
    checkpoint = train(msd, tmp_path / "run", SPEC, settings)
    model, spec = load_checkpoint(checkpoint)
    assert spec is not None
    assert spec.provenance.metrics["validation_dice"] > 0.7
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    assert not set(split["training"]) & set(split["validation"])
    assert len(split["training"]) + len(split["validation"]) == 6
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["loss"] < 0.7 * log[0]["loss"]
    held_out = next(case for case in DataFolder.open(msd).cases if case.name in split["validation"])
    case = load_case(held_out, spec)
    score = dice(predict_labels(model, case), case.native_labels.voxels, spec.num_classes)
    assert np.nanmean(score) > 0.6


def test_the_same_seed_gives_the_same_weights(msd: Path, tmp_path: Path) -> None:
    settings = TrainSettings(recipe="tiny", epochs=1, batch_size=16, precision="fp32", seed=3)
    weights = [load_checkpoint(train(msd, tmp_path / name, SPEC, settings))[0].state_dict() for name in "ab"]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_split_is_by_case_and_seed(msd: Path) -> None:
    cases = DataFolder.open(msd).cases
    first, again, other = (split_cases(cases, 0.4, seed) for seed in (0, 0, 1))
    assert first == again != other
    assert {case.name for part in first for case in part} == {case.name for case in cases}
    with pytest.raises(InputError, match="training needs two"):
        split_cases(cases[:1], 0.2, 0)


def break_missing_index(root: Path) -> None:
    (root / "dataset.json").unlink()


def break_index(root: Path) -> None:
    (root / "dataset.json").write_text("{")


def break_image(root: Path) -> None:
    path = root / "imagesTr" / "blob_2.nii.gz"
    path.write_bytes(path.read_bytes()[:500])


def break_grid(root: Path) -> None:
    write_nifti(Volume(np.zeros((5, 5, 5), np.uint8), np.eye(4)), root / "labelsTr" / "blob_2.nii.gz")


def break_label(root: Path) -> None:
    write_nifti(Volume(np.full((24, 26, 10), 7, np.uint8), np.eye(4)), root / "labelsTr" / "blob_2.nii.gz")


def break_half(root: Path) -> None:
    write_nifti(Volume(np.full((24, 26, 10), 0.5, np.float32), np.eye(4)), root / "labelsTr" / "blob_2.nii.gz")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (break_missing_index, "no dataset.json"),
        (break_index, "broken"),
        (lambda root: (root / "labelsTr" / "blob_1.nii.gz").unlink(), "1 listed files are not there, the first blob_1"),
        (lambda root: change(root, modality={"0": "T1", "1": "T2"}), "2 modalities"),
        (lambda root: change(root, labels={"0": "background", "2": "dark"}), "without a gap"),
        (lambda root: change(root, labels={"0": "background", "1": "b"}), "the spec has 2 labels, the data 1"),
        (break_image, "blob_2.nii.gz: not a readable NIfTI"),
        (break_grid, "blob_2: image grid .* differ"),
        (break_label, "blob_2: label 7 found, the spec has 0..2"),
        (break_half, "blob_2.nii.gz: labels must be whole numbers"),
    ],
)
def test_broken_data_is_named(msd: Path, tmp_path: Path, damage: object, says: str) -> None:
    damage(msd)  # type: ignore[operator]
    with pytest.raises(InputError, match=says):
        train(msd, tmp_path / "run", SPEC, TrainSettings(recipe="tiny", epochs=1))
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()


def test_other_refusals(msd: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no recipe is named 'huge'"):
        train(msd, tmp_path / "run", SPEC, TrainSettings(recipe="huge"))
    with pytest.raises(InputError, match="precision fp8"):
        train(msd, tmp_path / "run", SPEC, TrainSettings(recipe="tiny", precision="fp8"))
    with pytest.raises(InputError, match="the spec's input is"):
        train(msd, tmp_path / "other", dataclasses.replace(SPEC, input_size=(64, 64)), TrainSettings(recipe="tiny"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(OutputError, match="not empty"):
        train(msd, tmp_path / "full", SPEC, TrainSettings(recipe="tiny"))


def test_a_loss_that_explodes_stops_the_run(msd: Path, tmp_path: Path) -> None:
    with pytest.raises(SwinUNetError, match="loss became nan"):
        train(msd, tmp_path / "run", SPEC, TrainSettings(recipe="tiny", epochs=3, learning_rate=1e30, precision="fp32"))


def test_dice_counts_a_miss_and_leaves_out_the_absent() -> None:
    ours = np.array([0, 1, 1, 0, 0])
    theirs = np.array([0, 1, 0, 2, 0])
    np.testing.assert_allclose(dice(ours, theirs, 4), [2 / 3, 0.0, np.nan])


def test_dice_ce_falls_as_the_answer_gets_better() -> None:
    labels = torch.randint(0, 3, (2, 8, 8), generator=torch.Generator().manual_seed(0))
    right = torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float()
    losses = [dice_ce(scale * right, labels).item() for scale in (-2, 0, 2, 20)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 1e-3


def test_augmentation_moves_image_and_labels_together() -> None:
    labels = torch.zeros(16, 32, 32, dtype=torch.long)
    labels[:, 10:20, 8:24] = 1
    image = labels[:, None].float().expand(-1, 3, -1, -1) * 5 + 1
    plain = Augmentation(contrast=0, brightness=0, gamma=0, noise=0)
    moved, moved_labels = augment(image, labels, plain, torch.Generator().manual_seed(0))
    assert (moved_labels != labels).any()
    bright = moved[:, 1] > 3.5
    assert (bright == (moved_labels == 1)).float().mean() > 0.97


def test_augmentation_off_changes_nothing_but_the_order_of_neighbours() -> None:
    image, labels = torch.rand(4, 3, 16, 16), torch.randint(0, 2, (4, 16, 16))
    same, same_labels = augment(image, labels, Augmentation(probability=0), torch.Generator().manual_seed(0))
    torch.testing.assert_close(same[:, 1], image[:, 1], atol=1e-5, rtol=1e-5)
    assert torch.equal(same_labels, labels)
