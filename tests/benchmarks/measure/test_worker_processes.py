"""Worker processes: how one that fails says why, and goes on where it can."""

from __future__ import annotations

import os
import signal

import pytest

from swinunet.benchmarks.measure.processes import WorkerError, WorkerProcess


def test_a_worker_that_dies_is_an_error_with_the_signal() -> None:
    with WorkerProcess("engine_worker") as worker:
        os.kill(worker.pid, signal.SIGSEGV)
        with pytest.raises(WorkerError, match="ended with SIGSEGV"):
            worker.ask("labels", 30, path="nowhere.npy")


def test_a_worker_refuses_in_one_line() -> None:
    order = {"folder": "nowhere", "threads": 1, "slices": "nowhere.npy"}
    with WorkerProcess("engine_worker") as worker:
        with pytest.raises(WorkerError, match="FileNotFoundError") as caught:
            worker.ask("load", 60, loader="onnxruntime", precision="fp32", **order)
        assert "\n" not in str(caught.value)
        with pytest.raises(WorkerError, match="FileNotFoundError"):  # and lives on
            worker.ask("load", 60, loader="onnxruntime", precision="fp32", **order)
