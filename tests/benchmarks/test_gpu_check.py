"""`make gpu-check`: what is missing, crashes or hangs costs one row, and the folder can be sent. Never how fast."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from swinunet.benchmarks.gpu_check import check, rows
from swinunet.benchmarks.gpu_check.__main__ import main
from swinunet.benchmarks.gpu_check.report import gpu_check_report, keep_small, require_own_folder
from swinunet.benchmarks.gpu_check.result import GpuCheckResult, PreparedModel
from swinunet.benchmarks.gpu_check.roofline import Roofline
from swinunet.benchmarks.gpu_check.rows import RowOrder, make_row
from swinunet.benchmarks.gpu_check.settings import CHECKED, ON_ANY_MACHINE, GpuCheckSettings, row_batches
from swinunet.benchmarks.inference.gpu import roofline
from swinunet.benchmarks.measure.processes import WorkerProcess
from swinunet.foundation.errors import InputError
from swinunet.serving.plan import Host

NO_GPU = RowOrder(None, None, (1, 2), 0.01)
A_GPU = RowOrder("NVIDIA H200", "9.0", (1,), 0.01)  # said to be there, so that nothing is left out before it is tried


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> PreparedModel:
    """Recipe tiny, exported, with its slices and the checkpoint's outputs."""
    model = check.prepare_model(None, "tiny", tmp_path_factory.mktemp("made") / "tiny", 300)
    assert model.error == ""
    return model


@pytest.fixture
def empty(tmp_path: Path) -> PreparedModel:
    """A version folder without artefacts."""
    np.save(tmp_path / "slices.npy", np.zeros((2, 1, 32, 32), np.float16))
    return PreparedModel("empty version 1", tmp_path, tmp_path / "slices.npy", tmp_path / "expected.npz")


class CrashingAtBatchTwo(WorkerProcess):
    """Eager PyTorch dies of a segmentation fault when it is to be measured at batch 2."""

    _engine = ""

    def ask(self, do: str, timeout_s: float, **order: Any) -> dict[str, Any]:
        self._engine = order.get("loader", self._engine)
        if do == "measure" and self._engine == "pytorch" and order["batch"] == 2:
            os.kill(self.pid, signal.SIGSEGV)
        return super().ask(do, timeout_s, **order)


class Stopped(WorkerProcess):
    """A process that never answers."""

    started: ClassVar[list[int]] = []

    def ask(self, do: str, timeout_s: float, **order: Any) -> dict[str, Any]:
        os.kill(self.pid, signal.SIGSTOP)
        self.started.append(self.pid)
        return super().ask(do, timeout_s, **order)


