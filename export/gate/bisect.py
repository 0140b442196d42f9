"""Which layer drifts first: every tensor of a graph, compared with the float32 graph of its checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from polygraphy import constants
from polygraphy.backend.onnx import ModifyOutputs, OnnxFromPath
from polygraphy.logger import G_LOGGER

from swinunet.export.engines.registry import Engine
from swinunet.export.tolerances import MAX_LAYER_DRIFT

Tensors = dict[str, np.ndarray]


@dataclass(frozen=True)
class Drift:
    """The first layer that drifts. node: its name and operation; weights: its constants that differ from the reference.

    found, allowed: change as a share of the layer's largest value. at: its place among the `compared` layers.
    """

    node: str
    operation: str
    tensor: str
    weights: tuple[str, ...]
    found: float
    allowed: float
    at: int
    compared: int

    def __str__(self) -> str:
        wrong = f"; its {' and '.join(self.weights)} differ from the checkpoint's" if self.weights else ""
        return (
            f"first drift in {self.node} ({self.operation}, layer {self.at} of {self.compared} compared): its output "
            f"{self.tensor} is off by {self.found:.2g} of its largest value (allowed {self.allowed:g}){wrong}"
        )


def first_drift(reference: Path, suspect: Path, engine: Engine, image: np.ndarray) -> Drift | None:
    """The first layer of `suspect` (ONNX) further than MAX_LAYER_DRIFT from `reference`, the checkpoint's graph.

    None if there is none. engine: what runs `suspect`; the reference, in float32, runs on ONNX Runtime.
    image: float16 [B, C, H, W].
    Layers are compared by the names of their tensors, so a graph made by another exporter has fewer to compare.
    """
    with G_LOGGER.verbosity(G_LOGGER.CRITICAL):
        theirs, ours = (ModifyOutputs(OnnxFromPath(str(path)), constants.MARK_ALL)() for path in (reference, suspect))
    expected = _onnxruntime(theirs, engine.precision)(image)
    found = _RUN.get(engine.library.name, _onnxruntime)(ours, engine.precision)(image)
    shared = [node for node in ours.graph.node if _comparable(node.output[0], found, expected)]
    allowed = MAX_LAYER_DRIFT[engine.arithmetic]
    for at, node in enumerate(shared, start=1):
        name = node.output[0]
        drift = _drift(found[name], expected[name])
        if not drift <= allowed:  # so that NaN is found
            weights = _differing(node, ours, theirs)
            return Drift(node.name, node.op_type, name, weights, drift, allowed, at, len(shared))
    return None


def _comparable(name: str, found: Tensors, expected: Tensors) -> bool:
    """Whether both have this tensor, in one shape, with values that change by degrees."""
    both = name in found and name in expected and found[name].shape == expected[name].shape
    return both and np.issubdtype(expected[name].dtype, np.floating)


def _drift(found: np.ndarray, expected: np.ndarray) -> float:
    ours, theirs = found.astype(np.float64), expected.astype(np.float64)
    return float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-12))


def _differing(node: onnx.NodeProto, ours: onnx.ModelProto, theirs: onnx.ModelProto) -> tuple[str, ...]:
    """The node's constants that are not those of the reference graph."""
    mine, original = _constants(ours), _constants(theirs)
    both = [name for name in node.input if name in mine and name in original]
    return tuple(
        name
        for name in both
        if not np.array_equal(numpy_helper.to_array(mine[name]), numpy_helper.to_array(original[name]))
    )


def _constants(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in model.graph.initializer}


def _onnxruntime(model: onnx.ModelProto, precision: str) -> Callable[[np.ndarray], Tensors]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Fused layers would have no outputs of their own to compare.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda image: dict(zip(names, session.run(names, {"image": image}), strict=True))


def _openvino(model: onnx.ModelProto, precision: str) -> Callable[[np.ndarray], Tensors]:
    import openvino

    core = openvino.Core()
    compiled: Any = core.compile_model(
        core.read_model(model.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": precision}
    )

    def run(image: np.ndarray) -> Tensors:
        found = compiled({"image": image})
        return {name: found[port] for port in compiled.outputs for name in port.get_names()}

    return run


_RUN = {"onnxruntime": _onnxruntime, "openvino": _openvino}
