"""What lies in a version folder beside the graph: the served model.py, the checkpoint, the model card, the canary."""

from __future__ import annotations

import base64
import dataclasses
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from swinunet.export.file_names import (
    CANARY_FILE,
    CHECKPOINT_FILE,
    LOAD_TEST_FILE,
    MODEL_CARD_FILE,
    MODEL_PY_FILE,
    NOTES_FILE,
)
from swinunet.export.repository.model_card import model_card
from swinunet.export.sample_slices import sample_slices
from swinunet.foundation.errors import CheckpointError, InputError
from swinunet.foundation.files import sha256_of_file, write_whole
from swinunet.imaging import ModelSpec
from swinunet.training.data.split_file import SPLIT_FILE
from swinunet.training.network.checkpoint import load_checkpoint
from swinunet.training.network.swin_unet import SwinUNet

CANARY_SLICES = 2
MIN_CANARY_PIXELS = 20  # of structures: of fewer, a border that precision moves would be more than serving allows

Slices = Callable[[], np.ndarray]  # float16 [N, C, H, W]


def read_checkpoint(checkpoint: Path, version: int | None) -> tuple[SwinUNet, ModelSpec]:
    """The network, and its spec as the version that is exported from it. version: None takes the spec's own.

    Raises CheckpointError for a checkpoint that cannot be read or has no spec.
    """
    network, spec = load_checkpoint(checkpoint)
    if spec is None:
        raise CheckpointError(f"{checkpoint}: holds no model spec, so nobody could serve it; train it first")
    provenance = dataclasses.replace(spec.provenance, checkpoint_sha256=sha256_of_file(checkpoint))
    return network, dataclasses.replace(spec, version=version or spec.version, provenance=provenance)


def fill_version(
    folder: Path, network: SwinUNet, spec: ModelSpec, checkpoint: Path, more_slices: Slices | None = None
) -> None:
    """Write everything but the files that engines run. NOTES.md beside the checkpoint is appended to the model card.

    more_slices: what the canary is made of if the model finds nothing in the MNI152 brain, which is public and comes
    first so that no patient's slices travel. Raises InputError if it finds nothing in either.
    """
    write_model_py(folder)
    shutil.copyfile(checkpoint, folder / CHECKPOINT_FILE)
    split = checkpoint.with_name(SPLIT_FILE)
    if split.is_file():
        shutil.copyfile(split, folder / SPLIT_FILE)
    notes = checkpoint.with_name(NOTES_FILE)
    appendix = f"\n{notes.read_text()}" if notes.is_file() else ""
    (folder / MODEL_CARD_FILE).write_text(model_card(spec, network.config) + appendix)
    image, labels = _canary(network, [lambda: sample_slices(spec, None), *([more_slices] if more_slices else [])])
    np.savez_compressed(folder / CANARY_FILE, image=image, labels=labels)
    write_load_test(folder / LOAD_TEST_FILE, image[0])


def write_model_py(folder: Path) -> None:
    """Write what the CPU config runs, of this software, into a version folder. Raises OutputError."""
    write_whole(folder / MODEL_PY_FILE, Path(__file__).with_name("python_backend_model.py").read_bytes())


def write_load_test(path: Path, image: np.ndarray) -> None:
    """Input data for `perf_analyzer --input-data`, whose own random numbers are NaN now and then, which is refused.

    image: float16 [C, H, W].
    """
    content = base64.b64encode(image.astype("<f2").tobytes()).decode()
    data = {"data": [{"image": {"content": {"b64": content}, "shape": list(image.shape)}}]}
    path.write_text(json.dumps(data) + "\n")


def _canary(network: SwinUNet, sources: Iterable[Slices]) -> tuple[np.ndarray, np.ndarray]:
    """Slices with structures from the first source that has them, float16 [2, C, H, W], and the checkpoint's labels,
    uint8 [2, H, W]. Raises InputError if none has."""
    for source in sources:
        image, labels = _slices_with_most_structure(network, source())
        if (labels > 0).sum() >= MIN_CANARY_PIXELS:
            return image, labels
    raise InputError(
        "the model finds no structure in the MNI152 brain, nor in the images of --data where there are any, so "
        "`swinunet serve` could not tell it from one that always answers background; give images in which it finds "
        "some (--data)"
    )


def _slices_with_most_structure(network: SwinUNet, slices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    network.eval()
    with torch.inference_mode():
        parts = [network(torch.from_numpy(part).float()).argmax(1).byte() for part in _chunks(slices)]
    labels = torch.cat(parts).numpy()
    chosen = np.sort(np.argsort(-(labels > 0).sum(axis=(1, 2)), kind="stable")[:CANARY_SLICES])
    return slices[chosen], labels[chosen]


def _chunks(slices: np.ndarray, size: int = 16) -> Iterator[np.ndarray]:
    for start in range(0, len(slices), size):
        yield slices[start : start + size]
