"""The process that runs the network on a GPU, eagerly and compiled, beside the roofline of that GPU."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from swinunet.benchmarks.measure.processes import serve_orders
from swinunet.foundation.errors import InputError
from swinunet.training.network.checkpoint import load_checkpoint
from swinunet.training.network.recipes import gflop

_MATRIX = 8192  # square, for the arithmetic peak
_COPIED = 2**28  # bytes, for the memory's
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16}


class GpuWorker:
    """Holds the network in every precision, and the slices on the device."""

    def load(self, *, folder: str, slices: str, device: str) -> dict[str, Any]:
        """Load the checkpoint of a version folder. Raises InputError if there is no such device."""
        if device == "cuda" and not torch.cuda.is_available():
            raise InputError(f"no GPU that torch {torch.__version__} can use")
        self._device = torch.device(device)
        network, _ = load_checkpoint(Path(folder) / "checkpoint.safetensors")
        self._gflop = gflop(network.config)
        self._networks = {name: _copy(network, dtype, self._device) for name, dtype in _DTYPES.items()}
        self._slices = torch.from_numpy(np.load(slices)).to(self._device)
        self._compiled: dict[str, Callable[[Tensor], Tensor]] = {}
        name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
        return {"description": f"{name}, torch {torch.__version__}"}

    def roofline(self, *, precision: str, size: int = _MATRIX, copied: int = _COPIED) -> dict[str, Any]:
        """Measured peaks: GFLOP/s of a matrix product of `size`, and GB/s of a copy of `copied` bytes."""
        a = torch.randn(size, size, device=self._device).to(_DTYPES[precision])
        source = torch.empty(copied, dtype=torch.uint8, device=self._device)
        target = torch.empty_like(source)
        product_s = min(self._times(lambda: a @ a, 0.2))
        copy_s = min(self._times(lambda: target.copy_(source), 0.2))
        return {"gflop_per_s": 2.0 * size**3 / product_s / 1e9, "gb_per_s": 2.0 * copied / copy_s / 1e9}

    def measure(self, *, precision: str, compiled: bool, batch: int, seconds: float) -> dict[str, Any]:
        """Latencies at one batch, s, and what the batch takes: GFLOP, and GB that layers read and write."""
        network = self._networks[precision]
        image = self._images(precision, batch)
        run: Callable[[Tensor], Tensor] = network
        if compiled:
            run = self._compiled.setdefault(precision, torch.compile(network, mode="reduce-overhead"))
        for _ in range(3):  # compilation, then the capture of the CUDA graph
            self._labels(run, image)
        found = self.work(precision=precision, batch=batch)
        return {"latencies_s": self._times(lambda: self._labels(run, image), seconds), **found}

    def work(self, *, precision: str, batch: int) -> dict[str, Any]:
        """What one batch takes: GFLOP, and GB that layers read and write."""
        image = self._images(precision, batch)
        return {"gflop": self._gflop * batch, "gb": _bytes_moved(self._networks[precision], image) / 1e9}

    def _images(self, precision: str, batch: int) -> Tensor:
        return self._slices[torch.arange(batch) % len(self._slices)].to(_DTYPES[precision])

    @torch.inference_mode()
    def _labels(self, run: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
        return run(image).argmax(dim=1).to(torch.uint8)

    def _times(self, run: Callable[[], object], seconds: float) -> list[float]:
        """Seconds of each run, to the end of the device's work."""
        found: list[float] = []
        end = time.perf_counter() + seconds
        self._wait()
        while len(found) < 3 or time.perf_counter() < end:
            began = time.perf_counter()
            run()
            self._wait()
            found.append(time.perf_counter() - began)
        return found

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()


def _copy(network: nn.Module, dtype: torch.dtype, device: torch.device) -> nn.Module:
    return copy.deepcopy(network).to(device=device, dtype=dtype).eval()


def _bytes_moved(network: nn.Module, image: Tensor) -> int:
    """Weights once, and the inputs and outputs of every layer: what is moved if nothing is fused and nothing cached."""
    moved = sum(weight.nbytes for weight in network.parameters())

    def count(_module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal moved
        moved += sum(each.nbytes for each in (*inputs, output) if isinstance(each, Tensor))

    leaves = [module for module in network.modules() if not list(module.children())]
    hooks = [leaf.register_forward_hook(count) for leaf in leaves]
    with torch.inference_mode():
        network(image)
    for hook in hooks:
        hook.remove()
    return moved


if __name__ == "__main__":
    worker = GpuWorker()
    serve_orders({"load": worker.load, "roofline": worker.roofline, "work": worker.work, "measure": worker.measure})
