"""Graphs made by hand that meet the wire contract but for one thing: each is refused by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_model import SMALL_SPEC

from swinunet.export.gate.wire_contract import require_wire_contract
from swinunet.foundation.errors import ParityError
from swinunet.imaging import SPEC_KEY, ModelSpec
from swinunet.imaging.spec import Provenance

SPEC = dataclasses.replace(
    SMALL_SPEC, input_size=(32, 48), context_slices=3, provenance=Provenance(checkpoint_sha256="5e" * 32)
)
Constants = dict[str, np.ndarray]
WEIGHTS: Constants = {"weight": np.zeros((2, 3, 2), np.float32), "steps": np.zeros(50, np.int64)}


def graph(
    constants: Constants = WEIGHTS, batch: object = "batch", spec: ModelSpec | str | None = None
) -> onnx.ModelProto:
    """Inputs and outputs as SPEC wants them; nothing computes them, for nobody runs it."""
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT16, [batch, 3, 32, 48])]
    outputs = [
        helper.make_tensor_value_info("labels", TensorProto.UINT8, [batch, 32, 48]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT16, [batch, 3, 32, 48]),
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    model = helper.make_model(helper.make_graph([], "made", inputs, outputs, tensors))
    if spec is not None:
        helper.set_model_props(model, {SPEC_KEY: spec if isinstance(spec, str) else spec.to_json()})
    return model


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("batch", ["batch", "N", None], ids=["batch", "N", "unnamed"])
@pytest.mark.parametrize("spec", [None, SPEC], ids=["without a spec", "with its own"])
def test_a_graph_that_meets_the_contract_passes_whatever_its_batch_is_called(
    tmp_path: Path, batch: object, spec: ModelSpec | None
) -> None:
    path = saved(graph(batch=batch, spec=spec), tmp_path)
    require_wire_contract(path, SPEC, "FLOAT")
    require_wire_contract(path, SPEC, "")


def remove_labels(model: onnx.ModelProto) -> None:
    del model.graph.output[0]


def resize(name: str, axis: int, size: int | str | None) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        (value,) = [each for each in (*model.graph.input, *model.graph.output) if each.name == name]
        dimension = value.type.tensor_type.shape.dim[axis]
        dimension.Clear()
        if isinstance(size, int):
            dimension.dim_value = size
        elif size is not None:
            dimension.dim_param = size

    return change


def retype(name: str, kind: int) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        (value,) = [each for each in (*model.graph.input, *model.graph.output) if each.name == name]
        value.type.tensor_type.elem_type = kind

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (remove_labels, "labels nowhere, its model's spec wants UINT8 [batch, 32, 48]"),
        (resize("image", 0, 2), "image FLOAT16 [2, 3, 32, 48], its model's spec wants FLOAT16 [batch, 3, 32, 48]"),
        (resize("image", 1, 5), "image FLOAT16 [batch, 5, 32, 48], its model's spec wants FLOAT16 [batch, 3, 32, 48]"),
        (resize("image", 2, 48), "image FLOAT16 [batch, 3, 48, 48], its model's spec wants FLOAT16 [batch, 3, 32, 48]"),
        (resize("image", 3, "width"), "image FLOAT16 [batch, 3, 32, width], its model's spec wants FLOAT16 [batch, 3,"),
        (resize("image", 3, None), "image FLOAT16 [batch, 3, 32, ?], its model's spec wants FLOAT16 [batch, 3, 32,"),
        (resize("labels", 1, 31), "labels UINT8 [batch, 31, 48], its model's spec wants UINT8 [batch, 32, 48]"),
        (resize("labels", 2, 47), "labels UINT8 [batch, 32, 47], its model's spec wants UINT8 [batch, 32, 48]"),
        (resize("probabilities", 1, 2), "probabilities FLOAT16 [batch, 2, 32, 48], its model's spec wants FLOAT16 [ba"),
        (
            retype("image", TensorProto.FLOAT),
            "image FLOAT [batch, 3, 32, 48], its model's spec wants FLOAT16 [batch, 3",
        ),
        (retype("labels", TensorProto.INT64), "labels INT64 [batch, 32, 48], its model's spec wants UINT8 [batch, 32,"),
        (
            retype("probabilities", TensorProto.FLOAT),
            "probabilities FLOAT [batch, 3, 32, 48], its model's spec wants F",
        ),
    ],
)
def test_one_input_or_output_of_another_kind_is_named(
    tmp_path: Path, change: Callable[[onnx.ModelProto], None], says: str
) -> None:
    model = graph()
    change(model)
    with pytest.raises(ParityError) as caught:
        require_wire_contract(saved(model, tmp_path), SPEC, "FLOAT")
    assert str(caught.value).startswith(f"model.onnx has {says}")


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(SPEC, name="other"),
        dataclasses.replace(SPEC, version=2),
        dataclasses.replace(SPEC, provenance=Provenance(checkpoint_sha256="6f" * 32)),
    ],
    ids=["name", "version", "checkpoint"],
)
def test_a_graph_of_another_model_version_or_checkpoint_is_refused(tmp_path: Path, other: ModelSpec) -> None:
    with pytest.raises(ParityError, match=r"model\.onnx was exported from another checkpoint or as another version"):
        require_wire_contract(saved(graph(spec=other), tmp_path), SPEC, "FLOAT")


def test_a_spec_that_differs_in_what_it_says_of_the_data_is_the_same_model(tmp_path: Path) -> None:
    """Only name, version and checkpoint identify a model: a corrected text is no other one."""
    require_wire_contract(saved(graph(spec=dataclasses.replace(SPEC, body_part="HEAD")), tmp_path), SPEC, "FLOAT")


def test_what_cannot_be_read_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(ParityError, match=r"^model\.onnx is not a readable ONNX file \(\w+\)$") as caught:
        require_wire_contract(path, SPEC, "FLOAT")
    assert caught.value.__suppress_context__
    with pytest.raises(ParityError, match=r"model\.onnx"):
        require_wire_contract(saved(graph(spec="{}"), tmp_path), SPEC, "FLOAT")


HALF, WHOLE = np.float16, np.float32


@pytest.mark.parametrize(
    ("constants", "found"),
    [
        ({"a": np.zeros((2, 3, 2), WHOLE), "b": np.zeros(11, HALF)}, "FLOAT"),
        ({"a": np.zeros((2, 3, 2), WHOLE), "b": np.zeros(13, HALF)}, "FLOAT16"),
        ({"a": np.zeros((2, 3, 2), WHOLE), "b": np.zeros(7, HALF), "c": np.zeros((7, 1), HALF)}, "FLOAT16"),
        ({"a": np.zeros((), WHOLE), "b": np.zeros(2, HALF)}, "FLOAT16"),
        ({"a": np.zeros(3, np.float64), "b": np.zeros(2, HALF)}, "DOUBLE"),
        ({"a": np.zeros(3, WHOLE), "b": np.zeros(99, np.int64), "c": np.zeros(99, np.int8)}, "FLOAT"),
        ({"b": np.zeros(99, np.int64)}, "nothing"),
    ],
)
def test_weights_are_of_the_type_that_most_elements_have(tmp_path: Path, constants: Constants, found: str) -> None:
    path = saved(graph(constants), tmp_path)
    require_wire_contract(path, SPEC, found)
    require_wire_contract(path, SPEC, "")
    with pytest.raises(ParityError, match=rf"^the weights of model\.onnx are {found}, expected BFLOAT16$"):
        require_wire_contract(path, SPEC, "BFLOAT16")
