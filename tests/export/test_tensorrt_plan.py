"""TensorRT without a GPU: plans by TensorRT for RTX; those that cannot load are refused before Triton starts."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_model import SMALL_SPEC, small_images, write_small_repository

from swinunet import serving
from swinunet.export.engines import tensorrt_plan
from swinunet.export.engines.tensorrt_plan import build_plan, write_plan
from swinunet.export.graph.quantisation import QuantisationLimits, quantise_onnxruntime
from swinunet.export.repository.triton_config import tensorrt_config
from swinunet.foundation.errors import EngineError, InputError, MissingExtraError
from swinunet.foundation.files import sha256_of_file
from swinunet.serving import ServingError, TritonServer
from swinunet.serving.plan import Host, check_plan, check_plans

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning"
)  # of TensorRT for RTX, for what it shares with TensorRT

ROOT = Path(__file__).parents[2]
ADA = Host("11.2.1.2", "NVIDIA L4", "8.9")
COMMAND = "swinunet export checkpoint.safetensors --engine tensorrt-fp16"


@pytest.fixture
def ahead_of_time() -> Any:
    """The module of TensorRT for RTX, whose builder targets a GPU that is not there."""
    rtx = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")

    class Builder(rtx.Builder):  # type: ignore[misc, name-defined]
        def create_builder_config(self) -> Any:
            config = super().create_builder_config()
            config.num_compute_capabilities = 1
            config.set_compute_capability(rtx.ComputeCapability.SM89, 0)
            return config

    return SimpleNamespace(**{**vars(rtx), "Builder": Builder})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A version with a graph in fp16."""
    write_typed_onnx(tmp_path / "model_fp16.onnx")
    return tmp_path


def write_typed_onnx(path: Path, operator: str = "Conv") -> None:
    """The wire contract around one convolution, all in fp16."""
    weight = numpy_helper.from_array(np.array([0, 1, 2], np.float16).reshape(3, 1, 1, 1), "weight")
    nodes = [
        helper.make_node(operator, ["image", "weight"], ["logits"]),
        helper.make_node("ArgMax", ["logits"], ["index"], axis=1, keepdims=0),
        helper.make_node("Cast", ["index"], ["labels"], to=TensorProto.UINT8),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "typed",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT16, ["batch", 1, 32, 32])],
        [
            helper.make_tensor_value_info("labels", TensorProto.UINT8, ["batch", 32, 32]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT16, ["batch", 3, 32, 32]),
        ],
        [weight],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


def write_plan_of_nothing(folder: Path, host: Host) -> None:
    """A plan that is bytes, with the sidecar that `write_plan` writes for it."""
    (folder / "model.onnx").touch()
    (folder / "model.plan").write_bytes(b"plan")
    record = serving.plan.PlanRecord(
        tensorrt=str(host.tensorrt),
        gpu=str(host.gpu),
        compute_capability=str(host.compute_capability),
        onnx="model.onnx",
        onnx_sha256=sha256_of_file(folder / "model.onnx"),
        plan_sha256=sha256_of_file(folder / "model.plan"),
        precision="fp16",
        profile={"min": [1, 1, 32, 32], "opt": [8, 1, 32, 32], "max": [16, 1, 32, 32]},
        command=COMMAND,
    )
    (folder / "model.plan.json").write_text(json.dumps(dataclasses.asdict(record)))


def test_a_plan_is_built_with_its_sidecar(folder: Path, ahead_of_time: Any) -> None:
    host = Host(ahead_of_time.__version__, "NVIDIA L4", "8.9")
    record = write_plan(ahead_of_time, host, folder, "fp16", COMMAND, max_batch_size=4)
    assert record.profile == {"min": [1, 1, 32, 32], "opt": [4, 1, 32, 32], "max": [4, 1, 32, 32]}
    assert (record.precision, record.onnx, record.command) == ("fp16", "model_fp16.onnx", COMMAND)
    assert check_plan(folder, host) == record
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["model.plan", "model.plan.json", "model.plan.timing", "model_fp16.onnx"]
    again = write_plan(ahead_of_time, host, folder, "fp16", COMMAND, max_batch_size=4)  # with the timing cache
    assert check_plan(folder, host) == again


