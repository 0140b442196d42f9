"""The network on a GPU, where there is one: eager and compiled, beside the roofline (S. Williams et al., 2009)."""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swinunet.benchmarks.measure.measurements import Measurements
from swinunet.benchmarks.measure.processes import WorkerError, WorkerProcess
from swinunet.benchmarks.measure.rounds import Group, Task

BATCHES = (1, 2, 4, 8, 16, 32, 64)  # slices
MODES = (("fp32", False), ("fp16", False), ("fp16", True))  # precision, compiled with CUDA graphs
_TIMEOUT_S = 600.0


def roofline(gflop: float, gb: float, peaks: dict[str, float]) -> tuple[float, str]:
    """The least milliseconds that so many operations and bytes (10 ** 9) take, and which of the two is the limit.

    peaks: GFLOP/s and GB/s, as `GpuWorker.roofline` measures them.
    """
    arithmetic_ms, memory_ms = 1e3 * gflop / peaks["gflop_per_s"], 1e3 * gb / peaks["gb_per_s"]
    return max(arithmetic_ms, memory_ms), "operations" if arithmetic_ms >= memory_ms else "bytes"


@dataclass
class MeasuredGpu(Measurements[float]):
    """One way to run at one batch. samples: p50 of a batch, ms. roofline_ms: no run is faster, by the measured peaks.

    gflop, gb: operations and bytes (10 ** 9) of the batch. bound: which of the two the roofline is.
    """

    precision: str
    compiled: bool
    batch: int
    roofline_ms: float = 0.0
    bound: str = ""
    gflop: float = 0.0
    gb: float = 0.0

    @property
    def title(self) -> str:
        """As a row is headed."""
        return f"PyTorch {'compiled, CUDA graphs' if self.compiled else 'eager'} {self.precision}"

    def add(self, measured: dict[str, Any], peaks: dict[str, float]) -> None:
        """Take in one round of the worker, beside the roofline. peaks: of this precision."""
        self.samples.append(1e3 * statistics.median(measured["latencies_s"]))
        self.gflop, self.gb = measured["gflop"], measured["gb"]
        self.roofline_ms, self.bound = roofline(self.gflop, self.gb, peaks)

    def to_json(self) -> dict[str, Any]:
        """Everything."""
        figures = {name: getattr(self, name) for name in ("roofline_ms", "bound", "gflop", "gb")}
        how = {"precision": self.precision, "compiled": self.compiled, "batch": self.batch}
        return {**how, "p50_ms": self.samples, **figures}


@dataclass
class GpuResult:
    """What was found; `reason` says why nothing was. peaks: GFLOP/s and GB/s by precision."""

    reason: str | None = None
    description: str = ""
    peaks: dict[str, dict[str, float]] = field(default_factory=dict)
    rows: list[MeasuredGpu] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Everything."""
        rows = [row.to_json() for row in self.rows]
        return {"reason": self.reason, "description": self.description, "peaks": self.peaks, "rows": rows}


class Gpu:
    """The process of the GPU; its errors go to `result`, as the reason."""

    def __init__(self, result: GpuResult, folder: Path, slices: Path, device: str = "cuda") -> None:
        self._result, self._order = result, {"folder": str(folder.resolve()), "slices": str(slices), "device": device}
        self._worker: WorkerProcess | None = None

    def tasks(self, resources: ExitStack, seconds: float) -> Group:
        """Look for a GPU; every way at every batch once a round."""

        def load() -> None:
            self.load(resources)
            if self._result.reason is None:
                self._result.rows = [MeasuredGpu(*mode, batch) for mode in MODES for batch in BATCHES]

        def measure() -> None:
            for row in self._result.rows:
                self.measure(row, seconds)

        return Group([Task("looking for a GPU", load)], [Task("GPU", measure, lambda: self._result.reason is None)])

    def load(self, resources: ExitStack, **sizes: int) -> None:
        """Start it and measure the peaks. sizes: of the operands, as `GpuWorker.roofline` names them."""
        worker = resources.enter_context(WorkerProcess("gpu_worker"))
        try:
            self._result.description = worker.ask("load", _TIMEOUT_S, **self._order)["description"]
            for precision in dict(MODES):
                self._result.peaks[precision] = worker.ask("roofline", _TIMEOUT_S, precision=precision, **sizes)
        except WorkerError as error:
            self._result.reason = str(error)
            worker.close()
            return
        self._worker = worker

    def measure(self, row: MeasuredGpu, seconds: float) -> None:
        """One round of one row."""
        if self._worker is None or self._result.reason:
            return
        how = {"precision": row.precision, "compiled": row.compiled, "batch": row.batch}
        try:
            row.add(self._worker.ask("measure", _TIMEOUT_S, seconds=seconds, **how), self._result.peaks[row.precision])
        except WorkerError as error:
            self._result.reason = row.error = f"{row.title}, batch {row.batch}: {error}"
