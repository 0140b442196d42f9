"""training/: data in, a loop that learns, a checkpoint out; and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from blobs import SPEC, write_blobs

from swinunet.foundation.errors import CheckpointError, InputError, OutputError, SwinUNetError
from swinunet.imaging import Volume, write_nifti
from swinunet.imaging.components import keep_largest
from swinunet.training.data.cases import Case, load_case, split_cases
from swinunet.training.data.folders import DataFolder
from swinunet.training.loop.augmentation import Augmentation, augment
from swinunet.training.loop.batch_loader import BatchLoader
from swinunet.training.loop.distributed import ProcessGroup
from swinunet.training.loop.hardware import Precision, choose_device, choose_precision
from swinunet.training.loop.losses import dice_ce
from swinunet.training.loop.optimisation import Learner
from swinunet.training.loop.trainer import TrainSettings, predict_labels, train
from swinunet.training.metrics.case_scores import dice
from swinunet.training.network.checkpoint import load_checkpoint, save_checkpoint, start_from
from swinunet.training.network.recipes import recipe
from swinunet.training.network.swin_unet import SwinUNet


@pytest.fixture
def msd(tmp_path: Path) -> Path:
    return write_blobs(tmp_path / "Task99_Blob")


def all_cases(root: Path) -> list[Case]:
    return [load_case(paths, SPEC) for paths in DataFolder.open(root).cases]


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
    assert all(low <= high for low, high in (label.volume_ml for label in spec.labels))
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    assert not set(split["training"]) & set(split["validation"])
    assert len(split["training"]) + len(split["validation"]) == 6
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["loss"] < 0.7 * log[0]["loss"]
    held_out = next(case for case in DataFolder.open(msd).cases if case.name in split["validation"])
    case = load_case(held_out, spec)
    score = dice(predict_labels(model, case), case.native_labels.voxels, spec.num_classes)
    assert np.nanmean(score) > 0.6


def test_predictions_are_post_processed_as_served(msd: Path) -> None:
    """A threshold as the network: it finds the balls and specks of noise; the specks go where the spec says so."""

    class Threshold(torch.nn.Linear):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            middle = image[:, 1]
            return torch.stack([torch.full_like(middle, 0.6), middle, -middle], dim=1)

    network = Threshold(1, 1)
    paths = DataFolder.open(msd).cases[0]
    plain = predict_labels(network, load_case(paths, SPEC))
    largest = predict_labels(network, load_case(paths, dataclasses.replace(SPEC, components="largest")))
    assert keep_largest(plain) > 0
    np.testing.assert_array_equal(largest, plain)


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
    (root / "imagesTr").rename(root / "pictures")


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
    with pytest.raises(InputError, match="precision 'fp8'"):
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


def test_deformation_is_smooth_bounded_and_the_same_for_image_and_labels() -> None:
    ramp = torch.linspace(0.1, 1.0, 64).expand(8, 1, 64, 64).contiguous()  # the value says the column it came from
    labels = (ramp[:, 0] > 0.55).long()
    only = Augmentation(
        probability=1, mirror_probability=0, rotation_degrees=0, scale=0, shift=0, contrast=0, brightness=0, gamma=0,
        noise=0, elastic=0.1,
    )  # fmt: skip
    moved, moved_labels = augment(ramp, labels, only, torch.Generator().manual_seed(0))
    inside = (slice(None), 0, slice(8, -8), slice(8, -8))  # further than 0.1 of 64 pixels from the edges
    columns = (moved[inside] - ramp[inside]) / 0.9 * 63
    assert 0.5 < columns.abs().max() <= 6.5  # pixels
    assert columns.diff(dim=1).abs().max() < 1.5  # from a row to the next
    near = (moved[inside] - 0.55).abs() < 0.02  # within a pixel of the border either is right
    assert ((moved[inside] > 0.55).long() == moved_labels[:, 8:-8, 8:-8])[~near].all()


def test_augmentation_off_changes_nothing_but_the_order_of_neighbours() -> None:
    image, labels = torch.rand(4, 3, 16, 16), torch.randint(0, 2, (4, 16, 16))
    same, same_labels = augment(image, labels, Augmentation(probability=0), torch.Generator().manual_seed(0))
    torch.testing.assert_close(same[:, 1], image[:, 1], atol=1e-5, rtol=1e-5)
    assert torch.equal(same_labels, labels)


def test_bias_is_a_smooth_gain_that_leaves_padding_alone() -> None:
    image = torch.ones(16, 1, 32, 32)
    image[:, :, :8], image[:, :, 8] = 0.0, 0.5  # padding, and the darkest tissue, which a gain leaves where it is
    only_bias = Augmentation(
        probability=1, rotation_degrees=0, scale=0, shift=0, mirror_probability=0, contrast=0, brightness=0, gamma=0,
        noise=0, bias=0.7,
    )  # fmt: skip
    changed, _ = augment(image, torch.zeros(16, 32, 32).long(), only_bias, torch.Generator().manual_seed(0))
    gain = changed[:, :, 9:]
    assert not changed[:, :, :8].any()
    assert (gain.amax(dim=(1, 2, 3)) / gain.amin(dim=(1, 2, 3)) > 1.1).all()
    assert gain.max() <= 2.02
    assert gain.min() >= 0.49
    assert gain.diff(dim=-1).abs().max() < 0.2


def test_flips_move_image_and_labels_together() -> None:
    labels = torch.zeros(32, 16, 16, dtype=torch.long)
    labels[:, 2:6, 3:5] = 1
    image = labels[:, None].float().expand(-1, 4, -1, -1) * torch.tensor([1.0, 2, 3, 4]).view(1, 4, 1, 1)
    settings = Augmentation(probability=0, mirror_probability=0.5, flip_probability=0.5)
    moved, moved_labels = augment(image, labels, settings, torch.Generator().manual_seed(0), context_slices=2)
    assert torch.equal(moved[:, 0] > 0.5, moved_labels == 1)
    assert {tuple(slices.tolist()) for slices in moved.amax(dim=(2, 3)).round()} == {(1, 2, 3, 4), (2, 1, 4, 3)}
    corners = {tuple(where.nonzero()[0].tolist()) for where in moved_labels}
    assert corners == {(2, 3), (10, 3), (2, 11), (10, 11)}


def test_mirror_images_are_of_the_patient() -> None:
    """Left is right through a sagittal slice, and along the rows of the others; labels go along."""
    labels = torch.zeros(2, 16, 16, dtype=torch.long)
    labels[:, 2:6, 3:5] = 1
    image = labels[:, None].float() * torch.tensor([1.0, 2, 3]).view(1, 3, 1, 1)
    sagittal = torch.tensor([True, False])
    settings = Augmentation(probability=0, mirror_probability=1)
    moved, moved_labels = augment(image, labels, settings, torch.Generator().manual_seed(0), 3, sagittal)
    assert [[round(float(slice_.max())) for slice_ in each] for each in moved] == [[3, 2, 1], [1, 2, 3]]
    assert [tuple(where.nonzero()[0].tolist()) for where in moved_labels] == [(2, 3), (2, 11)]
    assert torch.equal(moved[:, 0] > 0.5, moved_labels == 1)


def test_a_run_on_several_planes_from_given_weights(msd: Path, tmp_path: Path) -> None:
    settings = TrainSettings(recipe="tiny", epochs=1, batch_size=16, learning_rate=0, validate_every=1)
    spec = dataclasses.replace(SPEC, further_planes=("sagittal",))
    first = train(msd, tmp_path / "first", spec, settings)
    again = train(msd, tmp_path / "second", spec, dataclasses.replace(settings, seed=1, weights=str(first)))
    (one, _), (two, kept) = load_checkpoint(first), load_checkpoint(again)
    assert all(torch.equal(tensor, two.state_dict()[name]) for name, tensor in one.state_dict().items())
    assert kept is not None
    assert kept.planes == ("axial", "sagittal")
    assert f"--weights {first}" in kept.provenance.command
    other = save_tiny(tmp_path / "other.safetensors", embed_dim=24)
    with pytest.raises(CheckpointError, match="tensors do not fit the recipe's network"):
        train(msd, tmp_path / "third", spec, dataclasses.replace(settings, weights=str(other)))
    assert not (tmp_path / "third" / "checkpoint.safetensors").exists()


def test_weights_for_other_channels_and_classes_keep_their_body(tmp_path: Path) -> None:
    path = save_tiny(tmp_path / "other.safetensors", in_channels=1, num_classes=9)
    network = SwinUNet(recipe("tiny").build(3, 3))
    before = network.head.weight.clone()
    assert start_from(path, network) == ["patch_embed.proj.weight", "head.weight"]
    assert torch.equal(network.norm.weight, load_checkpoint(path)[0].norm.weight)
    assert torch.equal(network.head.weight, before)


def save_tiny(path: Path, **changes: Any) -> Path:
    save_checkpoint(path, SwinUNet(dataclasses.replace(recipe("tiny").build(3, 3), **changes)), None)
    return path


def test_labels_that_name_sides_are_not_mirrored(msd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = tuple(dataclasses.replace(label, name=f"Left {label.name}") for label in SPEC.labels)
    settings = TrainSettings(recipe="tiny", epochs=1, batch_size=16)
    _, spec = load_checkpoint(train(msd, tmp_path / "run", dataclasses.replace(SPEC, labels=labels), settings))
    assert spec is not None
    assert "--augment-mirror-probability 0.0" in spec.provenance.command
    assert "mirror images are left out" in capsys.readouterr().out


def test_what_a_run_leaves_and_early_stopping(msd: Path, tmp_path: Path) -> None:
    settings = TrainSettings(
        recipe="tiny", epochs=9, batch_size=16, learning_rate=0, patience=3, validate_every=1, deep_supervision=True
    )
    checkpoint = train(msd, tmp_path / "run", SPEC, settings)
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in log] == [1, 2, 3, 4]  # the first is the best, and three are no better
    assert log[-1].keys() >= {"loss", "dice", "dice_per_class", "learning_rate", "slices_per_second", "peak_memory_mb"}
    assert 0 <= log[-1]["waiting_for_data"] <= 1
    for name in ("curves.png", "overlays.png"):
        assert (tmp_path / "run" / name).read_bytes().startswith(b"\x89PNG")
    assert len(list((tmp_path / "run" / "events").glob("events.out.tfevents.*"))) == 1
    model, spec = load_checkpoint(checkpoint)
    assert spec is not None
    assert spec.provenance.command == (
        "swinunet train Task99_Blob --recipe tiny --epochs 9 --seed 0 --deep-supervision --learning-rate 0 "
        "--patience 3 --validate-every 1 --spec spec.json"
    )
    assert not any("heads" in name for name in model.state_dict())
    assert load_checkpoint(tmp_path / "run" / "last.safetensors")[0].config == model.config


def test_an_image_that_is_not_finite_is_named(msd: Path) -> None:
    cases = all_cases(msd)
    cases[2].images[:] = np.nan
    loader = BatchLoader(
        cases, TrainSettings(batch_size=64, empty_share=1), torch.device("cpu"), SPEC.context_slices, ProcessGroup()
    )
    assert next(loader.epoch(1)).describe() == "the image of blob_2 is not finite"


def test_an_epoch_draws_every_labelled_slice_and_a_share_of_the_empty_ones(msd: Path) -> None:
    cases = all_cases(msd)
    labelled = sum(int(case.labels.any(axis=(1, 2)).sum()) for case in cases)
    empty = sum(len(case.labels) for case in cases) - labelled
    assert empty > 3
    settings = TrainSettings(batch_size=8, empty_share=0.5, augmentation=Augmentation(probability=0))
    loader = BatchLoader(cases, settings, torch.device("cpu"), SPEC.context_slices, ProcessGroup())
    drawn = torch.cat([batch.labels.flatten(1).any(dim=1) for batch in loader.epoch(1)])
    assert int(drawn.sum()) == labelled
    assert int((~drawn).sum()) == math.ceil(empty / 2)


def test_devices_and_precisions() -> None:
    cpu = choose_device("cpu")
    assert (choose_precision("fp32", cpu).dtype, choose_precision("bf16", cpu).dtype) == (None, torch.bfloat16)
    for says, wrong in (
        ("device .tpu.; expected cpu, cuda, cuda:N or auto", lambda: choose_device("tpu")),
        ("GPU 99 is asked for, PyTorch .* finds [0-9] here", lambda: choose_device("cuda:99")),
        ("fp16 needs a GPU", lambda: choose_precision("fp16", cpu)),
    ):
        with pytest.raises(InputError, match=says):
            wrong()


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"learning_rate": -1.0}, {"ema_decay": 2.0}, {"gradient_clip": 0.0}], ids=str
)
def test_settings_out_of_range_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        TrainSettings(**wrong)  # type: ignore[arg-type]


def test_fp16_gradients_are_scaled_and_a_step_that_overflows_is_left_out() -> None:
    """GradScaler (arXiv 1710.03740) on the CPU, which computes fp16 slowly, but does."""
    torch.manual_seed(0)
    half = Precision("cpu", torch.float16)
    learner = Learner(SwinUNet(recipe("tiny").build(3, 3)), TrainSettings(), 10, torch.device("cpu"), half)
    image, labels = torch.randn(2, 3, 32, 32), torch.randint(0, 3, (2, 32, 32))
    before = learner.network.head.weight.clone()
    losses = [learner.step(image, labels) for _ in range(12)]
    assert losses[-1] < losses[0]
    assert not torch.equal(learner.network.head.weight, before)
    learner.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**120)
    kept = learner.network.head.weight.clone()
    learner.step(image, labels)
    assert torch.equal(learner.network.head.weight, kept)
    assert learner.scaler.get_scale() < 2.0**120
