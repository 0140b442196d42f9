"""What `make gpu-check` tries, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from swinunet.export.engines.loaded_engine import MAX_BATCH_SIZE
from swinunet.export.engines.registry import ENGINES

GPU_BATCHES = (1, 2, 4, 8, 16, 32, 64)  # slices
CPU_BATCHES = (1, 2)
COMPILED_BATCHES = (
    1,
    8,
    16,
    64,
)  # a batch is compiled anew, which takes long; the gate's comparison needs the first three
TENSORRT_RTX = "tensorrt-rtx"  # no engine of the registry: it is built, and nothing here runs it
BUILT = ("tensorrt-fp16", TENSORRT_RTX)
ON_ANY_MACHINE = ("pytorch-fp32", "onnxruntime-fp32")

# The quick ones first, so that a model's compilation takes time from nothing but the rows after it.
CHECKED = (
    *ON_ANY_MACHINE,
    "pytorch-fp16",
    "onnxruntime-cuda-fp32",
    "onnxruntime-cuda-fp16",
    "tensorrt-fp16",
    "onnxruntime-tensorrt-fp16",
    TENSORRT_RTX,
    "torch-compile-fp16",
    "torch-compile-fp32",
)
_PACKAGES = {
    "onnxruntime-cuda": ("onnxruntime-gpu",),
    "onnxruntime-tensorrt": ("onnxruntime-gpu", "tensorrt"),
    "tensorrt": ("tensorrt",),
    TENSORRT_RTX: ("tensorrt-rtx-cu12",),
}
_MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx-cu12": "tensorrt_rtx"}  # several packages may bring them


@dataclass(frozen=True)
class GpuCheckSettings:
    """repository: of the shipped models. recipe: of the network that is measured untrained, beside them.

    seconds: of measuring at each batch. row_s, total_s: time limits of a row and of the whole run, s. Preparing a model
    and its roofline may take their share of what is left, so that a slow machine has time for rows of every model.
    batches: None takes GPU_BATCHES, or CPU_BATCHES where there is no GPU. max_bytes: of the report folder.
    """

    repository: Path
    recipe: str = "swin-unet"
    seconds: float = 0.4
    row_s: float = 120.0
    total_s: float = 570.0
    batches: tuple[int, ...] | None = None
    max_bytes: int = 16 * 10**6


def engine_title(engine: str) -> str:
    """As a table names it."""
    if engine == TENSORRT_RTX:
        return "TensorRT for RTX fp16"
    library = ENGINES[engine].library
    return f"{library.title} {ENGINES[engine].precision}{' on the CPU' if library.runs_on == 'CPU' else ''}"


def engine_precision(engine: str) -> str:
    """fp32 or fp16."""
    return "fp16" if engine == TENSORRT_RTX else ENGINES[engine].arithmetic


def lacks(engine: str, gpu: str | None) -> str:
    """Why `engine` cannot run on a machine with this GPU, before it is tried; empty if it may. gpu: None for none."""
    if gpu is not None or engine in ON_ANY_MACHINE:
        return ""
    missing = missing_packages(engine)
    also = f"; not installed either: {', '.join(missing)}" if missing else ""
    return f"needs an NVIDIA GPU, and nvidia-smi lists none here{also}"


def missing_packages(engine: str) -> list[str]:
    """Packages that `engine` needs beside PyTorch and are not installed."""
    library = engine if engine == TENSORRT_RTX else ENGINES[engine].library.name
    return [name for name in _PACKAGES.get(library, ()) if not _installed(name)]


def row_batches(engine: str, batches: tuple[int, ...]) -> tuple[int, ...]:
    """The batches at which `engine` is measured."""
    if engine.startswith("torch-compile"):
        return tuple(batch for batch in batches if batch in COMPILED_BATCHES)
    if engine.startswith("onnxruntime-tensorrt"):  # its engine has the profile that is served
        return tuple(batch for batch in batches if batch <= MAX_BATCH_SIZE)
    if engine != TENSORRT_RTX and ENGINES[engine].library.runs_on == "CPU":
        return tuple(batch for batch in batches if batch <= max(CPU_BATCHES))
    return batches


def _installed(package: str) -> bool:
    if package in _MODULES:
        return find_spec(_MODULES[package]) is not None
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True
