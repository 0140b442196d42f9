"""Attention biases as few numbers in the file: engines compute them once, when they load it.

What `FoldedAttention` adds to the logits is a constant of [windows * heads, N, N] numbers, made of a table of
(2 * window_size - 1) ** 2 for each head and of one mask for all heads and all blocks of a resolution. The file holds
these, and every engine folds the three nodes behind them as it loads it: nothing is left at run time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from swinunet.export.graph.folding import FoldedAttention
from swinunet.training.network.swin_blocks import MASKED

MASKED_CONSTANT = "masked_logit"


@dataclass(frozen=True)
class Tables:
    """What of a graph depends on its constants alone: nodes in the order of their computation, the tensors that they
    read, and the names of what comes out."""

    nodes: tuple[onnx.NodeProto, ...]
    tensors: tuple[onnx.TensorProto, ...]
    biases: tuple[str, ...]


def store_as_tables(model: onnx.ModelProto, folded: nn.Module) -> None:
    """Replace the attention biases of `model`, exported from `folded`, by tables, their index and masks, in place.

    Tensors keep their names. Between regions of a shifted map the logit becomes -100 itself, not -100 and the bias:
    softmax makes 0 of either.
    """
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, np.ndarray] = {}
    for module_name, module in folded.named_modules():
        name = f"{module_name}.bias"
        if isinstance(module, FoldedAttention) and name in stored:
            graph.initializer.remove(stored[name])
            nodes += _bias_nodes(name, module, constants)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    _put_first(graph, nodes)


def _bias_nodes(name: str, module: FoldedAttention, constants: dict[str, np.ndarray]) -> list[onnx.NodeProto]:
    """What makes the bias `name` of the tensors that are put into `constants`."""
    table, index = f"{name}_table", f"relative_position_index_{module.area}"
    constants[table] = module.table.detach().numpy()
    constants[index] = module.index.numpy().astype(np.int32)
    if module.mask is None:
        return [helper.make_node("Gather", [table, index], [name], f"{name}/Gather", axis=1)]
    mask, shape = f"shift_mask_{len(module.mask)}_{module.area}", f"{name}_shape"
    constants[mask] = module.mask.numpy()[:, None] < 0  # windows, 1, N, N
    constants[MASKED_CONSTANT] = np.array(MASKED, np.float32)
    constants[shape] = np.array(module.bias.shape, np.int64)
    of_head, of_window = f"{name}_of_head", f"{name}_of_window"
    return [
        helper.make_node("Gather", [table, index], [of_head], f"{name}/Gather", axis=1),
        helper.make_node("Where", [mask, MASKED_CONSTANT, of_head], [of_window], f"{name}/Where"),
        helper.make_node("Reshape", [of_window, shape], [name], f"{name}/Reshape"),
    ]


def constant_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes that depend on constants alone, each after those it depends on."""
    known, nodes = {tensor.name for tensor in graph.initializer}, []
    for node in graph.node:
        if node.input and known.issuperset(node.input):
            known.update(node.output)
            nodes.append(node)
    return nodes


def take_tables_out(model: onnx.ModelProto) -> Tables:
    """Take the tables and the nodes behind them out of `model`, in place: biases become inputs of it, in float32."""
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    nodes = constant_nodes(graph)
    inner = {name for node in nodes for name in node.input}
    biases = [name for node in nodes for name in node.output if name not in inner]
    tensors = [stored[name] for name in sorted(inner & set(stored))]
    for node in nodes:
        graph.node.remove(node)
    for tensor in tensors:
        graph.initializer.remove(tensor)
    graph.input.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in biases)
    return Tables(tuple(nodes), tuple(tensors), tuple(biases))


def put_tables_in_half(model: onnx.ModelProto, tables: Tables) -> None:
    """Put `tables` back into a model that has become FP16, in place: biases are computed in float32 and cast once."""
    graph = model.graph
    for value in [value for value in graph.input if value.name in tables.biases]:
        graph.input.remove(value)
    graph.initializer.extend(tables.tensors)
    nodes = list(tables.nodes)
    for node in tables.nodes:
        for at, name in enumerate(node.output):
            if name in tables.biases:
                node.output[at] = f"{name}_float32"
                cast = helper.make_node("Cast", [node.output[at]], [name], f"{name}/Cast", to=TensorProto.FLOAT16)
                nodes.append(cast)
    _put_first(graph, nodes)


def _put_first(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> None:
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
