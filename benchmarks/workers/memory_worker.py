"""The process whose memory is measured: it preprocesses a data set and draws an epoch of batches, without a network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from swinunet.benchmarks.measure.machine import peak_mib
from swinunet.benchmarks.measure.processes import serve_orders
from swinunet.benchmarks.workers.training_worker import SPEC
from swinunet.imaging import Volume, write_nifti
from swinunet.training.data.folders import CasePaths
from swinunet.training.loop.batch_loader import BatchLoader
from swinunet.training.loop.distributed import ProcessGroup
from swinunet.training.loop.run_cases import MIB, load_run_cases
from swinunet.training.loop.settings import TrainSettings

_SHAPE = (32, 200, 200)  # 32 sagittal slices
_SPEC = replace(SPEC, input_size=(224, 224))


def hold(*, images: int, memory_mib: int) -> dict[str, Any]:
    """Half of the images to train on, half to validate on. data_mib: of volumes and slices together."""
    with TemporaryDirectory() as folder:
        paths = [_write(Path(folder), index) for index in range(images)]
        cases = load_run_cases((paths[::2], paths[1::2]), (_SPEC, _SPEC), Path(folder), memory_mib)
        loader = BatchLoader(cases.training, TrainSettings(), torch.device("cpu"), SPEC.context_slices, ProcessGroup())
        for _ in loader.epoch(1):
            pass
        for _ in cases.validation:
            pass
    volumes = int(np.prod(_SHAPE)) * (4 + 1)  # image and labels
    slices = _SHAPE[0] * int(np.prod(_SPEC.input_size)) * (2 * _SPEC.in_channels + 1)
    return {"data_mib": images * (volumes + slices) / MIB, "peak_mib": peak_mib()}


def _write(folder: Path, index: int) -> CasePaths:
    noise = np.random.default_rng(index).normal(100, 10, _SHAPE).astype(np.float32)
    labels = np.zeros(_SHAPE, np.uint8)
    labels[:, 50:150, 50:150] = 1
    paths = CasePaths(f"case_{index}", (folder / f"image_{index}.nii",), folder / f"labels_{index}.nii")
    write_nifti(Volume(noise, np.eye(4)), paths.image)
    write_nifti(Volume(labels, np.eye(4)), paths.labels)
    return paths


if __name__ == "__main__":
    serve_orders({"hold": hold})
