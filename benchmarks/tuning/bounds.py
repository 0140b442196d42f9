"""What no way of serving can exceed: the matrix-multiply peak of this machine, divided by the work of a slice.

The roofline of S. Williams et al. (2009), its arithmetic part. The peak is measured, so it is raised by a margin before
anything is passed over for it; while other programs take the machine's time it says nothing, and nothing is bounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from swinunet.benchmarks.measure.machine import CpuWatch
from swinunet.benchmarks.measure.processes import WorkerProcess
from swinunet.benchmarks.tuning.goal import Goal
from swinunet.export.engines.registry import Engine

_MARGIN = 1.25
_BUSY = 0.1  # share of the cores' time
_SECONDS = 0.3  # for each precision
_TIMEOUT_S = 300.0
_PEAK_OF = {"fp32": "f32", "fp16": "f32", "bf16": "bf16", "int8": "int8"}  # CPUs compute float16 in float32


@dataclass(frozen=True)
class Bounds:
    """gflop: of one slice; 0 if not known, then nothing is bounded. peaks: GFLOP/s by precision.

    void: why the peaks bound nothing; empty if they do.
    """

    gflop: float = 0.0
    peaks: Mapping[str, float] = field(default_factory=dict)
    void: str = ""

    def most_slices_per_s(self, engine: Engine) -> float | None:
        """That this machine can compute with an engine, however it is served; None if not known."""
        peak = self.peaks.get(_PEAK_OF.get(engine.arithmetic, ""))
        return _MARGIN * peak / self.gflop if peak and self.gflop and not self.void else None

    def why_not(self, engine: Engine, goal: Goal, best_so_far: float) -> str | None:
        """Why an engine cannot win, or None. best_so_far: slices/s of the best that was measured."""
        most = self.most_slices_per_s(engine)
        if most is None:
            return None
        if most <= best_so_far:
            return f"at most {most:.3g} slices/s by the matrix peak, {best_so_far:.3g} are reached already"
        if goal.latency_ms is not None and 1e3 / most > goal.latency_ms:
            return f"a slice takes {1e3 / most:.3g} ms by the matrix peak, {goal.latency_ms:g} are allowed"
        return None

    def too_many_callers(self, engine: Engine, goal: Goal, callers: int) -> bool:
        """Whether so many callers must wait longer than allowed: all are answered at the peak's speed at best."""
        most = self.most_slices_per_s(engine)
        return most is not None and goal.latency_ms is not None and 1e3 * callers / most > goal.latency_ms


def measure_bounds(gflop: float, threads: int) -> Bounds:
    """Measure the peaks in about a second. Raises WorkerError if the process that measures fails."""
    watch = CpuWatch()
    with WorkerProcess("gemm_worker") as worker:
        libraries = worker.ask("load", _TIMEOUT_S, threads=threads)
        found = {name: worker.ask("measure", _TIMEOUT_S, precision=name, seconds=_SECONDS) for name in libraries}
    others = watch.others() or 0.0
    void = f"other programs took {others:.0%} of the cores meanwhile" if others > _BUSY else ""
    return Bounds(gflop, {name: max(by_library.values()) for name, by_library in found.items()}, void)
