"""A model version in Triton's layout: written aside, then renamed into place; one that exists is never overwritten.

<repository>/<name>/config.pbtxt            TensorRT, for NVIDIA's container
<repository>/<name>/configs/cpu.pbtxt       OpenVINO in the Python backend, for a machine without a GPU
<repository>/<name>/<version>/model.onnx    the graph; model.plan is built from it on the GPU that serves it
<repository>/<name>/<version>/model.py      what the CPU config runs
<repository>/<name>/<version>/canary.npz    an input whose labels are known; a server that answers otherwise is not up
<repository>/<name>/<version>/checkpoint.safetensors, MODEL_CARD.md, split.json (if the run folder has it)
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from export.model_card import model_card
from export.triton_config import cpu_config, gpu_config
from imaging import ModelSpec
from swinunet.errors import OutputError
from swinunet.files import written_aside
from training.swin_unet import SwinUNet

CANARY_SLICES = 2


def version_folder(repository: Path, spec: ModelSpec) -> Path:
    """Where this model version lives. Raises OutputError if it exists already."""
    target = repository / spec.name / str(spec.version)
    if target.exists():
        taken = [int(p.name) for p in target.parent.iterdir() if p.name.isdigit()]
        raise OutputError(
            f"{target}: version {spec.version} of {spec.name} exists and is never overwritten; "
            f"export as a new one (--version {max(taken) + 1})"
        )
    return target


@contextmanager
def staged_version(repository: Path, spec: ModelSpec) -> Iterator[Path]:
    """A folder to fill, which becomes the model version when the block ends well and is gone when it does not."""
    target = version_folder(repository, spec)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise OutputError(f"{repository}: cannot write ({os.strerror(error.errno or 0)}); choose another one") from None
    try:
        yield aside
        aside.chmod(0o755)
        aside.rename(target)
        _write_configs(target.parent, spec)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def fill_version(folder: Path, network: SwinUNet, spec: ModelSpec, checkpoint: Path, slices: np.ndarray) -> None:
    """Everything in a version folder but model.onnx. slices: float16 [N, C, H, W], real."""
    shutil.copyfile(Path(__file__).with_name("python_backend_model.py"), folder / "model.py")
    shutil.copyfile(checkpoint, folder / "checkpoint.safetensors")
    split = checkpoint.with_name("split.json")
    if split.is_file():
        shutil.copyfile(split, folder / split.name)
    (folder / "MODEL_CARD.md").write_text(model_card(spec, network.config))
    image, labels = _canary(network, slices)
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


def _write_configs(model: Path, spec: ModelSpec) -> None:
    (model / "configs").mkdir(exist_ok=True)
    for path, text in ((model / "config.pbtxt", gpu_config(spec)), (model / "configs" / "cpu.pbtxt", cpu_config(spec))):
        with written_aside(path) as aside:
            aside.write_text(text)
