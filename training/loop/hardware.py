"""What a run computes on: the device, the precision its processor multiplies natively, and the memory it took."""

from __future__ import annotations

import resource
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from swinunet.foundation.errors import InputError
from swinunet.training.named_choices import require_device, require_precision


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """`cpu`, `cuda` (the GPU numbered `local_rank`, or `cuda:N`) or `auto`: a GPU where there is one.

    Raises InputError for another name, or for a GPU that is not there.
    """
    require_device(name)
    kind, _, index = name.partition(":")
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cpu" or (kind == "auto" and gpus == 0):
        return torch.device("cpu")
    number = int(index) if index else local_rank
    if number >= gpus:
        raise InputError(
            f"device {name}: GPU {number} is asked for, PyTorch {torch.__version__} finds {gpus} here; "
            "use --device cpu, or install a PyTorch built for your GPU's driver"
        )
    return torch.device("cuda", number)


@dataclass(frozen=True)
class Precision:
    """Automatic mixed precision: the device's type, and the type that matrix products are computed in (None: fp32)."""

    device: str = "cpu"
    dtype: torch.dtype | None = None

    @property
    def scaled(self) -> bool:
        """Whether gradients are small enough to vanish, so that the loss must be scaled (arXiv 1710.03740, 3.2)."""
        return self.dtype == torch.float16

    def autocast(self) -> AbstractContextManager[object]:
        """The context to compute the network in."""
        return torch.autocast(self.device, self.dtype or torch.bfloat16, enabled=self.dtype is not None)


FP32 = Precision()


def choose_precision(name: str, device: torch.device) -> Precision:
    """`fp32`, `bf16`, `fp16` or `auto`. Raises InputError for another name, or for fp16 on a CPU."""
    require_precision(name)
    gpu = device.type == "cuda"
    if name == "fp16" and not gpu:
        raise InputError("precision fp16 needs a GPU; use bf16 or fp32 on a CPU")
    if name == "auto":
        native = torch.cuda.is_bf16_supported() if gpu else torch.cpu._is_avx512_bf16_supported()
        name = "bf16" if native else "fp16" if gpu else "fp32"
    return Precision(device.type, {"bf16": torch.bfloat16, "fp16": torch.float16}.get(name))


def peak_memory_mb(device: torch.device) -> float:
    """Most memory this process has held so far, in 10^6 bytes: of the GPU, or resident on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
