"""config.pbtxt, as far as a machine without a GPU and without the backend can tell: NVIDIA's own keys, one TensorRT
engine for every batch, and the same labels from ONNX Runtime with the graph and the options that it names."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from google.protobuf import text_format
from small_model import SMALL_SPEC, write_small_repository
from tritonclient.grpc import model_config_pb2

from swinunet.export.graph.fp16 import write_fp16
from swinunet.export.repository.triton_config import default_config
from swinunet.serving import TritonServer

# By the table in the README of triton-inference-server/onnxruntime_backend; the backend refuses any other key.
KNOWN_OPTIONS = {
    *("trt_engine_cache_enable", "trt_engine_cache_path", "trt_timing_cache_enable", "trt_timing_cache_path"),
    *("trt_force_sequential_engine_build", "trt_profile_min_shapes", "trt_profile_opt_shapes"),
    "trt_profile_max_shapes",
}


def parsed(text: str) -> model_config_pb2.ModelConfig:
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def tensorrt_options(config: model_config_pb2.ModelConfig) -> dict[str, str]:
    [accelerator] = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.name == "tensorrt"
    return dict(accelerator.parameters)


def test_it_runs_on_a_gpu_or_without_one() -> None:
    found = parsed(default_config(SMALL_SPEC))
    assert (found.backend, found.default_model_filename) == ("onnxruntime", "model_fp16.onnx")
    # Triton makes KIND_CPU of it where it finds no GPU, and the backend then passes the GPU's accelerators over.
    kind = model_config_pb2.ModelInstanceGroup.KIND_AUTO
    assert [(group.kind, group.count) for group in found.instance_group] == [(kind, 1)]
    assert not found.optimization.execution_accelerators.cpu_execution_accelerator


def test_every_batch_that_triton_may_form_is_in_the_one_profile() -> None:
    config = parsed(default_config(SMALL_SPEC, max_batch_size=12))
    options = tensorrt_options(config)
    assert options.keys() <= KNOWN_OPTIONS
    shapes = [options[f"trt_profile_{name}_shapes"] for name in ("min", "opt", "max")]
    assert shapes == ["image:1x1x32x32", "image:8x1x32x32", "image:12x1x32x32"]
    assert config.max_batch_size == 12
    assert max(config.dynamic_batching.preferred_batch_size) == 12


def test_no_precision_is_asked_for() -> None:
    """TensorRT 11 has no option for it, and with one of them set ONNX Runtime's network is not strongly typed."""
    assert "precision_mode" not in tensorrt_options(parsed(default_config(SMALL_SPEC)))


def test_the_caches_lie_one_level_below_a_folder_that_is_there() -> None:
    """ONNX Runtime makes one level only, and fails where two models make the same folder."""
    options = tensorrt_options(parsed(default_config(SMALL_SPEC)))
    assert options["trt_engine_cache_path"] == options["trt_timing_cache_path"]
    assert Path(options["trt_engine_cache_path"]).parent == Path("/var/tmp")
    assert re.search(rf"\b{SMALL_SPEC.name}-{SMALL_SPEC.version}$", options["trt_engine_cache_path"])


def test_the_smallest_and_the_largest_batch_are_asked_before_it_is_ready() -> None:
    requests = parsed(default_config(SMALL_SPEC, max_batch_size=12)).model_warmup
    assert [request.batch_size for request in requests] == [1, 12]
    for request in requests:
        image = request.inputs["image"]
        assert (list(image.dims), image.zero_data) == ([1, 32, 32], True)
        assert image.data_type == model_config_pb2.TYPE_FP16
    assert [request.batch_size for request in parsed(default_config(SMALL_SPEC, max_batch_size=1)).model_warmup] == [1]


def test_onnx_runtime_answers_the_canary_with_the_graph_that_it_names(repository: Path) -> None:
    """On the CPU, as the backend does without a GPU: its defaults, which are ONNX Runtime's own."""
    model = repository / "swin_unet_hippocampus"
    config = parsed((model / "config.pbtxt").read_text())
    [version] = config.version_policy.specific.versions
    session = onnxruntime.InferenceSession(
        model / str(version) / config.default_model_filename, providers=["CPUExecutionProvider"]
    )
    there = {tensor.name: (tensor.type, tensor.shape[1:]) for tensor in [*session.get_inputs(), *session.get_outputs()]}
    names = {model_config_pb2.TYPE_FP16: "tensor(float16)", model_config_pb2.TYPE_UINT8: "tensor(uint8)"}
    for tensor in [*config.input, *config.output]:
        assert there[tensor.name] == (names[tensor.data_type], list(tensor.dims))
    with np.load(model / str(version) / "canary.npz") as canary:
        [labels] = session.run(["labels"], {"image": canary["image"]})
        structures = canary["labels"] > 0
        assert (labels == canary["labels"])[structures].mean() > 0.99
    for request in config.model_warmup:
        zeros = np.zeros((request.batch_size, *request.inputs["image"].dims), np.float16)
        assert session.run(["labels"], {"image": zeros})[0].shape[0] == request.batch_size


@pytest.mark.usefixtures("tritonserver", "nothing_left")
def test_a_real_triton_takes_all_of_it_but_the_backend(tmp_path: Path) -> None:
    """KIND_AUTO without a GPU, warm-up, batching: with the backend alone replaced by the one that is installed."""
    repository = write_small_repository(tmp_path / "repository", engine="onnxruntime", precision="fp16")
    version = repository / "small" / "1"
    write_fp16(version / "model.onnx", version / "model_fp16.onnx")
    config = parsed((repository / "small" / "config.pbtxt").read_text())
    cpu = parsed((repository / "small" / "configs" / "cpu.pbtxt").read_text())
    config.backend, config.default_model_filename = cpu.backend, cpu.default_model_filename
    config.ClearField("platform")
    for key in ("engine", "precision", "threads", "streams"):
        config.parameters[key].CopyFrom(cpu.parameters[key])
    shutil.rmtree(repository / "small" / "configs")
    (repository / "small" / "config.pbtxt").write_text(text_format.MessageToString(config))
    lines: list[str] = []
    options = ["--log-verbose=1"]
    with TritonServer(repository, config_name=None, log=lines.append, options=options) as server:
        assert [model.state for model in server.models] == ["READY"]  # and its canary was answered, in fp16
    text = "\n".join(lines)
    assert "batch of 1" in text
    assert "batch of 16" in text
