"""The canary has structures in it, whatever the model is of: from the MNI152 brain, or else from the user's images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_version import SPEC, tiny_cases, tiny_network
from torch import Tensor

from swinunet.export.pipeline import GateOptions, export_checkpoint
from swinunet.export.repository import version_files
from swinunet.export.repository.version_files import MIN_CANARY_PIXELS, _canary
from swinunet.foundation.errors import InputError
from swinunet.training.network.checkpoint import save_checkpoint


class Bright(torch.nn.Module):
    """Finds class 1 where the image is above 1."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat([torch.ones_like(image[:, :1]), image[:, :1]], dim=1)


def slices_with(*bright: int) -> np.ndarray:
    """A slice for each number, with so many bright pixels: float16 [N, 1, 32, 32]."""
    found = np.zeros((len(bright), 1, 32, 32), np.float16)
    for image, count in zip(found, bright, strict=True):
        image.reshape(-1)[:count] = 2
    return found


def never() -> np.ndarray:
    raise AssertionError("the images of a patient are asked for although the public brain is enough")


def counts(*sources: Callable[[], np.ndarray]) -> list[int]:
    image, labels = _canary(Bright(), sources)  # type: ignore[arg-type]
    assert image.dtype == np.float16
    np.testing.assert_array_equal(labels, image[:, 0] > 1)
    return [int((each > 0).sum()) for each in labels]


def test_the_brain_is_taken_where_it_has_structures() -> None:
    assert counts(lambda: slices_with(5, 40, 0, 30), never) == [40, 30]


def test_the_users_images_are_taken_where_the_brain_has_none() -> None:
    assert counts(lambda: slices_with(0, 0, 0), lambda: slices_with(3, 50, 60)) == [50, 60]


def test_a_few_pixels_are_no_structure() -> None:
    few, enough = MIN_CANARY_PIXELS - 1, MIN_CANARY_PIXELS
    assert counts(lambda: slices_with(few, 0), lambda: slices_with(enough, 0)) == [enough, 0]


def test_without_any_structure_there_is_no_canary() -> None:
    with pytest.raises(InputError, match=r"finds no structure in the MNI152 brain, nor .*\(--data\)$"):
        counts(lambda: slices_with(0, 0), lambda: slices_with(0, MIN_CANARY_PIXELS - 1))


def test_an_export_takes_it_from_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path / "checkpoint.safetensors", tiny_network(), SPEC)
    cases = tiny_cases(tmp_path / "cases")
    blank = np.full((2, SPEC.context_slices, 32, 32), np.nan, np.float16)  # the largest of NaN is the first, background
    monkeypatch.setattr(version_files, "sample_slices", lambda spec, data: blank)
    done = export_checkpoint(
        tmp_path / "checkpoint.safetensors", tmp_path / "repository", None, cases, GateOptions(serve=False)
    )
    with np.load(done.folder / "canary.npz") as canary:
        assert np.isfinite(canary["image"]).all()
        assert (canary["labels"] > 0).sum() >= MIN_CANARY_PIXELS


def test_an_export_of_a_model_that_finds_nothing_is_refused(tmp_path: Path) -> None:
    network = tiny_network()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()  # all logits are alike, so that the first class, background, is chosen
    save_checkpoint(tmp_path / "checkpoint.safetensors", network, SPEC)
    with pytest.raises(InputError, match="finds no structure"):
        export_checkpoint(
            tmp_path / "checkpoint.safetensors", tmp_path / "repository", None, None, GateOptions(serve=False)
        )
    assert not list((tmp_path / "repository").glob("small*"))
