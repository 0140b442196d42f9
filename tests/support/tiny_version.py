"""A tiny Swin-UNet, labelled cases for it, and graphs of it that are wrong in known ways."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from labelled_folders import make_cases, write_plain
from onnx import TensorProto, helper, numpy_helper
from small_model import SMALL_SPEC

from swinunet.imaging import SPEC_KEY, ModelSpec
from swinunet.training.network.checkpoint import save_checkpoint
from swinunet.training.network.recipes import recipe
from swinunet.training.network.swin_unet import SwinUNet

SPEC = dataclasses.replace(SMALL_SPEC, context_slices=3)
Sabotage = Callable[[onnx.ModelProto], None]


def tiny_network() -> SwinUNet:
    """A network with weights large enough for logits that matter."""
    torch.manual_seed(0)
    made = SwinUNet(recipe("tiny").build(SPEC.context_slices, SPEC.num_classes)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(4 if parameter.ndim > 1 else 1)
    return made


def tiny_checkpoint(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(folder / "checkpoint.safetensors", tiny_network(), SPEC)
    return folder / "checkpoint.safetensors"


def tiny_cases(folder: Path, count: int = 2) -> Path:
    return write_plain(folder, make_cases(count))


def rewrite(path: Path, sabotage: Sabotage, spec: ModelSpec | None = None) -> None:
    """Change a graph on the disk; spec: what its metadata say from then on."""
    model = onnx.load(str(path))
    sabotage(model)
    if spec is not None:
        helper.set_model_props(model, {SPEC_KEY: spec.to_json()})
    onnx.save(model, str(path))


def as_it_is(model: onnx.ModelProto) -> None:
    pass


def a_weight_off_by_five_percent(model: onnx.ModelProto) -> None:
    scale(deep_weight(model), 1.05)


def deep_weight(model: onnx.ModelProto) -> onnx.TensorProto:
    """The first matrix of the MLP in the middle of the network (not one before a LayerNorm, which undoes scaling)."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer if len(tensor.dims) == 2}
    products = [node.input[1] for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in constants]
    widening = [name for name in products if constants[name].dims[1] == 4 * constants[name].dims[0]]
    return constants[widening[len(widening) // 2]]


def scale(tensor: onnx.TensorProto, factor: float) -> None:
    change(tensor, lambda values: values * np.float32(factor))


def change(tensor: onnx.TensorProto, to: Callable[[np.ndarray], np.ndarray]) -> None:
    tensor.CopyFrom(numpy_helper.from_array(to(numpy_helper.to_array(tensor).copy()), tensor.name))


def no_shift_mask(model: onnx.ModelProto) -> None:
    """Windows that look across the border of the shifted image."""
    for tensor in masks(model):
        change(tensor, lambda values: np.where(values < -50, np.float32(0), values))


def masks(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    floats = [tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT]
    found = [tensor for tensor in floats if (numpy_helper.to_array(tensor) < -50).any()]
    assert found
    return found


def a_swapped_class(model: onnx.ModelProto) -> None:
    behind_logits(model, helper.make_node("Gather", ["true_logits", "order"], ["logits"], axis=1))
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, 2, 1]), "order"))


def nothing_but_nan(model: onnx.ModelProto) -> None:
    change(deep_weight(model), lambda values: np.full_like(values, np.nan))


def weights_kept_in_float16(model: onnx.ModelProto) -> None:
    """A graph of another precision than it says."""
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            change(tensor, lambda values: values.astype(np.float16).astype(np.float32))


def right_at_batch_two_only(model: onnx.ModelProto) -> None:
    """Logits to which (batch - 2) * 0.05 * class is added: right where the graph was exported, and nowhere else."""
    behind_logits(
        model,
        helper.make_node("Shape", ["image"], ["batch_1"], start=0, end=1),
        helper.make_node("Cast", ["batch_1"], ["batch_f"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["batch_f", "two"], ["off"]),
        helper.make_node("Mul", ["off", "by_class"], ["added"]),
        helper.make_node("Add", ["true_logits", "added"], ["logits"]),
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array([2], np.float32), "two"))
    by_class = np.array([0, 0.05, 0.1], np.float32).reshape(1, 3, 1, 1)
    model.graph.initializer.append(numpy_helper.from_array(by_class, "by_class"))


def a_fixed_batch(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 2


def of_another_shape(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 5


def behind_logits(model: onnx.ModelProto, *nodes: onnx.NodeProto) -> None:
    """Insert nodes that make `logits` of `true_logits`, which is what was `logits`."""
    at = next(index for index, node in enumerate(model.graph.node) if "logits" in node.output)
    node = model.graph.node[at]
    node.output[list(node.output).index("logits")] = "true_logits"
    for offset, new in enumerate(nodes, start=1):
        model.graph.node.insert(at + offset, new)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, and what is in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
