"""TensorRT for RTX parses a graph and builds it ahead of time, on a machine without a GPU.

It shares parser and builder with TensorRT, whose libraries are not on PyPI: what it takes is legal for TensorRT too.
It knows no server GPU (compute capabilities 7.5 to 8.9 and 12.x), so what it builds is proof, not what Triton serves.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from swinunet.export.engines.loaded_engine import MAX_BATCH_SIZE
from swinunet.export.engines.tensorrt_builder import BuiltEngine, build_engine
from swinunet.foundation.errors import InputError, MissingExtraError


def build_ahead(graph: Path, max_batch: int = MAX_BATCH_SIZE, compute_capability: str = "8.9") -> BuiltEngine:
    """Build the ONNX file at `graph`, strongly typed, for batches 1 to `max_batch` and one kind of GPU.

    Raises EngineError with the first node that the parser refuses, or what the builder says; InputError for a compute
    capability that TensorRT for RTX does not know, or a batch below 1; MissingExtraError if it is not installed.
    """
    if max_batch < 1:
        raise InputError(f"the largest batch must be at least 1, found {max_batch}")
    try:
        import tensorrt_rtx as trt
    except ModuleNotFoundError:
        raise MissingExtraError("tensorrt_rtx is not installed; pip install 'swinunet[dev]'") from None
    return build_engine(trt, graph, max_batch, lambda config: _target(trt, config, compute_capability))


def _target(trt: Any, config: Any, compute_capability: str) -> None:
    known = {name[2:]: value for name, value in trt.ComputeCapability.__members__.items() if name.startswith("SM")}
    wanted = compute_capability.replace(".", "")
    if wanted not in known:
        listed = ", ".join(f"{name[:-1]}.{name[-1]}" for name in sorted(known, key=int))
        raise InputError(f"TensorRT for RTX knows no compute capability {compute_capability!r}; choose one of {listed}")
    config.num_compute_capabilities = 1
    config.set_compute_capability(known[wanted], 0)
