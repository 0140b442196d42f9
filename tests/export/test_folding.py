"""export/graph/folding.py: the fewest operations, the same numbers."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from small_model import SMALL_SPEC

from swinunet.export.graph.folding import FoldedAttention, fold
from swinunet.export.graph.onnx_graph import LOGITS, export_onnx, with_logits
from swinunet.export.graph.operator_counts import SHAPE_ARITHMETIC, count_operators
from swinunet.training.network.recipes import recipe
from swinunet.training.network.swin_blocks import MASKED, SwinBlock, WindowAttention
from swinunet.training.network.swin_unet import SwinUNet, SwinUNetConfig

TINY = recipe("tiny").build(1, 3)


def lively(config: SwinUNetConfig) -> SwinUNet:
    """A network whose every parameter matters: no bias is 0, no scale is 1."""
    torch.manual_seed(0)
    network = SwinUNet(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(4).add_(0 if parameter.ndim > 1 else 0.3 * torch.randn_like(parameter))
    return network


@pytest.fixture(scope="module")
def network() -> SwinUNet:
    return lively(TINY)


@pytest.fixture(scope="module")
def graph(network: SwinUNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("folded") / "model.onnx"
    export_onnx(network, SMALL_SPEC, path)
    return path


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"qkv_bias": False},
        {"input_size": (32, 64)},
        {"depths": (2,), "num_heads": (3,)},
        {"depths": (3, 2, 2), "num_heads": (1, 2, 4)},
        {"window_size": 16},
        {"in_channels": 3, "num_classes": 9, "patch_size": 4},
        {"detail_dim": 4},
    ],
    ids=str,
)
def test_a_folded_network_computes_the_same(change: dict[str, object]) -> None:
    network = lively(dataclasses.replace(TINY, **change))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    image = torch.randn(3, network.config.in_channels, *network.config.input_size)
    with torch.no_grad():
        expected, found = network(image), fold(network)(image)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)
    assert expected.abs().max() > 0.5
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_bias_and_mask_are_one_constant(network: SwinUNet) -> None:
    plain = [module.attn for module in network.modules() if isinstance(module, SwinBlock)]
    folded = [module for module in fold(network).modules() if isinstance(module, FoldedAttention)]
    assert len(folded) == len(plain) == 6
    for before, after in zip(plain, folded, strict=True):
        torch.testing.assert_close(after.bias, before.bias().detach())
    assert {tuple(attention.bias.shape) for attention in folded} == {
        (2, 16, 16),
        (32, 16, 16),
        (4, 16, 16),
        (16, 16, 16),
    }


def test_parity_at_every_batch(network: SwinUNet, graph: Path) -> None:
    served = with_logits(graph, TINY.num_classes, TINY.input_size)
    session = onnxruntime.InferenceSession(served, providers=["CPUExecutionProvider"])
    for batch in (1, 3, 8, 16):
        image = np.random.default_rng(batch).normal(size=(batch, 1, *TINY.input_size)).astype(np.float16)
        with torch.inference_mode():
            expected = network(torch.from_numpy(image).float()).numpy()
        np.testing.assert_allclose(session.run([LOGITS], {"image": image})[0], expected, atol=1e-4, rtol=0)


def test_every_node_has_its_reason(graph: Path, network: SwinUNet) -> None:
    """Each block: four matrix products for its projections, two in attention, two in its MLP; one gather each way."""
    blocks = sum(isinstance(module, SwinBlock) for module in network.modules())
    norms = sum(isinstance(module, torch.nn.LayerNorm) for module in network.modules())
    counted = count_operators(graph).nodes
    joins = len(network.decoder)
    assert counted.pop("Reshape") + counted.pop("Transpose") + counted.pop("Add") < 20 * blocks
    assert counted == {
        "MatMul": 8 * blocks
        + 3 * joins
        + 2,  # merging, expanding and fusing at each join; the last expanding, the head
        "Gather": 2 * blocks,
        "Softmax": blocks + 1,
        "Gelu": blocks,
        "LayerNormalization": norms,
        "Concat": joins,
        "Cast": 3,  # image to float, labels to uint8, probabilities to half
        "Conv": 1,
        "ArgMax": 1,
    }


def test_biases_are_few_numbers_in_the_file_and_the_same_ones_when_loaded(graph: Path, network: SwinUNet) -> None:
    """Of each head a table and for all one mask, as equation 4 of 2103.14030 has them."""
    model = onnx.load(str(graph))
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert max(array.size for name, array in stored.items() if "bias" in name) < 10_000
    biases = {f"network.{name}.bias": module.bias() for name, module in network.named_modules()
              if isinstance(module, WindowAttention)}  # fmt: skip
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in biases)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    image = np.zeros((1, 1, *TINY.input_size), np.float16)
    for found, (name, expected) in zip(session.run(list(biases), {"image": image}), biases.items(), strict=True):
        masked = expected.detach().numpy() < MASKED / 2
        np.testing.assert_array_equal(found[~masked], expected.detach().numpy()[~masked], err_msg=name)
        assert (found[masked] == MASKED).all()


def test_no_shape_is_computed_and_no_transpose_undone(graph: Path) -> None:
    nodes = onnx.load(str(graph)).graph.node
    assert not count_operators(graph).shape_arithmetic
    assert not SHAPE_ARITHMETIC & {node.op_type for node in nodes}
    made_by = {output: node for node in nodes for output in node.output}
    for node in nodes:
        source = made_by.get(node.input[0])
        if node.op_type == "Transpose" and source is not None:
            assert source.op_type != "Transpose", f"{source.name} and {node.name} could be one"


def test_weights_are_plain_constants(graph: Path, network: SwinUNet) -> None:
    """So that a quantiser finds them: every MatMul but attention's two has a constant of two axes."""
    model = onnx.load(str(graph)).graph
    constants = {tensor.name: tensor for tensor in model.initializer}
    products = [node for node in model.node if node.op_type == "MatMul"]
    axes = Counter(len(constants[node.input[1]].dims) if node.input[1] in constants else 0 for node in products)
    blocks = sum(isinstance(module, SwinBlock) for module in network.modules())
    assert axes == {0: 2 * blocks, 2: len(products) - 2 * blocks}


def test_the_counts_read_as_a_line(graph: Path) -> None:
    counted = count_operators(graph)
    assert str(counted).startswith(f"{counted.total} nodes (")
    assert str(counted).endswith(" MB")
    of_constants = sum("attn.bias" in node.output[0] for node in onnx.load(str(graph)).graph.node)
    assert counted.total == len(onnx.load(str(graph)).graph.node) - of_constants
