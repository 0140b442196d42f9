"""A tritonserver that cannot start says why in one line, with Triton's own reason, and leaves nothing."""

from __future__ import annotations

import shutil
import socket
import time
from pathlib import Path

import numpy as np
import pytest
from small_model import SMALL_SPEC, write_small_repository

from swinunet import serving
from swinunet.export.repository.triton_config import tensorrt_config
from swinunet.serving import ServingError, TritonServer

pytestmark = pytest.mark.usefixtures("tritonserver", "nothing_left")


@pytest.mark.parametrize("which", ["grpc_port", "http_port", "metrics_port"])
def test_a_port_in_use_is_named(small_repository: Path, which: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ServingError, match=rf"port {port} on 127.0.0.1 is in use"):
            TritonServer(small_repository, **{which: port}).start()


def test_no_port_at_all_is_refused(small_repository: Path) -> None:
    with pytest.raises(ServingError, match="port 70000 is no port"):
        TritonServer(small_repository, grpc_port=70000).start()


def break_config(model: Path) -> None:
    with (model / "configs" / "cpu.pbtxt").open("a") as file:
        file.write("max_batch_size: many\n")


def break_onnx(model: Path) -> None:
    (model / "1" / "model.onnx").write_bytes(b"not an ONNX file")


def miscompute(model: Path) -> None:
    canary = dict(np.load(model / "1" / "canary.npz"))
    np.savez(model / "1" / "canary.npz", image=canary["image"], labels=canary["labels"][::-1])


def change_classes(model: Path) -> None:
    canary = dict(np.load(model / "1" / "canary.npz"))
    np.savez(model / "1" / "canary.npz", image=canary["image"], labels=canary["labels"][:, :16])


def ignore_numpy_2(model: Path) -> None:
    source = (model / "1" / "model.py").read_text()
    (model / "1" / "model.py").write_text(source.replace("if not _DLPACK:", "if True:"))


def miscompute_inputs(model: Path) -> None:
    source = (model / "1" / "model.py").read_text()
    (model / "1" / "model.py").write_text(source.replace("np.from_dlpack(tensor) if _DLPACK else", ""))


BROKEN = {
    "config that does not parse": (break_config, r"failed to read text proto.*cpu.pbtxt.*max_batch_size"),
    "no model.onnx": (lambda model: (model / "1" / "model.onnx").unlink(), r"model.onnx is missing; export"),
    "broken model.onnx": (break_onnx, r"failed to load 'small' version 1: .*model.onnx"),
    "no model.py": (lambda model: (model / "1" / "model.py").unlink(), r"Python model file not found in .*model.py"),
    "no version": (
        lambda model: shutil.rmtree(model / "1"),
        r"failed to load model 'small': at least one version must be available",
    ),
    "plain outputs under NumPy 2": (ignore_numpy_2, r"fails its canary: labels do not fit their shape"),
    "plain inputs under NumPy 2": (miscompute_inputs, r"small version 1 fails its canary"),
    "wrong canary": (miscompute, r"model small version 1 fails its canary: \d+\.\d% of all labels"),
    "canary of another shape": (change_classes, r"labels are \(3, 32, 32\), expected \(3, 16, 32\)"),
    "broken canary": (lambda model: (model / "1" / "canary.npz").write_bytes(b"PK"), r"canary.npz cannot be read"),
    "empty repository": (shutil.rmtree, r"has no model in it"),
    "no repository": (lambda model: shutil.rmtree(model.parent), r"is no folder"),
    "no such config": (
        lambda model: (model / "configs" / "cpu.pbtxt").unlink(),
        r"has the config 'cpu'; there is: none",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_failed_start_says_why_in_one_line_and_leaves_nothing(small_repository: Path, how: str) -> None:
    damage, reason = BROKEN[how]
    damage(small_repository / "small")
    lines: list[str] = []
    with pytest.raises(ServingError, match=reason) as caught:
        TritonServer(small_repository, log=lines.append).start()
    errors = [line for line in lines if line.startswith("ERROR")]
    assert all("\n" not in line and "At: " not in line for line in errors)  # no traceback of Triton's before ours
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize(("config", "backend"), [(None, "onnxruntime"), ("tensorrt", "tensorrt")])
def test_a_backend_that_is_not_installed_is_named_before_the_start(
    small_repository: Path, monkeypatch: pytest.MonkeyPatch, config: str | None, backend: str
) -> None:
    monkeypatch.setattr(serving.plan, "check_plan", lambda folder, host: None)  # tests/export/test_tensorrt_plan.py
    (small_repository / "small" / "configs" / "tensorrt.pbtxt").write_text(tensorrt_config(SMALL_SPEC))
    server = TritonServer(small_repository, config_name=config)
    with pytest.raises(ServingError, match=f"wants Triton's {backend} backend, .* has python only; NVIDIA's container"):
        server.start()
    assert server.pid is None


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"engine": "onnxruntime", "precision": "bf16"}, "onnxruntime here knows f32, auto, fp16, int8"),
        ({"precision": "f16"}, "openvino here knows f32, bf16, auto, int8"),
        ({"precision": "int8"}, "openvino_int8.xml is missing; export the model again"),
        ({"engine": "onnxruntime", "precision": "fp16"}, "model_fp16.onnx is missing; export the model again"),
        ({"engine": "torch"}, "engine is 'torch'"),
    ],
)
def test_a_config_that_model_py_does_not_know_fails_the_start(tmp_path: Path, options: dict, reason: str) -> None:
    with pytest.raises(ServingError, match=reason):
        TritonServer(write_small_repository(tmp_path / "repository", **options)).start()


def test_a_model_that_never_loads_is_given_up(small_repository: Path) -> None:
    model = small_repository / "small" / "1" / "model.py"
    model.write_text("import time\ntime.sleep(3600)\n")
    started = time.monotonic()
    with pytest.raises(ServingError, match="not ready within 2 s"):
        TritonServer(small_repository, start_timeout=2).start()
    assert time.monotonic() - started < 300  # and not for an hour; a busy machine is slow to stop it


def test_a_missing_wheel_is_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch, small_repository: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ServingError, match=r"pip install --no-deps nvidia-pytriton==0\.7\.0"):
        TritonServer(small_repository).start()


def test_without_the_wheel_a_server_on_path_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server = tmp_path / "tritonserver"
    server.write_text("#!/bin/sh\n")
    server.chmod(0o755)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert serving.find_tritonserver() == serving.locate.Installation(server, None)
