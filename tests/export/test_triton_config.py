"""Generated configs: parsed by Triton's own schema, true to the spec, and free of what is known to hurt."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
from google.protobuf import text_format
from small_model import SMALL_SPEC
from tritonclient.grpc import model_config_pb2

from swinunet.client.triton.tensors import largest_batch, require_tensors
from swinunet.export.engines.registry import served_engines
from swinunet.export.repository import triton_config
from swinunet.export.repository.served_configs import make_configs, recorded_choice
from swinunet.export.repository.triton_config import cpu_config, default_config, openvino_config, tensorrt_config
from swinunet.imaging import SPEC_KEY, Label, ModelSpec

DTYPES = {"image": "TYPE_FP16", "labels": "TYPE_UINT8", "probabilities": "TYPE_FP16"}


ALL = [default_config, tensorrt_config, openvino_config, cpu_config]
BATCHED = [default_config, tensorrt_config, cpu_config]  # by Triton
Kind = model_config_pb2.ModelInstanceGroup


def parsed(text: str) -> model_config_pb2.ModelConfig:
    return text_format.Parse(text, model_config_pb2.ModelConfig())


@pytest.mark.parametrize("config", ALL)
@pytest.mark.parametrize(("context", "size"), [(1, (32, 32)), (7, (64, 48))])
def test_the_wire_contract_is_the_spec(config, context, size) -> None:
    spec = dataclasses.replace(SMALL_SPEC, context_slices=context, input_size=size)
    found = parsed(config(spec))
    tensors = {tensor.name: tensor for tensor in [*found.input, *found.output]}
    assert found.name == spec.name
    batch = [] if found.max_batch_size else [-1]
    assert {name: list(tensor.dims) for name, tensor in tensors.items()} == {
        "image": [*batch, context, *size],
        "labels": [*batch, *size],
        "probabilities": [*batch, 3, *size],
    }
    for name, tensor in tensors.items():
        assert model_config_pb2.DataType.Name(tensor.data_type) == DTYPES[name]


@pytest.mark.parametrize("config", ALL)
@pytest.mark.parametrize("name", ["plain", 'a "quoted" \\ name', "naïve 海馬 \n\t\x7f", "$(rm) %s {} }"])
def test_any_spec_survives_the_text_format(config, name) -> None:
    first = SMALL_SPEC.labels[0]
    spec = dataclasses.replace(SMALL_SPEC, labels=(Label(1, name, first.color, first.type),))
    text = config(spec)
    assert text.isascii()
    assert ModelSpec.from_json(parsed(text).parameters[SPEC_KEY].string_value, "config") == spec


@pytest.mark.parametrize("config", BATCHED)
def test_batches_are_dynamic_and_have_no_queue_policy(config) -> None:
    found = parsed(config(SMALL_SPEC, max_batch_size=12))
    assert found.max_batch_size == 12
    assert found.HasField("dynamic_batching")
    assert not found.dynamic_batching.HasField("default_queue_policy")  # stalls with one instance
    assert not found.dynamic_batching.priority_levels


def test_only_a_gpu_waits_for_company() -> None:
    waits = [parsed(config(SMALL_SPEC)).dynamic_batching.max_queue_delay_microseconds for config in BATCHED]
    assert waits == [500, 500, 0]


def test_tensorrt_config_captures_a_graph_for_each_preferred_batch() -> None:
    found = parsed(tensorrt_config(SMALL_SPEC, max_batch_size=12))
    assert (found.platform, found.backend, found.default_model_filename) == ("tensorrt_plan", "tensorrt", "model.plan")
    assert [group.kind for group in found.instance_group] == [Kind.KIND_GPU]
    assert list(found.dynamic_batching.preferred_batch_size) == [1, 2, 4, 8, 12]
    assert found.optimization.cuda.graphs
    graphs = found.optimization.cuda.graph_spec
    assert [graph.batch_size for graph in graphs] == [1, 2, 4, 8, 12]
    assert all(list(graph.input["image"].dim) == [1, 32, 32] for graph in graphs)


def test_openvino_config_leaves_the_batch_to_the_backend() -> None:
    """With a `max_batch_size` the backend would pad each request to it."""
    found = parsed(openvino_config(SMALL_SPEC))
    assert (found.backend, found.default_model_filename) == ("openvino", "model.onnx")
    assert found.max_batch_size == 0
    assert not found.HasField("dynamic_batching")
    assert [(group.kind, group.count) for group in found.instance_group] == [(Kind.KIND_CPU, 1)]
    require_tensors(SMALL_SPEC, found, "here")
    assert largest_batch(found) == 8


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_cpu_config_tells_the_backend_what_to_run(engine) -> None:
    found = parsed(cpu_config(SMALL_SPEC, engine, precision="f32", threads=3, streams=2, instances=4))
    assert (found.backend, found.default_model_filename) == ("python", "model.py")
    assert [(group.kind, group.count) for group in found.instance_group] == [(Kind.KIND_CPU, 4)]
    options = {key: value.string_value for key, value in found.parameters.items() if key != SPEC_KEY}
    assert options == {"engine": engine, "precision": "f32", "threads": "3", "streams": "2"}


@pytest.mark.parametrize("config", BATCHED)
def test_no_batch_at_all_is_refused(config) -> None:
    with pytest.raises(ValueError, match="max_batch_size is 0"):
        config(SMALL_SPEC, max_batch_size=0)


def test_model_py_knows_every_engine_that_may_be_served() -> None:
    """And no other; it stands alone in a version folder, so it cannot read the registry."""
    tree = ast.parse(Path(triton_config.__file__).with_name("python_backend_model.py").read_text())
    (graphs,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "GRAPHS"
    )
    known = {
        (library, precision, graph)
        for library, by_precision in graphs.items()
        for precision, graph in by_precision.items()
        if precision != "auto"
    }
    assert known == {(each.library.name, each.served_precision, each.artefact) for each in served_engines()}


def test_what_is_shipped_is_what_export_writes(repository: Path) -> None:
    model = repository / "swin_unet_hippocampus"
    text = (model / "config.pbtxt").read_text()
    spec = ModelSpec.from_json(parsed(text).parameters[SPEC_KEY].string_value, "config")
    version = model / str(spec.version)
    written = make_configs(spec, recorded_choice(version)).texts
    assert {name: (model / name).read_text() for name in written} == written
    assert {path.name for path in model.rglob("*.pbtxt")} == {Path(name).name for name in written}
    judged = json.loads((version / "gate.json").read_text())["sha256"]  # of the files that the gate judged
    assert judged["model.py"] == hashlib.sha256((version / "model.py").read_bytes()).hexdigest()
