"""`swinunet benchmark`: what it reports and refuses, and that nothing stays behind. Never how fast anything is."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import termios
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest
from command_line import run_benchmark as run_main
from onnx import helper, numpy_helper
from server_traces import eventually
from small_model import SMALL_SPEC

from swinunet.benchmarks.inference.benchmark import run_benchmark
from swinunet.benchmarks.inference.chain import STAGES
from swinunet.benchmarks.inference.model_version import ModelVersion, find_version
from swinunet.benchmarks.inference.report import benchmark_report
from swinunet.benchmarks.inference.settings import BASELINE, BenchmarkSettings, CallerLoad, Engine
from swinunet.foundation.errors import InputError
from swinunet.serving.canary import MIN_FOREGROUND_AGREEMENT

FIGURES = ("p50_ms", "p95_ms", "p99_ms", "slices_per_s")
FILES = ("report.md", "report.json", "report.html", "engines.png", "triton.png", "chain.png")
CHOSEN = ("onnxruntime-fp32", "openvino-f32", "openvino-bf16", "tensorrt-fp16")


@pytest.fixture
def version(repository: Path) -> ModelVersion:
    """The shipped model."""
    try:
        return find_version(repository, None)
    except InputError as error:
        pytest.skip(f"no shipped model: {error}")


TWO = (CallerLoad(1), CallerLoad(1, batching=False))


def check_spreads(row: dict[str, Any], rounds: int) -> None:
    for name in FIGURES:
        spread = row[name]
        assert len(spread["rounds"]) == rounds
        assert 0 < spread["min"] <= spread["median"] <= spread["max"]
    assert row["peak_mib"] > 0


@pytest.mark.usefixtures("tritonserver")
def test_quick_run_measures_every_row_and_every_label_is_right(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = ["--recipe", "tiny", "--engines", ",".join(CHOSEN), "--batches", "1,3"]
    status, out, err = run_main(
        capfd, monkeypatch, "--quick", "--seconds", "0.05", *chosen, "-o", str(tmp_path / "report")
    )
    assert status == 0, err
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    text = (tmp_path / "report" / "report.md").read_text()
    for picture in (name for name in FILES if name.endswith(".png")):
        assert (tmp_path / "report" / picture).read_bytes().startswith(b"\x89PNG")
        assert f"]({picture})" in text
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == sorted(FILES)

    assert [(row["key"], row["batch"]) for row in report["engines"]] == [
        (key, batch) for key in (BASELINE.key, *CHOSEN) for batch in (1, 3)
    ]
    rounds = report["plan"]["rounds"]
    assert rounds in (1, 2)  # one where the machine is too slow for two within the time of a quick run
    for row in report["engines"]:
        if row["error"]:
            assert row["key"] in ("openvino-bf16", "tensorrt-fp16")
            assert not row["error"].startswith("/")  # names no folder of this machine
            assert ("/model.plan is missing" if row["key"] == "tensorrt-fp16" else "bf16") in row["error"]
            continue
        assert row["remark"] == ""
        assert row["agreement"] >= (0.95 if row["precision"] == "bf16" else 0.999)
        assert row["foreground_agreement"] >= MIN_FOREGROUND_AGREEMENT
        assert row["load_s"] > 0
        assert len(row["speed_ratio"]["rounds"]) == len(row["share_of_peak"]["rounds"]) == rounds
        check_spreads(row, rounds)
        assert f"| {row['title']} | {row['batch']} |" in text
    check_triton(report["triton"], rounds)
    check_chain(report["chain"], rounds)
    assert report["wire_bytes"]["request"] > 32 * 32 * 2 > report["wire_bytes"]["shared_request"]
    assert report["wire_bytes"]["labels"] < report["wire_bytes"]["probabilities"]
    assert {goal["reached"] for goal in report["verdict"]} <= {True, False}
    assert "AVX" in text or "NEON" in text
    assert BASELINE.title in out
    assert "5 engines at 2 batches, 6 loads of Triton, a DICOM chain of 20 slices; in 2 rounds of 0.05 s a row;" in out


def check_triton(rows: list[dict[str, Any]], rounds: int) -> None:
    assert {(row["callers"], row["batching"]) for row in rows} == {(1, True), (4, True), (1, False), (4, False)}
    for row in rows:
        if row["generator"] == "perf_analyzer" and row["error"]:
            assert "fetch it with --perf-analyzer" in row["error"]
            continue
        assert row["error"] is None
        assert row["mean_batch"]["min"] >= 1
        assert row["queue_ms"]["min"] >= 0
        assert row["share_of_bare"]["min"] > 0
        check_spreads(row, rounds)
        if row["generator"] == "ours":
            assert row["foreground_agreement"] >= MIN_FOREGROUND_AGREEMENT
        if row["callers"] == 1 or not row["batching"]:
            assert row["mean_batch"]["max"] == 1


def check_chain(chain: dict[str, Any], rounds: int) -> None:
    assert chain["error"] is None
    assert len(chain["jobs"]) == len({job["trace_id"] for job in chain["jobs"]}) == rounds
    for job in chain["jobs"]:
        assert job["requests"] > 0
        assert tuple(job["exposed_s"]) == STAGES
        assert sum(job["exposed_s"].values()) == pytest.approx(job["wall_s"], rel=0.01)
        assert all(job["own_s"][stage] > 0 for stage in ("read", "decode", "preprocess", "compute", "seg"))


def test_an_engine_that_does_not_load_says_why_and_the_others_go_on(small_repository: Path) -> None:
    settings = BenchmarkSettings(
        engines=(BASELINE, Engine("ONNX Runtime", "onnxruntime", "fp32")),
        batches=(1, 3),
        triton=(),
        chain_slices=0,
        hardware=False,
        seconds=0.05,
        budget_s=0.0,
    )
    result = run_benchmark(find_version(small_repository, None), settings)
    assert result.run.rounds == 1  # of the three: the time was up
    report = benchmark_report(result)
    pytorch, onnxruntime = report.json()["engines"][0], report.json()["engines"][2]
    assert "checkpoint.safetensors: no such file" in pytorch["error"]
    assert onnxruntime["error"] is None
    assert onnxruntime["speed_ratio"] is None
    assert onnxruntime["agreement"] is None
    assert "not measured" in report.markdown()


def kill_once_ordered(worker: psutil.Process) -> None:
    """Kill a stopped process when the order that it cannot read any more has come."""
    with Path(f"/proc/{worker.pid}/fd/0").open("rb") as orders:

        def waiting() -> int:
            return int.from_bytes(fcntl.ioctl(orders, termios.FIONREAD, bytes(4)), sys.byteorder)

        assert eventually(lambda: waiting() > 0, 60)
        worker.kill()


def test_an_engine_that_was_killed_is_started_again_for_its_other_rows(small_repository: Path) -> None:
    killers: list[threading.Thread] = []

    def progress(done: int, total: int, text: str) -> None:
        if text.startswith("round 1") and text.endswith("batch 3"):
            (worker,) = (
                each
                for each in psutil.Process().children()
                if "swinunet.benchmarks.workers.engine_worker" in each.cmdline()
            )
            worker.suspend()
            killers.append(threading.Thread(target=kill_once_ordered, args=(worker,)))
            killers[0].start()

    onnxruntime = Engine("ONNX Runtime", "onnxruntime", "fp32")
    settings = BenchmarkSettings(
        engines=(onnxruntime,), batches=(1, 3, 4), triton=(), chain_slices=0, hardware=False, rounds=2, seconds=0.01
    )
    one, three, four = run_benchmark(find_version(small_repository, None), settings, progress).engines[0].rows
    killers[0].join()
    assert "SIGKILL" in three.remark
    assert len(one.samples) == len(four.samples) == 2
    assert one.measured
    assert four.measured


def test_triton_that_does_not_start_says_why(small_repository: Path, tmp_path: Path) -> None:
    shutil.rmtree(small_repository / SMALL_SPEC.name / "configs")
    onnxruntime = Engine("ONNX Runtime", "onnxruntime", "fp32")
    settings = BenchmarkSettings(
        engines=(onnxruntime,), batches=(1,), triton=TWO, chain_slices=4, hardware=False, rounds=1, seconds=0.05
    )
    result = run_benchmark(find_version(small_repository, "small"), settings)
    assert "has the config 'cpu'" in result.triton[0].remark
    assert "no readable model config" in result.triton[1].remark
    assert result.chain is not None
    assert "has the config 'cpu'" in (result.chain.error or "")
    assert result.engines[0].rows[0].measured
    assert len(benchmark_report(result).write(tmp_path)) == len(FILES)  # a report, a plot too, of what there is


def swap_classes(path: Path) -> None:
    """Make the graph call label 1 what is 2, and 2 what is 1."""
    model = onnx.load(path)
    cast = next(node for node in model.graph.node if "labels" in node.output)
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, 2, 1], np.uint8), "swap"))
    cast.CopyFrom(helper.make_node("Gather", ["swap", cast.input[0]], ["labels"]))
    onnx.save(model, path)


@pytest.mark.usefixtures("tritonserver")
def test_a_fast_wrong_engine_shows(version: ModelVersion, tmp_path: Path) -> None:
    copy = shutil.copytree(version.repository, tmp_path / "repository")
    folder = copy / version.spec.name / version.folder.name
    swap_classes(folder / "model.onnx")
    (folder / "gate.json").unlink()  # whose checksums would refuse the file before anything runs
    engines = (BASELINE, Engine("ONNX Runtime", "onnxruntime", "fp32"))
    settings = BenchmarkSettings(
        engines=engines, batches=(2,), triton=(CallerLoad(1),), chain_slices=0, hardware=False, rounds=1, seconds=0.1
    )
    result = run_benchmark(find_version(copy, None), settings)
    right, wrong = (each.rows[0] for each in result.engines)
    assert right.remark == ""
    assert wrong.remark.startswith("WRONG")
    assert wrong.comparison.foreground_agreement is not None
    assert wrong.comparison.foreground_agreement < 0.5
    assert "fails its canary" in result.triton[0].remark
    assert "WRONG" in benchmark_report(result).markdown()


@pytest.mark.usefixtures("tritonserver")
def test_nothing_stays_when_the_benchmark_is_killed(small_repository: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from swinunet.cli import main; main()", "benchmark", "--quick"]
    run = subprocess.Popen(
        [
            *command,
            "--seconds",
            "60",
            "--engines",
            "openvino-f32",
            "--repository",
            str(small_repository),
            "-o",
            str(tmp_path / "report"),
        ],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        benchmark = psutil.Process(run.pid)

        def callers() -> int:
            found = 0
            for process in benchmark.children(recursive=True):
                with contextlib.suppress(psutil.Error):  # ended since
                    found += "swinunet.benchmarks.workers.caller_worker" in process.cmdline()
            return found

        assert eventually(lambda: run.poll() is not None or callers() == 2 * 4, 120)
        assert run.poll() is None
        started = benchmark.children(recursive=True)
        assert any(process.name() == "tritonserver" for process in started)
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()

    def living() -> list[psutil.Process]:
        return [process for process in started if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]

    assert eventually(lambda: not living(), 30), living()
