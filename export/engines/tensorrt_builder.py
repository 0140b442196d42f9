"""A strongly typed TensorRT engine from an ONNX graph: the precision is the graph's own, as TensorRT 11 wants it.

`build_engine` takes the module that it works with, `tensorrt` or `tensorrt_rtx`, which have one interface.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swinunet.export.engines.loaded_engine import MAX_BATCH_SIZE
from swinunet.export.engines.tensorrt_profile import profile_batches
from swinunet.foundation.errors import EngineError


@dataclass(frozen=True)
class BuiltEngine:
    """plan: the serialised engine. profile: [C, H, W] with each of the batches min, opt and max in front.

    tensors: type and shape of each input and output by name, -1 being the batch. layers: of the parsed network.
    """

    plan: bytes
    profile: dict[str, list[int]]
    tensors: dict[str, tuple[str, tuple[int, ...]]]
    layers: int


def build_engine(
    trt: Any,
    graph: Path,
    max_batch_size: int = MAX_BATCH_SIZE,
    configure: Callable[[Any], None] = lambda config: None,
    built: Callable[[Any], None] = lambda config: None,
) -> BuiltEngine:
    """Build the ONNX file at `graph` for batches 1 to `max_batch_size`.

    configure, built: are given the builder's config before the engine is built, and after.
    Raises EngineError with the first node that the parser refuses, or what the builder says.
    """
    logger = _first_error_logger(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(graph)):
        raise EngineError(f"{graph.name}: TensorRT's parser refuses {_refused(parser)}; export the graph without it")
    image = network.get_input(0)
    batches = profile_batches(max_batch_size)
    profile = {name: [batch, *(int(size) for size in list(image.shape)[1:])] for name, batch in batches.items()}
    shapes = builder.create_optimization_profile()
    shapes.set_shape(image.name, *profile.values())
    config = builder.create_builder_config()
    config.add_optimization_profile(shapes)
    configure(config)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(f"{graph.name}: TensorRT cannot build it: {logger.first or 'no reason given'}")
    built(config)
    return BuiltEngine(bytes(plan), profile, _tensors(network), network.num_layers)


def _first_error_logger(trt: Any) -> Any:
    """A TensorRT logger that prints nothing and keeps the first error."""

    class FirstError(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.first = ""

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.first = self.first or " ".join(message.split())

    return FirstError()


def _refused(parser: Any) -> str:
    """The first node that the parser refused, or what it says where no node is to blame."""
    error = parser.get_error(0)
    if not error.node_operator():
        return "the file: " + " ".join(error.desc().split())
    return f"node {error.node_name()!r}, a {error.node_operator()}"


def _tensors(network: Any) -> dict[str, tuple[str, tuple[int, ...]]]:
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    return {each.name: (each.dtype.name, tuple(each.shape)) for each in inputs + outputs}
