"""training/studies/half_weights.py: half the size, and the same model as if its weights had been rounded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_model import SMALL_SPEC

from swinunet.foundation.errors import CheckpointError
from swinunet.training.network.checkpoint import load_checkpoint, save_checkpoint
from swinunet.training.network.recipes import recipe
from swinunet.training.network.swin_unet import SwinUNet
from swinunet.training.studies.half_weights import halve


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = SwinUNet(recipe("tiny").build(SMALL_SPEC.in_channels, SMALL_SPEC.num_classes))
    save_checkpoint(tmp_path / "checkpoint.safetensors", network, SMALL_SPEC)
    return tmp_path / "checkpoint.safetensors"


def test_the_weights_are_rounded_and_the_spec_stays(checkpoint: Path, tmp_path: Path) -> None:
    halve(checkpoint, tmp_path / "half.safetensors")
    model, spec = load_checkpoint(checkpoint)
    half, same_spec = load_checkpoint(tmp_path / "half.safetensors")
    assert spec == same_spec
    assert (tmp_path / "half.safetensors").stat().st_size < 0.7 * checkpoint.stat().st_size
    for name, weight in model.state_dict().items():
        assert torch.equal(half.state_dict()[name], weight.half().float()), name
        assert half.state_dict()[name].dtype == torch.float32


def test_weights_that_half_precision_cannot_hold_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    model, spec = load_checkpoint(checkpoint)
    with torch.no_grad():
        model.head.weight[0] = 1e6
    save_checkpoint(checkpoint, model, spec)
    with pytest.raises(CheckpointError, match=r"head\.weight holds NaN or infinite values"):
        halve(checkpoint, tmp_path / "half.safetensors")
