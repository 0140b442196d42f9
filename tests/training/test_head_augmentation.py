"""Heads as hospitals send them: labels stay with their image, sides keep their names, a seed gives the same again."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from swinunet.foundation.errors import InputError
from swinunet.imaging import ModelSpec, PlaneSlices, Volume
from swinunet.training.data.cases import Case
from swinunet.training.loop import head_augmentation as change
from swinunet.training.loop.distributed import ProcessGroup
from swinunet.training.loop.settings import TrainSettings
from swinunet.training.loop.volume_augmentation import volume_augmentation
from swinunet.training.loop.volume_batch_loader import POOL, SLICES, VolumeBatchLoader, _chosen
from swinunet.training.metrics.case_scores import IGNORED

SPEC = ModelSpec.from_json((Path(__file__).parents[2] / "training/specs/head_locator.json").read_text(), "spec")
SIDES = ((1, 2),)


def head(orientation: str = "LPS") -> tuple[Volume, Volume]:
    """A ball of brain in air, with a bright ball on its left (label 1) and a dark one on its right (label 2), 2 mm."""
    places = np.stack(np.meshgrid(*[np.arange(n) for n in (60, 64, 70)], indexing="ij"), axis=-1)

    def ball(centre: tuple[int, int, int], radius: float) -> np.ndarray:
        return np.linalg.norm(places - centre, axis=-1) <= radius

    labels = np.where(ball((30, 32, 40), 22), 3, 0).astype(np.uint8)
    labels[ball((40, 32, 36), 5)], labels[ball((20, 32, 36), 5)] = 1, 2
    image = np.array([0, 200, 50, 120], np.float32)[labels]
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    for axis, (letter, positive) in enumerate(zip(orientation, "LPS", strict=True)):
        if letter != positive:
            image, labels = np.flip(image, axis), np.flip(labels, axis)
            affine[axis, 3] = affine[axis, axis] * (image.shape[axis] - 1)
            affine[axis, axis] *= -1
    return Volume(image, affine), Volume(labels, affine)


def centre_mm(labels: Volume, index: int) -> np.ndarray:
    return np.argwhere(labels.voxels == index).mean(axis=0) @ labels.affine[:3, :3].T + labels.affine[:3, 3]


@pytest.mark.parametrize("seed", range(12))
def test_left_stays_left_and_labels_stay_with_their_image(seed: int) -> None:
    ranges = change.HeadRanges(
        strip_chance=0, blur_chance=0, bias_chance=0, gamma_chance=0, noise_chance=0, thick_chance=0
    )
    image, labels = change.as_sent(*head("RAS"), np.random.default_rng(seed), SIDES, ranges)
    assert image.same_grid(labels)
    if {1, 2} <= set(np.unique(labels.voxels)):
        assert centre_mm(labels, 1)[0] > centre_mm(labels, 2)[0]  # L grows to the left
    for index in np.unique(labels.voxels[labels.voxels > 0]):
        inside = image.voxels[labels.voxels == index]
        expected = {1: (200, 50), 2: (200, 50), 3: (120,)}[int(index)]  # a mirror swaps the names, not the intensities
        assert min(abs(np.median(inside) - value) for value in expected) < 40


def test_the_same_seed_gives_the_same_head() -> None:
    first, again, other = (change.as_sent(*head(), np.random.default_rng(seed), SIDES) for seed in (3, 3, 4))
    assert all(np.array_equal(a.voxels, b.voxels) for a, b in zip(first, again, strict=True))
    assert first[0].shape != other[0].shape or not np.array_equal(first[0].voxels, other[0].voxels)


def test_a_mirror_swaps_the_names_of_the_sides() -> None:
    image, labels = change.mirrored(*head(), SIDES)
    assert np.allclose(centre_mm(labels, 1)[1:], centre_mm(head()[1], 1)[1:])
    assert centre_mm(labels, 1)[0] > centre_mm(labels, 2)[0]
    assert image.voxels[labels.voxels == 1].mean() == pytest.approx(50)  # what was right is left now


@pytest.mark.parametrize("axis", range(3))
def test_a_turn_goes_by_its_angle_about_its_axis(axis: int) -> None:
    image, labels = head()
    turned = change.moved(image, labels, np.eye(3)[axis] * 25, np.ones(3), np.zeros(3))[1]
    middle = (np.array(labels.shape) - 1) * 2 / 2
    before, after = centre_mm(labels, 1) - middle, centre_mm(turned, 1) - middle
    assert after[axis] == pytest.approx(before[axis], abs=0.5)
    a, b = np.delete(before, axis), np.delete(after, axis)
    angle = np.degrees(np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))
    assert angle == pytest.approx(25 if np.linalg.norm(a) > 1 else 0, abs=4)


def test_scale_and_shift_are_those_asked_for() -> None:
    image, labels = head()
    larger = change.moved(image, labels, np.zeros(3), np.array([1.2, 1.2, 1.2]), np.zeros(3))[1]
    assert np.count_nonzero(larger.voxels == 1) / np.count_nonzero(labels.voxels == 1) == pytest.approx(1.2**3, rel=0.1)
    shifted = change.moved(image, labels, np.zeros(3), np.ones(3), np.array([8.0, -4.0, 2.0]))[1]
    assert centre_mm(shifted, 2) - centre_mm(labels, 2) == pytest.approx([8, -4, 2], abs=0.1)


def test_stripping_leaves_nothing_but_the_labels() -> None:
    image, labels = head()
    image = Volume(image.voxels + 10, image.affine)
    bare = change.stripped(image, labels, 0)
    assert (bare.voxels[labels.voxels == 0] == 0).all()
    assert np.array_equal(bare.voxels[labels.voxels > 0], image.voxels[labels.voxels > 0])
    wider = change.stripped(image, labels, 4)
    assert np.count_nonzero(wider.voxels) > np.count_nonzero(bare.voxels)


def test_thick_slices_blur_along_their_axis_only() -> None:
    image, _ = head()
    thick = change.with_thick_slices(image, 2, 8.0)
    steps = [np.abs(np.diff(volume.voxels, axis=2)).max() for volume in (image, thick)]
    assert steps[1] < 0.5 * steps[0]
    flat = Volume(np.broadcast_to(np.arange(70, dtype=np.float32) % 2 * 0 + 5, image.shape), image.affine)
    assert np.allclose(change.with_thick_slices(flat, 2, 8.0).voxels, 5, atol=1e-4)
    assert thick.shape == image.shape


def test_noise_has_the_deviation_asked_for() -> None:
    image = Volume(np.full((30, 30, 30), 100, np.float32), np.eye(4))
    assert change.noisy(image, np.random.default_rng(0), 0.05).voxels.std() == pytest.approx(5, rel=0.05)


def test_bias_and_gamma_keep_within_their_strength() -> None:
    image = Volume(np.full((30, 30, 30), 100, np.float32), np.eye(4))
    field = change.with_bias(image, np.random.default_rng(0), 0.4).voxels
    assert np.abs(np.log(field / 100)).max() == pytest.approx(0.4, rel=1e-4)
    graded = Volume(np.linspace(0, 1, 27, dtype=np.float32).reshape(3, 3, 3), np.eye(4))
    assert change.with_gamma(graded, 2.0).voxels == pytest.approx(graded.voxels**2)


def test_the_neck_is_cut_where_it_was_asked_for() -> None:
    image, labels = head()
    lowest = int(np.flatnonzero((labels.voxels > 0).any(axis=(0, 1)))[0])
    assert change.neck_cut(labels, 6) == lowest - 3
    shorter, found = change.cut(image, labels, (0, 0, 5), (0, 0, 0))
    assert shorter.shape == (60, 64, 65)
    assert centre_mm(found, 1) == pytest.approx(centre_mm(labels, 1))  # the affine goes along


def test_an_augmentation_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="choose one of head"):
        volume_augmentation("heart")


def test_pairs_of_sides_follow_from_the_names() -> None:
    assert SPEC.side_pairs == SIDES


@pytest.fixture(scope="module")
def feed() -> VolumeBatchLoader:
    none, flat = np.empty((0, 5, 128, 128), np.float16), np.empty((0, 128, 128), np.uint8)
    nothing = np.empty(0, bool)
    image, labels = head()
    cases = [Case(f"head{n}", SPEC, (image,), none, flat, nothing, nothing, labels) for n in range(POOL + 1)]
    settings = TrainSettings().changed({"augment_volumes": "head", "batch_size": 16})
    return VolumeBatchLoader(cases, settings, torch.device("cpu"), SPEC, ProcessGroup())


def test_an_epoch_takes_every_head_and_half_of_its_slices_hold_a_small_label(feed: VolumeBatchLoader) -> None:
    batches = list(feed.epoch(1))
    assert len(batches) == feed.steps
    assert sum(len(batch.image) for batch in batches) == len(feed) == (POOL + 1) * SLICES
    assert {name for batch in batches for name in batch.cases} == {f"head{n}" for n in range(POOL + 1)}
    small = torch.cat([((batch.labels == 1) | (batch.labels == 2)).flatten(1).any(dim=1) for batch in batches])
    assert small.float().mean() > 0.3
    assert batches[0].image.shape == (16, 5, 128, 128)


def test_a_step_can_be_made_without_those_before_it(feed: VolumeBatchLoader) -> None:
    whole = list(feed.epoch(2))
    later = list(feed.epoch(2, first_step=feed.steps - 2))
    assert len(later) == 2
    for a, b in zip(whole[-2:], later, strict=True):
        assert torch.equal(a.image, b.image)
        assert torch.equal(a.labels, b.labels)
    assert not torch.equal(next(feed.epoch(3)).image, whole[0].image)


def test_slices_that_nobody_annotated_are_not_drawn() -> None:
    labels = np.zeros((6, 6, 20), np.uint8)
    labels[2, 2, 4] = 1
    labels[:, :, 10:] = IGNORED
    view = PlaneSlices(Volume(labels.astype(np.float32), np.eye(4)), dataclasses.replace(SPEC, plane="axial"))
    drawn = {
        at for seed in range(5) for at in _chosen(view, Volume(labels, np.eye(4)), 12, np.random.default_rng(seed))
    }
    assert 4 in drawn
    assert max(drawn) < 10


def test_volumes_are_augmented_in_one_process(feed: VolumeBatchLoader) -> None:
    with pytest.raises(InputError, match="one process"):
        VolumeBatchLoader(feed._cases, feed._settings, torch.device("cpu"), SPEC, ProcessGroup(rank=0, world_size=2))
