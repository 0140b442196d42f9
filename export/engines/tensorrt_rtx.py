"""TensorRT for RTX parses a graph and builds it ahead of time, on a machine without a GPU.

It shares parser and builder with TensorRT, whose libraries are not on PyPI: what it takes is legal for TensorRT too.
It knows no server GPU (compute capabilities 7.5 to 8.9 and 12.x), so what it builds is proof, not what Triton serves.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swinunet.foundation.errors import EngineError, InputError, MissingExtraError


@dataclass(frozen=True)
class BuiltAhead:
    """plan: the serialised engine. tensors: type and shape of each input and output by name, -1 being the batch.

    layers: of the parsed network. seconds: parsing and building.
    """

    plan: bytes
    tensors: dict[str, tuple[str, tuple[int, ...]]]
    layers: int
    seconds: float


def build_ahead(graph: Path, max_batch: int = 16, compute_capability: str = "8.9") -> BuiltAhead:
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
    began = time.perf_counter()
    logger = _first_error_logger(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(graph)):
        raise EngineError(f"{graph.name}: TensorRT's parser refuses {_refused(parser)}; export the graph without it")
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(_capability(trt, compute_capability), 0)
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        image = network.get_input(index)
        shapes = [(batch, *image.shape[1:]) for batch in (1, max(1, max_batch // 2), max_batch)]
        profile.set_shape(image.name, *shapes)
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(f"{graph.name}: TensorRT cannot build it: {logger.first or 'no reason given'}")
    return BuiltAhead(bytes(plan), _tensors(network), network.num_layers, time.perf_counter() - began)


def _first_error_logger(trt: Any) -> Any:
    """A TensorRT logger that prints nothing and keeps the first error."""

    class FirstError(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.first = ""

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.first = self.first or " ".join(message.split())

    return FirstError()


def _refused(parser: Any) -> str:
    """The first node that the parser refused, or what it says where no node is to blame."""
    error = parser.get_error(0)
    if not error.node_operator():
        return "the file: " + " ".join(error.desc().split())
    return f"node {error.node_name()!r}, a {error.node_operator()}"


def _capability(trt: Any, wanted: str) -> Any:
    known = {name[2:]: value for name, value in trt.ComputeCapability.__members__.items() if name.startswith("SM")}
    if wanted.replace(".", "") not in known:
        listed = ", ".join(f"{name[:-1]}.{name[-1]}" for name in sorted(known, key=int))
        raise InputError(f"TensorRT for RTX knows no compute capability {wanted!r}; choose one of {listed}")
    return known[wanted.replace(".", "")]


def _tensors(network: Any) -> dict[str, tuple[str, tuple[int, ...]]]:
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    return {each.name: (each.dtype.name, tuple(each.shape)) for each in inputs + outputs}