def test_the_int8_of_onnx_runtime_is_one_that_tensorrt_builds(tmp_path: Path, ahead_of_time: Any) -> None:
    folder = write_small_repository(tmp_path) / "small" / "1"
    quantise_onnxruntime(folder, small_images(32), QuantisationLimits(dice_drop=1.0))
    record = write_plan(ahead_of_time, ADA, folder, "int8", COMMAND)
    assert (record.precision, record.onnx) == ("int8", "model_int8.onnx")


def test_a_graph_that_tensorrt_does_not_take_leaves_the_old_plan(folder: Path, ahead_of_time: Any) -> None:
    write_typed_onnx(folder / "model_fp16.onnx", operator="NoSuchOperator")
    (folder / "model.plan").write_bytes(b"old")
    with pytest.raises(EngineError, match=r"^model_fp16.onnx: TensorRT's parser refuses node '.*', a NoSuchOperator; "):
        write_plan(ahead_of_time, ADA, folder, "fp16", COMMAND)
    assert (folder / "model.plan").read_bytes() == b"old"
    assert not (folder / "model.plan.json").exists()


def test_a_version_without_the_graph_is_refused(tmp_path: Path, ahead_of_time: Any) -> None:
    with pytest.raises(InputError, match=r"model_fp16.onnx is missing"):
        write_plan(ahead_of_time, ADA, tmp_path, "fp16", COMMAND)


def test_without_a_gpu_one_line_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(InputError, match=r"nvidia-smi finds none here; the CPU engines work without a GPU"):
        build_plan(folder, "fp16", COMMAND)


def test_without_tensorrt_one_line_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_plan, "this_host", lambda: ADA)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingExtraError, match=r"tensorrt is not installed; .*make gpu.*make engine.*CPU engines"):
        build_plan(folder, "fp16", COMMAND)


def test_the_host_is_what_nvidia_smi_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'NVIDIA H200, 9.0'\necho 'NVIDIA L4, 8.9'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    host = serving.plan.this_host()
    assert (host.gpu, host.compute_capability) == ("NVIDIA H200", "9.0")


def test_the_library_says_its_own_version(ahead_of_time: Any) -> None:
    libraries = pytest.importorskip("tensorrt_rtx_libs").__path__[0]
    [library] = Path(libraries).glob("libtensorrt_rtx.so.*")
    assert serving.plan._tensorrt_version(str(library)) == ahead_of_time.__version__
    assert serving.plan._tensorrt_version("/nonexistent.so") is None


def edit(folder: Path, **changes: str) -> None:
    said = json.loads((folder / "model.plan.json").read_text())
    (folder / "model.plan.json").write_text(json.dumps({**said, **changes}))


UNLOADABLE = {
    "no plan": (lambda folder: (folder / "model.plan").unlink(), ADA, r"model.plan is missing; build it anew"),
    "no sidecar": (lambda folder: (folder / "model.plan.json").unlink(), ADA, r"has no model.plan.json"),
    "broken sidecar": (lambda folder: (folder / "model.plan.json").write_text("{"), ADA, r"json cannot be read"),
    "half a sidecar": (lambda folder: (folder / "model.plan.json").write_text("{}"), ADA, r"cannot be read \(KeyError"),
    "another graph": (lambda folder: (folder / "model.onnx").write_text("new"), ADA, r"from another model.onnx"),
    "another plan": (lambda folder: (folder / "model.plan").write_text("new"), ADA, r"is not the plan that"),
    "no GPU": (lambda folder: None, Host("11.2.1.2", None, None), r"needs an NVIDIA GPU.*--config cpu"),
    "no TensorRT": (lambda folder: None, Host(None, "NVIDIA L4", "8.9"), r"needs TensorRT 11.2.1.2"),
    "another TensorRT": (lambda folder: edit(folder, tensorrt="11.1.0.106"), ADA, r"TensorRT 11.1.0.106, here is 11.2"),
    "another GPU": (
        lambda folder: None,
        Host("11.2.1.2", "NVIDIA H200", "9.0"),
        r"built on NVIDIA L4 \(compute capability 8.9\), here is NVIDIA H200 \(9.0\); build it anew",
    ),
}