def test_a_machine_without_a_gpu_gets_a_whole_report(
    tiny: PreparedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a model that is broken, and an engine that crashes half-way."""
    monkeypatch.setattr(check, "this_host", lambda: Host(None, None, None))
    monkeypatch.setattr(rows, "WorkerProcess", CrashingAtBatchTwo)
    broken = replace(tiny, title="broken", error="model.onnx is missing")
    monkeypatch.setattr(check, "prepare_model", lambda source, *_: broken if source else tiny)
    (tmp_path / "repository" / "broken" / "1").mkdir(parents=True)
    said: list[str] = []
    result = check.run_gpu_check(GpuCheckSettings(tmp_path / "repository", "tiny", seconds=0.01), said.append)
    gpu_check_report(result).write(tmp_path)
    report = json.loads((tmp_path / "gpu-check.json").read_text())

    found = {(row["model"], row["engine"]): row for row in report["rows"]}
    assert set(found) == {(model, engine) for model in ("broken", tiny.title) for engine in CHECKED}
    for engine in CHECKED:
        broken_row, row = found["broken", engine], found[tiny.title, engine]
        if engine in ON_ANY_MACHINE:
            assert broken_row["reason"] == "the model could not be prepared: model.onnx is missing"
            continue
        for each in (broken_row, row):
            assert each["outcome"] == "no result"
            assert "needs an NVIDIA GPU" in each["reason"]
    eager, onnx = (found[tiny.title, engine] for engine in ON_ANY_MACHINE)
    assert eager["outcome"] == "passed"
    assert [each["batch"] for each in eager["batches"]] == [1]
    assert "measuring batch 2" in eager["reason"]
    assert "SIGSEGV" in eager["reason"]
    assert onnx["outcome"] == "passed"
    assert [each["batch"] for each in onnx["batches"]] == [1, 2]
    assert onnx["reason"] == ""
    assert all(each["roofline_ms"] > 0 for each in onnx["batches"])
    assert [each["batch"] for each in onnx["tensors"]] == [1, 3, 8, 16]
    assert any("nothing in this report ran on one" in note for note in report["notes"])
    text = (tmp_path / "gpu-check.md").read_text()
    assert "SIGSEGV" in text
    assert "model.onnx is missing" in text
    assert (tmp_path / "gpu-check.png").read_bytes().startswith(b"\x89PNG")
    assert len(said) > len(report["rows"])


def test_outputs_that_are_not_the_checkpoints_fail(tiny: PreparedModel, tmp_path: Path) -> None:
    expected = dict(np.load(tiny.expected))
    expected["labels_8"] = (expected["labels_8"] + 1) % 9
    np.savez(tmp_path / "wrong.npz", **expected)
    known = Roofline(peaks={"fp32": {"gflop_per_s": 1.0, "gb_per_s": 1.0}}, work={(tiny.title, "fp32", 1): (1.0, 1.0)})
    row = make_row("onnxruntime-fp32", replace(tiny, expected=tmp_path / "wrong.npz"), A_GPU, known, 300)
    assert row.outcome == "failed"
    assert [each.roofline_ms for each in row.batches] == [None]  # the CPU is not judged by the GPU's peaks
    assert "at batch 8" in row.reason
    assert "at batch 1 " not in row.reason


@pytest.mark.parametrize(
    ("engine", "package"), [("onnxruntime-cuda-fp32", "onnxruntime-gpu"), ("tensorrt-fp16", "tensorrt")]
)
def test_a_row_says_which_library_it_lacks(empty: PreparedModel, engine: str, package: str) -> None:
    if package not in rows.missing_packages(engine):
        pytest.skip(f"{package} is installed here")
    row = make_row(engine, empty, A_GPU, Roofline(), 300)
    assert row.outcome == "no result"
    assert not row.batches
    assert row.reason.endswith(f"; not installed: {package}")


def test_a_gpu_that_tensorrt_for_rtx_does_not_know_is_said_in_words(tiny: PreparedModel) -> None:
    pytest.importorskip("tensorrt_rtx")
    row = make_row("tensorrt-rtx", tiny, A_GPU, Roofline(), 300)
    assert row.outcome == "no result"
    assert "building: TensorRT for RTX knows no compute capability '9.0'" in row.reason


def test_a_row_that_hangs_is_ended_at_its_limit(empty: PreparedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "WorkerProcess", Stopped)
    row = make_row("onnxruntime-fp32", empty, NO_GPU, Roofline(), 1)
    assert row.reason == "loading: no answer within 1 s (the row's limit is 1 s)"
    with pytest.raises(ProcessLookupError):
        os.kill(Stopped.started[-1], 0)


def test_when_the_time_is_over_every_row_says_so_or_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "this_host", lambda: Host(None, None, None))
    result = check.run_gpu_check(GpuCheckSettings(tmp_path / "nowhere", "tiny", total_s=0))
    assert [row.engine for row in result.rows] == list(CHECKED)
    for row in result.rows:
        assert ("were over" if row.engine in ON_ANY_MACHINE else "needs an NVIDIA GPU") in row.reason
    assert set(gpu_check_report(result).write(tmp_path)) == {
        tmp_path / f"gpu-check.{kind}" for kind in ("md", "json", "png", "html")
    }


@pytest.mark.parametrize(("limit", "removed"), [(5000, []), (2500, [".html"]), (1500, [".html", ".png"])])
def test_a_folder_too_large_loses_its_page_then_its_picture(tmp_path: Path, limit: int, removed: list[str]) -> None:
    for kind, size in (("md", 600), ("json", 400), ("png", 1000), ("html", 2000)):
        (tmp_path / f"gpu-check.{kind}").write_bytes(bytes(size))
    assert keep_small(tmp_path, limit) == [f"gpu-check{kind}" for kind in removed]
    assert len(list(tmp_path.iterdir())) == 4 - len(removed)
    with pytest.raises(InputError, match="1000 bytes, and at most 999"):
        keep_small(tmp_path, 999)


def test_a_folder_with_other_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gpu-check.md").touch()
    require_own_folder(tmp_path)
    (tmp_path / "holiday.mp4").touch()
    monkeypatch.setattr("sys.argv", ["gpu-check", "--output", str(tmp_path)])
    assert main() == 2
    assert "holds holiday.mp4" in capfd.readouterr().err


def test_onnxruntime_in_tensorrt_is_measured_where_its_profile_reaches() -> None:
    assert row_batches("onnxruntime-tensorrt-fp16", (1, 16, 32, 64)) == (1, 16)
    assert row_batches("tensorrt-fp16", (1, 16, 32, 64)) == (1, 16, 32, 64)


def test_the_paper_s_network_is_checked_on_every_machine() -> None:
    assert GpuCheckSettings(Path("nowhere")).recipe == "swin-unet"


def test_the_roofline_is_the_longer_of_the_two() -> None:
    peaks = {"gflop_per_s": 100.0, "gb_per_s": 20.0}
    assert roofline(10, 1, peaks) == (pytest.approx(100), "operations")
    assert roofline(1, 1, peaks) == (pytest.approx(50), "bytes")


def test_a_report_of_nothing_is_still_a_report(tmp_path: Path) -> None:
    gpu_check_report(GpuCheckResult("NVIDIA H200", "9.0", (1, 64))).write(tmp_path)
    assert "NVIDIA H200" in (tmp_path / "gpu-check.md").read_text()


def test_make_says_what_to_do_where_nothing_is_installed(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    command = ["make", "--no-print-directory", "gpu-check", f"VENV={tmp_path / 'none'}"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "first: make gpu" in done.stderr
