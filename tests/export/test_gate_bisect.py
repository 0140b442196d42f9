"""The first layer that drifts, in graphs of a few layers whose every tensor is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from swinunet.export.engines.registry import engine_named
from swinunet.export.gate.bisect import Drift, first_drift

FP32, INT8, OPENVINO = (engine_named(name) for name in ("onnxruntime-fp32", "onnxruntime-int8", "openvino-f32"))
IMAGE = np.array([[[[-4, 2], [1, 0]]]], np.float16)  # [B, C, H, W]; the largest value is 4 in size
SCALE, SHIFT, ORDER = np.float32([2]), np.float32([0]), np.array([1, 0])


def graph(
    folder: Path,
    name: str,
    scale: np.ndarray = SCALE,
    shift: np.ndarray = SHIFT,
    order: np.ndarray = ORDER,
    last: str = "result",
) -> Path:
    """x is the image in float32; scaled = 2 x; turned = its columns in another order; result = turned - shift."""
    nodes = [
        helper.make_node("Cast", ["image"], ["x"], "node_cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "scale"], ["scaled"], "node_scale"),
        helper.make_node("ArgMax", ["scaled"], ["index"], "node_argmax", axis=3),
        helper.make_node("Gather", ["scaled", "order"], ["turned"], "node_turn", axis=3),
        helper.make_node("Sub", ["turned", "shift"], [last], "node_shift"),
    ]
    outputs = [
        helper.make_tensor_value_info(last, TensorProto.FLOAT, None),
        helper.make_tensor_value_info("index", TensorProto.INT64, None),
    ]
    constants = {"scale": scale, "shift": shift, "order": order}
    made = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT16, ["batch", 1, 2, 2])],
        outputs,
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    path = folder / f"{name}.onnx"
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    return graph(tmp_path, "reference")


def test_the_same_graph_does_not_drift(reference: Path, tmp_path: Path) -> None:
    assert first_drift(reference, reference, FP32, IMAGE) is None
    assert first_drift(reference, graph(tmp_path, "same"), OPENVINO, IMAGE) is None


def test_the_first_of_two_layers_that_drift_is_named_with_its_constants(reference: Path, tmp_path: Path) -> None:
    """scaled is up to 8 in size; with a scale of 2.1 it is off by 0.4, which is 5 %."""
    suspect = graph(tmp_path, "suspect", np.float32([2.1]), np.float32([7]))
    found = first_drift(reference, suspect, FP32, IMAGE)
    assert found is not None
    assert (found.node, found.operation, found.tensor) == ("node_scale", "Mul", "scaled")
    assert found.weights == ("scale",)
    assert found.found == pytest.approx(0.05, rel=1e-5)
    assert found.allowed == 1e-3
    assert (found.at, found.compared) == (2, 4)  # labels are no layer that changes by degrees
    assert str(found) == (
        "first drift in node_scale (Mul, layer 2 of 4 compared): its output scaled is off by 0.05 of its largest value "
        "(allowed 0.001); its scale differ from the checkpoint's"
    )


def test_a_layer_is_judged_by_the_largest_change_whatever_its_sign(reference: Path, tmp_path: Path) -> None:
    found = first_drift(reference, graph(tmp_path, "suspect", shift=np.float32([0.8])), FP32, IMAGE)
    assert found is not None
    assert (found.node, found.at, found.weights) == ("node_shift", 4, ("shift",))
    assert found.found == pytest.approx(0.1, rel=1e-5)


@pytest.mark.parametrize(("share", "drifts"), [(0.0009, False), (0.0011, True)])
def test_the_bound_of_float32_is_a_thousandth(reference: Path, tmp_path: Path, share: float, drifts: bool) -> None:
    suspect = graph(tmp_path, "suspect", np.float32([2 * (1 + share)]))
    assert (first_drift(reference, suspect, FP32, IMAGE) is not None) is drifts


@pytest.mark.parametrize(("share", "drifts"), [(0.24, False), (0.25, False), (0.26, True)])
def test_the_bound_of_int8_is_a_quarter(reference: Path, tmp_path: Path, share: float, drifts: bool) -> None:
    suspect = graph(tmp_path, "suspect", np.float32([2 * (1 + share)]))
    assert (first_drift(reference, suspect, INT8, IMAGE) is not None) is drifts


def test_a_layer_that_is_no_number_drifts(reference: Path, tmp_path: Path) -> None:
    found = first_drift(reference, graph(tmp_path, "suspect", np.float32([np.nan])), FP32, IMAGE)
    assert found is not None
    assert found.tensor == "scaled"
    assert np.isnan(found.found)


def test_layers_of_zeros_are_the_same_and_small_ones_are_compared_by_their_own_size(tmp_path: Path) -> None:
    nothing, small, off = (np.float32([value]) for value in (0, 1e-6, 1.05e-6))
    zeros = graph(tmp_path, "zeros", nothing)
    assert first_drift(zeros, zeros, FP32, IMAGE) is None
    found = first_drift(graph(tmp_path, "small", small), graph(tmp_path, "off", off), FP32, IMAGE)
    assert found is not None
    assert found.found == pytest.approx(0.05, rel=1e-3)


def test_a_layer_that_drifts_by_its_operation_has_no_constant_to_blame(reference: Path, tmp_path: Path) -> None:
    suspect = graph(tmp_path, "suspect")
    model = onnx.load(str(suspect))
    model.graph.node[1].op_type = "Add"
    onnx.save(model, str(suspect))
    found = first_drift(reference, suspect, FP32, IMAGE)
    assert found is not None
    assert (found.operation, found.weights) == ("Add", ())
    assert str(found).endswith("(allowed 0.001)")


def test_a_constant_that_only_one_graph_has_is_not_blamed(reference: Path, tmp_path: Path) -> None:
    suspect = graph(tmp_path, "suspect", np.float32([2.1]))
    model = onnx.load(str(suspect))
    model.graph.initializer[0].name = model.graph.node[1].input[1] = "renamed"
    onnx.save(model, str(suspect))
    found = first_drift(reference, suspect, FP32, IMAGE)
    assert found is not None
    assert (found.node, found.weights) == ("node_scale", ())


def test_layers_that_only_one_graph_has_or_of_another_shape_are_not_compared(reference: Path, tmp_path: Path) -> None:
    renamed = graph(tmp_path, "renamed", shift=np.float32([9]), last="other")
    assert first_drift(reference, renamed, FP32, IMAGE) is None
    narrow = graph(tmp_path, "narrow", order=np.array([1]), shift=np.float32([9]))
    assert first_drift(reference, narrow, FP32, IMAGE) is None


def test_a_graph_for_openvino_is_run_there(reference: Path, tmp_path: Path) -> None:
    found = first_drift(reference, graph(tmp_path, "suspect", np.float32([2.1])), OPENVINO, IMAGE)
    assert found is not None
    assert (found.node, found.tensor, found.weights) == ("node_scale", "scaled", ("scale",))
    assert found.found == pytest.approx(0.05, rel=1e-5)


def test_a_layer_of_several_outputs_is_compared_by_the_first(tmp_path: Path) -> None:
    """A layer normalisation also gives mean and deviation, which its scale does not change."""

    def normalised(name: str, scale: float) -> Path:
        nodes = [
            helper.make_node("Cast", ["image"], ["x"], to=TensorProto.FLOAT),
            helper.make_node("LayerNormalization", ["x", "scale"], ["y", "mean", "deviation"], "node_norm", axis=-1),
        ]
        outputs = [helper.make_tensor_value_info(each, TensorProto.FLOAT, None) for each in ("y", "mean", "deviation")]
        inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT16, ["batch", 1, 2, 2])]
        constants = [numpy_helper.from_array(np.full(2, scale, np.float32), "scale")]
        made = helper.make_graph(nodes, "made", inputs, outputs, constants)
        path = tmp_path / f"{name}.onnx"
        onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
        return path

    found = first_drift(normalised("reference", 1.0), normalised("suspect", 1.05), FP32, IMAGE)
    assert found is not None
    assert (found.node, found.tensor, found.weights) == ("node_norm", "y", ("scale",))
    assert found.found == pytest.approx(0.05, rel=1e-4)


def test_several_constants_are_named_together() -> None:
    drift = Drift("node", "Conv", "out", ("weight", "bias"), 0.5, 0.25, 1, 9)
    assert str(drift) == (
        "first drift in node (Conv, layer 1 of 9 compared): its output out is off by 0.5 of its largest value "
        "(allowed 0.25); its weight and bias differ from the checkpoint's"
    )
