"""training/losses.py: every loss falls as the answer gets better, with the gradient and the limits its paper says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from swinunet.foundation.errors import InputError
from swinunet.training.loop.deep_supervision import deep_loss
from swinunet.training.loop.losses import (
    balanced_cross_entropy,
    binary_cross_entropy,
    boundary_loss,
    cross_entropy,
    dice_ce,
    focal,
    loss_by_name,
    signed_distances,
    slice_dice_loss,
    soft_dice_loss,
)
from swinunet.training.metrics.case_scores import IGNORED

BASES = ("dice-ce", "dice-bce", "dice-focal", "dice-balanced", "slice-dice-ce")
NAMES = [name + extra for name in BASES for extra in ("", "+boundary")]


def alone(total: Tensor) -> Tensor:
    return total


@pytest.fixture
def labels() -> Tensor:
    """Two slices of 3 classes: a square of each, the second slice without class 2."""
    made = torch.zeros(2, 12, 12, dtype=torch.long)
    made[:, 2:7, 2:7] = 1
    made[0, 8:11, 6:11] = 2
    return made


def right(labels: Tensor, classes: int = 3) -> Tensor:
    return F.one_hot(labels, classes).permute(0, 3, 1, 2).double()


@pytest.mark.parametrize("name", NAMES)
def test_it_falls_as_the_answer_gets_better(name: str, labels: Tensor) -> None:
    loss = loss_by_name(name)
    losses = [loss(scale * right(labels), labels).item() for scale in (-8, -2, 0, 2, 8, 40)]
    assert losses == sorted(losses, reverse=True)
    if "boundary" not in name:
        assert losses[-1] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_its_gradient_is_that_of_finite_differences(name: str, labels: Tensor) -> None:
    logits = torch.randn(2, 3, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(lambda x: loss_by_name(name)(x, labels), logits.requires_grad_(), fast_mode=True)


@pytest.mark.parametrize("name", NAMES)
def test_sure_and_wrong_gives_a_finite_loss_and_gradient(name: str, labels: Tensor) -> None:
    logits = (-1e4 * right(labels)).float().requires_grad_()
    loss = loss_by_name(name)(logits, labels)
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_logits_are_judged_in_single(name: str, labels: Tensor) -> None:
    logits = 3 * right(labels)
    assert loss_by_name(name)(logits.bfloat16(), labels).dtype == torch.float32


def test_dice_by_slice_weighs_a_small_structure_as_a_large_one() -> None:
    """Nothing found in a slice of 4 pixels beside one of 400 that is right: half is lost, and next to nothing else."""
    labels = torch.zeros(2, 24, 24, dtype=torch.long)
    labels[0, 2:22, 2:22] = 1
    labels[1, 4:6, 4:6] = 1
    found = labels.clone()
    found[1] = 0
    logits = 100 * right(found, 2)
    assert slice_dice_loss(logits, labels, alone).item() == pytest.approx(0.5 * (1 - 1 / 5))  # 1 pixel of smoothing
    assert soft_dice_loss(logits, labels, alone).item() < 0.01


def test_dice_by_slice_wants_nothing_found_where_nothing_is() -> None:
    labels = torch.zeros(1, 8, 8, dtype=torch.long)
    found = labels.clone()
    found[0, :1, :3] = 1
    assert slice_dice_loss(100 * right(found, 2), labels, alone).item() == pytest.approx(1 - 1 / 4)
    assert slice_dice_loss(100 * right(labels, 2), labels, alone).item() == pytest.approx(0)


def test_soft_dice_of_half_an_answer(labels: Tensor) -> None:
    """Class 1 found whole, class 2 not at all: (1 + 0) / 2, but for the smoothing."""
    found = torch.where(labels == 2, 0, labels)
    assert soft_dice_loss(100 * right(found), labels, alone).item() == pytest.approx(0.5, abs=0.05)


def test_binary_cross_entropy_is_one_class_against_the_rest(labels: Tensor) -> None:
    logits = torch.randn(2, 3, 12, 12, dtype=torch.float64)
    expected = F.binary_cross_entropy(logits.softmax(dim=1), right(labels))
    torch.testing.assert_close(binary_cross_entropy(logits, labels, alone), expected)
    two = labels.clamp(max=1)
    torch.testing.assert_close(
        binary_cross_entropy(logits[:, :2], two, alone), cross_entropy(logits[:, :2], two, alone)
    )


def test_focal_loss_is_cross_entropy_that_forgives_the_easy(labels: Tensor) -> None:
    """1708.02002: with p of the right class, cross-entropy times (1 - p)^2."""
    logits = 2.0 * right(labels)
    p = logits.softmax(dim=1).gather(1, labels[:, None])
    torch.testing.assert_close(focal(logits, labels, alone), (-((1 - p) ** 2) * p.log()).mean())
    easy, hard = (scale * right(labels) for scale in (5, -5))
    ratio = [focal(x, labels, alone) / cross_entropy(x, labels, alone) for x in (easy, hard)]
    assert ratio[0] < 1e-3
    assert ratio[1] > 0.9


def test_balanced_cross_entropy_weighs_classes_by_the_root_of_their_pixels(labels: Tensor) -> None:
    """288 pixels: 50 of class 1, 15 of class 2. With all logits 0 every pixel costs log 3, whatever its weight."""
    flat = torch.zeros(2, 3, 12, 12, dtype=torch.float64)
    assert balanced_cross_entropy(flat, labels, alone).item() == pytest.approx(np.log(3))
    only_class_2_wrong = 100 * right(torch.where(labels == 2, 0, labels))
    counts = np.array([223, 50, 15])
    assert [int((labels == each).sum()) for each in range(3)] == counts.tolist()
    share = np.sqrt(counts[2]) / np.sqrt(counts).sum()  # a class weighs count / sqrt(count)
    assert balanced_cross_entropy(only_class_2_wrong, labels, alone).item() == pytest.approx(100 * share)
    assert balanced_cross_entropy(flat, torch.full_like(labels, IGNORED), alone).item() == 0


def test_signed_distances_in_pixels() -> None:
    labels = torch.zeros(3, 7, 7, dtype=torch.long)
    labels[0, 2:5, 2:5] = 1
    labels[2] = 1
    distances = signed_distances(labels, 3).numpy()
    assert distances.shape == (3, 2, 7, 7)
    np.testing.assert_allclose(distances[0, 0, 3], [2, 1, 0, -1, 0, 1, 2])
    assert distances[0, 0, 0, 0] == pytest.approx(8**0.5)
    assert not distances[0, 1].any()  # no class 2
    assert not distances[1:].any()  # class 1 nowhere, everywhere


def test_boundary_loss_charges_by_distance(labels: Tensor) -> None:
    """A false positive far off costs more than one of the same size beside the organ (1812.07032, figure 2)."""
    answers = []
    for column in (7, 10):
        answer = labels[1:].clone()
        answer[0, 2:7, column] = 1
        answers.append(boundary_loss(100 * right(answer), labels[1:], alone).item())
    assert answers[0] < answers[1]


@pytest.mark.parametrize("name", ["ce", "dice-ce+edge", "dice-ce+", ""])
def test_an_unknown_loss_lists_the_known(name: str) -> None:
    with pytest.raises(InputError, match=r"no loss is named.*dice-ce, dice-bce, dice-focal, dice-balanced.*\+boundary"):
        loss_by_name(name)


def test_deep_loss_weighs_resolutions_by_halves(labels: Tensor) -> None:
    outputs = [torch.randn(2, 3, side, side) for side in (12, 6, 3)]
    thinned = [labels, labels[:, 1::2, 1::2], labels[:, 2::4, 2::4]]
    losses = [dice_ce(logits, part) for logits, part in zip(outputs, thinned, strict=True)]
    expected = (losses[0] + losses[1] / 2 + losses[2] / 4) / 1.75
    torch.testing.assert_close(deep_loss(dice_ce, outputs, labels), expected)
