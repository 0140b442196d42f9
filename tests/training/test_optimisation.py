"""What a step does besides the gradient: the learning rate's schedule and the moving average of the weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from swinunet.training.loop.hardware import FP32
from swinunet.training.loop.optimisation import Learner
from swinunet.training.loop.settings import TrainSettings
from swinunet.training.network.recipes import recipe
from swinunet.training.network.swin_unet import SwinUNet

TOTAL_STEPS = 20


def learner(**settings: float) -> Learner:
    """A small network that learns for 20 steps."""
    torch.manual_seed(0)
    network = SwinUNet(recipe("tiny").build(1, 2))
    return Learner(network, TrainSettings(**settings), TOTAL_STEPS, torch.device("cpu"), FP32)  # type: ignore[arg-type]


def rates(learner: Learner) -> list[float]:
    """The learning rate of every step of a run."""
    found = []
    for step in range(TOTAL_STEPS + 1):
        learner.steps = step
        found.append(learner.learning_rate())
    return found


def test_the_learning_rate_rises_linearly_during_the_warm_up() -> None:
    found = rates(learner(learning_rate=0.1, warmup_fraction=0.25))  # 5 of 20 steps
    np.testing.assert_allclose(found[:6], [0.02, 0.04, 0.06, 0.08, 0.1, 0.1])


def test_the_learning_rate_falls_along_half_a_cosine_to_zero() -> None:
    found = rates(learner(learning_rate=0.1, warmup_fraction=0.5))
    np.testing.assert_allclose(found[10:], 0.05 * (1 + np.cos(np.linspace(0, np.pi, 11))), atol=1e-12)
    assert found[-1] == pytest.approx(0, abs=1e-12)


def test_without_a_warm_up_the_first_step_has_the_full_rate() -> None:
    assert rates(learner(learning_rate=0.1, warmup_fraction=0))[0] == 0.1


def test_a_step_uses_the_rate_of_the_warm_up() -> None:
    """AdamW's first step is as long as its learning rate in every weight without decay, whatever the gradient."""
    longest = []
    for warmup in (0.0, 0.5):
        each = learner(learning_rate=1e-2, warmup_fraction=warmup, weight_decay=0)
        before = each.network.norm_up.weight.detach().clone()
        each.step(torch.randn(2, 1, 32, 32), torch.randint(0, 2, (2, 32, 32)))
        longest.append(float((each.network.norm_up.weight.detach() - before).abs().max()))
    np.testing.assert_allclose(longest, [1e-2, 1e-3], rtol=1e-3)


@pytest.mark.parametrize(
    ("ema_decay", "decays"),
    [
        (0.999, [2 / 11, 3 / 12, 4 / 13, 5 / 14]),  # (1 + n) / (10 + n) after n steps: young, so it forgets quickly
        (0.25, [2 / 11, 0.25, 0.25, 0.25]),
    ],
)
def test_the_young_average_leaves_the_random_start_quickly(ema_decay: float, decays: list[float]) -> None:
    each = learner(ema_decay=ema_decay, learning_rate=1e-2)
    expected = each.network.head.weight.detach().double().numpy().copy()
    for decay in decays:
        each.step(torch.randn(2, 1, 32, 32), torch.randint(0, 2, (2, 32, 32)))
        expected = decay * expected + (1 - decay) * each.network.head.weight.detach().double().numpy()
        np.testing.assert_allclose(each.average.head.weight.numpy(), expected, atol=1e-6)