@pytest.mark.parametrize("how", UNLOADABLE)
def test_a_plan_that_cannot_load_here_is_refused(tmp_path: Path, how: str) -> None:
    damage, host, reason = UNLOADABLE[how]
    write_plan_of_nothing(tmp_path, ADA)
    damage(tmp_path)
    with pytest.raises(ServingError, match=reason) as caught:
        check_plan(tmp_path, host)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("version", ["11.2.1.2", "11.2.1"])
def test_a_plan_of_this_host_passes(tmp_path: Path, version: str) -> None:
    write_plan_of_nothing(tmp_path, ADA)
    edit(tmp_path, tensorrt=version)
    assert check_plan(tmp_path, ADA).precision == "fp16"


@pytest.fixture
def on_tensorrt(small_repository: Path) -> Path:
    """The small model with the config that serves a plan."""
    (small_repository / "small" / "configs" / "tensorrt.pbtxt").write_text(tensorrt_config(SMALL_SPEC))
    return small_repository


def test_only_the_latest_version_of_models_on_tensorrt_is_asked(
    on_tensorrt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving.plan, "this_host", lambda: ADA)
    check_plans(on_tensorrt, "cpu")
    with pytest.raises(ServingError, match=r"small/1/model.plan is missing"):
        check_plans(on_tensorrt, "tensorrt")
    (on_tensorrt / "small" / "10").mkdir()
    write_plan_of_nothing(on_tensorrt / "small" / "10", ADA)
    check_plans(on_tensorrt, "tensorrt")


def test_triton_is_not_even_started(on_tensorrt: Path) -> None:
    server = TritonServer(on_tensorrt, config_name="tensorrt")
    with pytest.raises(ServingError, match=r"model.plan is missing"):
        server.start()
    assert server.pid is None


def pins() -> dict[str, str]:
    lines = (ROOT / "deploy" / "versions.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def make(target: str, path: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/usr/bin/make", *options, target], cwd=ROOT, env={"PATH": path}, capture_output=True, text=True
    )


def test_both_containers_are_of_one_release_that_is_pinned_once() -> None:
    found = pins()
    assert found["TRITON_IMAGE"].rpartition(":")[2] == found["TENSORRT_IMAGE"].rpartition(":")[2]
    for name in ("triton", "engine"):
        text = (ROOT / "deploy" / f"{name}.Dockerfile").read_text()
        assert not re.search(r"nvcr\.io|\d\d\.\d\d-py3", text)
        [image] = re.findall(r"^FROM \$\{(\w+)\}$", text, re.MULTILINE)
        assert image in found
    assert not re.search(r"\d\d\.\d\d-py3|\d+\.\d+\.\d+\.\d+", (ROOT / "Makefile").read_text())


def test_make_engine_builds_in_the_pinned_image() -> None:
    said = make("engine", os.environ["PATH"], "-n").stdout
    assert f"TENSORRT_IMAGE={pins()['TENSORRT_IMAGE']}" in said
    assert "--gpus all" in said
    assert "--engine tensorrt-fp16" in said


@pytest.mark.parametrize(("target", "reason"), [("engine", "no Docker that answers"), ("triton-image", "no Docker")])
def test_make_without_docker_is_one_line(target: str, reason: str) -> None:
    done = make(target, "/nonexistent")
    assert done.returncode != 0
    [line] = [line for line in done.stderr.splitlines() if not line.startswith("make:")]
    assert reason in line
    assert "make demo" in line


def test_make_engine_without_a_gpu_is_one_line(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\n")
    docker.chmod(0o755)
    done = make("engine", str(tmp_path))
    assert done.returncode != 0
    assert done.stderr.startswith("no NVIDIA GPU here")


def test_make_gpu_without_a_gpu_is_one_line_and_installs_nothing(tmp_path: Path) -> None:
    done = make("gpu", "/nonexistent", f"VENV={tmp_path / 'venv'}")
    assert done.returncode != 0
    assert done.stderr.startswith("no NVIDIA GPU here")
    assert list(tmp_path.iterdir()) == []
