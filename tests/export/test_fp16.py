"""export/graph/fp16.py: FP16 in the ONNX file, the wire contract and the answers as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto
from shipped_model import shipped_version

from swinunet.export.graph.fp16 import write_fp16
from swinunet.export.graph.onnx_graph import LOGITS, with_logits
from swinunet.export.graph.onnx_spec import read_spec
from swinunet.export.graph.operator_counts import count_operators
from swinunet.export.sample_slices import sample_slices
from swinunet.imaging import ModelSpec
from swinunet.training.network.checkpoint import load_checkpoint

MAX_LOGIT_ERROR = 0.05  # found: 0.026; neighbouring FP16 numbers are 0.004 apart from 4 on, 0.008 from 8 on
CONTRACT = {"image": "tensor(float16)", "labels": "tensor(uint8)", "probabilities": "tensor(float16)"}


@pytest.fixture(scope="module")
def version(repository: Path) -> Path:
    """The shipped model."""
    return shipped_version(repository)


@pytest.fixture(scope="module")
def half(version: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("half") / "model_fp16.onnx"
    write_fp16(version / "model.onnx", path)
    return path


@pytest.fixture(scope="module")
def spec(half: Path) -> ModelSpec:
    return read_spec(half)


def test_the_spec_and_the_wire_contract_stay(half: Path, version: Path, spec: ModelSpec) -> None:
    assert spec == read_spec(version / "model.onnx")
    session = onnxruntime.InferenceSession(half, providers=["CPUExecutionProvider"])
    assert {each.name: each.type for each in [*session.get_inputs(), *session.get_outputs()]} == CONTRACT
    labels, probabilities = session.run(["labels", "probabilities"], {"image": sample_slices(spec, None)[:5]})
    assert labels.shape == (5, *spec.input_size)
    assert probabilities.shape == (5, spec.num_classes, *spec.input_size)


def test_nothing_that_runs_is_fp32_and_no_cast_is_left_but_the_labels(half: Path, version: Path) -> None:
    model = onnx.shape_inference.infer_shapes(onnx.load(str(half)), strict_mode=True).graph
    constant = {tensor.name: tensor.data_type for tensor in model.initializer}
    types = {value.name: value.type.tensor_type.elem_type for value in model.value_info} | constant
    running = []
    for node in model.node:
        if constant.keys() >= set(node.input):  # an engine computes it once, when it loads the graph
            constant |= {name: types[name] for name in node.output}
        else:
            running.append(node)
    read = {types[name] for node in running for name in (*node.input, *node.output) if name in types}
    assert read <= {TensorProto.FLOAT16, TensorProto.INT64, TensorProto.UINT8}
    assert count_operators(half).nodes["Cast"] == 1
    assert count_operators(half).parameters_mb < 0.55 * count_operators(version / "model.onnx").parameters_mb


def test_layer_normalisation_takes_its_statistics_in_fp32(half: Path) -> None:
    norms = [node for node in onnx.load(str(half)).graph.node if node.op_type == "LayerNormalization"]
    assert norms
    for node in norms:
        stash = [attribute.i for attribute in node.attribute if attribute.name == "stash_type"]
        assert stash in ([], [TensorProto.FLOAT])  # FLOAT is the default


def test_the_answers_are_the_checkpoints_on_real_slices(half: Path, version: Path, spec: ModelSpec) -> None:
    network, _ = load_checkpoint(version / "checkpoint.safetensors")
    slices = sample_slices(spec, None)[::8][:8]
    with torch.inference_mode():
        expected = network.eval()(torch.from_numpy(slices).float()).numpy()
    served = with_logits(half, spec.num_classes, spec.input_size)
    session = onnxruntime.InferenceSession(served, providers=["CPUExecutionProvider"])
    logits, labels = session.run([LOGITS, "labels"], {"image": slices})
    assert logits.dtype == np.float16
    assert np.abs(logits - expected).max() < MAX_LOGIT_ERROR
    top = np.sort(expected, axis=1)[:, -2:]
    beyond_ties = (labels != expected.argmax(axis=1)) & (top[:, 1] - top[:, 0] > 2 * MAX_LOGIT_ERROR)
    assert beyond_ties.sum() == 0
    assert (labels == expected.argmax(axis=1)).mean() > 0.999
