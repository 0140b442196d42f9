"""What lies in a version folder beside the graph: the served model.py, the checkpoint, the model card, the canary."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from swinunet.export.repository.model_card import model_card
from swinunet.export.sample_slices import sample_slices
from swinunet.foundation.errors import CheckpointError
from swinunet.foundation.files import sha256_of_file
from swinunet.imaging import ModelSpec
from swinunet.training.network.checkpoint import load_checkpoint
from swinunet.training.network.swin_unet import SwinUNet

CHECKPOINT, GRAPH, SPLIT, NOTES = "checkpoint.safetensors", "model.onnx", "split.json", "NOTES.md"
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
    """Write it all, but the engines' own files. What stands in NOTES.md beside the checkpoint ends the model card."""
    shutil.copyfile(Path(__file__).with_name("python_backend_model.py"), folder / "model.py")
    shutil.copyfile(checkpoint, folder / CHECKPOINT)
    split = checkpoint.with_name(SPLIT)
    if split.is_file():
        shutil.copyfile(split, folder / SPLIT)
    notes = checkpoint.with_name(NOTES)
    said = f"\n{notes.read_text()}" if notes.is_file() else ""
    (folder / "MODEL_CARD.md").write_text(model_card(spec, network.config) + said)
    image, labels = _canary(network, sample_slices(spec, None))  # a brain that is public: no patient's slices travel
    np.savez_compressed(folder / "canary.npz", image=image, labels=labels)


def _canary(network: SwinUNet, slices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The slices with the most foreground, float16 [2, C, H, W], and what the checkpoint says of them, uint8."""
    network.eval()
    with torch.inference_mode():
        parts = [network(torch.from_numpy(part).float()).argmax(1).byte() for part in _chunks(slices)]
    labels = torch.cat(parts).numpy()
    chosen = np.sort(np.argsort(-(labels > 0).sum(axis=(1, 2)), kind="stable")[:CANARY_SLICES])
    return slices[chosen], labels[chosen]


def _chunks(slices: np.ndarray, size: int = 16) -> Iterator[np.ndarray]:
    for start in range(0, len(slices), size):
        yield slices[start : start + size]
