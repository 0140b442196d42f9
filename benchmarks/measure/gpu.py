"""The network on a GPU, where there is one: eager and compiled, beside the roofline (S. Williams et al., 2009)."""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swinunet.benchmarks.measure.children import Child, ChildError

BATCHES = (1, 2, 4, 8, 16, 32, 64)  # slices
MODES = (("fp32", False), ("fp16", False), ("fp16", True))  # precision, compiled with CUDA graphs
_PATIENCE_S = 600.0


@dataclass
class GpuRow:
    """One way to run at one batch. p50_ms: one a round. roofline_ms: no run can be faster, by the measured peaks.

    gflop, gb: operations and bytes of the batch. bound: which of the two the roofline is.
    """

    precision: str
    compiled: bool
    batch: int
    p50_ms: list[float] = field(default_factory=list)
    roofline_ms: float = 0.0
    bound: str = ""
    gflop: float = 0.0
    gb: float = 0.0

    @property
    def title(self) -> str:
        """As a row is headed."""
        return f"PyTorch {'compiled, CUDA graphs' if self.compiled else 'eager'} {self.precision}"


@dataclass
class GpuResult:
    """What was found; `reason` says why nothing was. peaks: GFLOP/s and GB/s by precision."""

    reason: str | None = None
    description: str = ""
    peaks: dict[str, dict[str, float]] = field(default_factory=dict)
    rows: list[GpuRow] = field(default_factory=list)


class Gpu:
    """The process of the GPU; its errors go to `result`, as the reason."""

    def __init__(self, result: GpuResult, folder: Path, slices: Path, device: str = "cuda") -> None:
        self._result, self._order = result, {"folder": str(folder.resolve()), "slices": str(slices), "device": device}
        self._child: Child | None = None

    def load(self, stack: ExitStack, **sizes: int) -> None:
        """Start it and measure the peaks. sizes: of the operands, as `GpuWorker.roofline` names them."""
        child = stack.enter_context(Child("gpu_worker"))
        try:
            self._result.description = child.ask("load", _PATIENCE_S, **self._order)["description"]
            for precision in dict(MODES):
                self._result.peaks[precision] = child.ask("roofline", _PATIENCE_S, precision=precision, **sizes)
        except ChildError as error:
            self._result.reason = str(error)
            child.close()
            return
        self._child = child

    def measure(self, row: GpuRow, seconds: float) -> None:
        """One round of one row."""
        if self._child is None or self._result.reason:
            return
        how = {"precision": row.precision, "compiled": row.compiled, "batch": row.batch}
        try:
            said = self._child.ask("measure", _PATIENCE_S, seconds=seconds, **how)
        except ChildError as error:
            self._result.reason = f"{row.title}, batch {row.batch}: {error}"
            return
        take_in(row, said, self._result.peaks[row.precision])


def take_in(row: GpuRow, said: dict[str, Any], peaks: dict[str, float]) -> None:
    """Put one round into its row, beside the roofline."""
    row.p50_ms.append(1e3 * statistics.median(said["latencies_s"]))
    row.gflop, row.gb = said["gflop"], said["gb"]
    arithmetic_ms, memory_ms = 1e3 * row.gflop / peaks["gflop_per_s"], 1e3 * row.gb / peaks["gb_per_s"]
    row.roofline_ms = max(arithmetic_ms, memory_ms)
    row.bound = "operations" if arithmetic_ms >= memory_ms else "bytes"
