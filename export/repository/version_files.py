"""What lies in a version folder beside the graph: the served model.py, the checkpoint, the model card, the canary."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from swinunet.export.file_names import (
    CANARY_FILE,
    CHECKPOINT_FILE,
    MODEL_CARD_FILE,
    MODEL_PY_FILE,
    NOTES_FILE,
)
from swinunet.export.repository.model_card import model_card
from swinunet.export.sample_slices import sample_slices
from swinunet.foundation.errors import CheckpointError
from swinunet.foundation.files import sha256_of_file
from swinunet.imaging import ModelSpec
from swinunet.training.data.split_file import SPLIT_FILE
from swinunet.training.network.checkpoint import load_checkpoint
from swinunet.training.network.swin_unet import SwinUNet

CANARY_SLICES = 2


def read_checkpoint(checkpoint: Path, version: int | None) -> tuple[SwinUNet, ModelSpec]:
    """The network, and its spec as the version that is exported from it. version: None takes the spec's own.

    Raises CheckpointError for a checkpoint that cannot be read or has no spec.
    """
    network, spec = load_checkpoint(checkpoint)
    if spec is None:
        raise CheckpointError(f"{checkpoint}: holds no model spec, so nobody could serve it; train it first")
    provenance = dataclasses.replace(spec.provenance, checkpoint_sha256=sha256_of_file(checkpoint))
    return network, dataclasses.replace(spec, version=version or spec.version, provenance=provenance)


def fill_version(folder: Path, network: SwinUNet, spec: ModelSpec, checkpoint: Path) -> None:
    """Write everything but the files that engines run. NOTES.md beside the checkpoint is appended to the model card."""
    shutil.copyfile(Path(__file__).with_name("python_backend_model.py"), folder / MODEL_PY_FILE)
    shutil.copyfile(checkpoint, folder / CHECKPOINT_FILE)
    split = checkpoint.with_name(SPLIT_FILE)
    if split.is_file():
        shutil.copyfile(split, folder / SPLIT_FILE)
    notes = checkpoint.with_name(NOTES_FILE)
    appendix = f"\n{notes.read_text()}" if notes.is_file() else ""
    (folder / MODEL_CARD_FILE).write_text(model_card(spec, network.config) + appendix)
    image, labels = _canary(network, sample_slices(spec, None))  # a brain that is public: no patient's slices travel
    np.savez_compressed(folder / CANARY_FILE, image=image, labels=labels)


def _canary(network: SwinUNet, slices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The slices with the most foreground, float16 [2, C, H, W], and the labels of the checkpoint, uint8 [2, H, W]."""
    network.eval()
    with torch.inference_mode():
        parts = [network(torch.from_numpy(part).float()).argmax(1).byte() for part in _chunks(slices)]
    labels = torch.cat(parts).numpy()
    chosen = np.sort(np.argsort(-(labels > 0).sum(axis=(1, 2)), kind="stable")[:CANARY_SLICES])
    return slices[chosen], labels[chosen]


def _chunks(slices: np.ndarray, size: int = 16) -> Iterator[np.ndarray]:
    for start in range(0, len(slices), size):
        yield slices[start : start + size]
