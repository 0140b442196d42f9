"""What a run found, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from swinunet.benchmarks.measure.chain import ChainResult
from swinunet.benchmarks.measure.children import Child
from swinunet.benchmarks.measure.figures import Row, Spread
from swinunet.benchmarks.measure.gpu import GpuResult
from swinunet.benchmarks.measure.machine import Machine
from swinunet.benchmarks.measure.plan import BASELINE, Calls, Engine, Plan
from swinunet.benchmarks.measure.served import ServedModel
from swinunet.benchmarks.measure.subject import Subject
from swinunet.benchmarks.measure.wire import WireBytes

# The arithmetic of each precision: ONNX Runtime's CPU kernels widen float16 to float32.
_ARITHMETIC = {"fp32": "f32", "f32": "f32", "fp16": "f32", "bf16": "bf16", "int8": "int8"}


@dataclass
class EngineRows:
    """The rows of one engine, one a batch."""

    engine: Engine
    rows: list[Row]
    child: Child | None = None

    def refuse(self, reason: str) -> None:
        """Say in every row why there are no figures."""
        for row in self.rows:
            row.error = row.error or reason


@dataclass(kw_only=True)
class CallsRow(Row):
    """A row of Triton under one load; its size is the number of callers."""

    calls: Calls


@dataclass
class Peak:
    """Matrix-multiply peak in one precision. rounds: GFLOP/s by library."""

    precision: str
    rounds: list[dict[str, float]] = field(default_factory=list)

    @property
    def spread(self) -> Spread | None:
        """The best library of each round."""
        return Spread(tuple(max(each.values()) for each in self.rounds)) if self.rounds else None

    @property
    def library(self) -> str:
        """The best one."""
        best = max(self.rounds, key=lambda each: max(each.values()))
        return max(best, key=best.__getitem__)


@dataclass
class Result:
    """What a run found. threads: of each bare engine. origin: of the slices.

    gflop: of one slice, 0 if not known. trained: whether the weights are a trained model's. data: labelled cases.
    seconds: the whole run took. load_s: of them, until everything was loaded. rounds_s: each round that was done.
    """

    subject: Subject
    plan: Plan
    machine: Machine
    threads: int
    origin: str
    engines: list[EngineRows]
    triton: list[CallsRow]
    gflop: float = 0.0
    trained: bool = True
    data: Path | None = None
    peaks: dict[str, Peak] = field(default_factory=lambda: {name: Peak(name) for name in ("f32", "bf16", "int8")})
    peaks_error: str | None = None
    wire: WireBytes | None = None
    chain: ChainResult | None = None
    gpu: GpuResult = field(default_factory=GpuResult)
    served: ServedModel | None = None
    process_mib: float | None = None
    seconds: float = 0.0
    load_s: float = 0.0
    rounds_s: list[float] = field(default_factory=list)

    @property
    def rounds(self) -> int:
        """That were done, of the plan's."""
        return len(self.rounds_s)

    def baseline(self, batch: int) -> Row | None:
        """PyTorch's row at this batch."""
        return self.row(BASELINE, batch)

    def row(self, engine: Engine, batch: int) -> Row | None:
        """The row of an engine at a batch; None if there is none."""
        rows = [row for each in self.engines if each.engine == engine for row in each.rows]
        return next((row for row in rows if row.size == batch), None)

    def peak_share(self, engine: Engine, row: Row) -> Spread | None:
        """Share of the machine's matrix-multiply peak in this precision, round by round that the row was measured."""
        peak = self.peaks[_ARITHMETIC[engine.precision]].spread if engine.precision in _ARITHMETIC else None
        if not (peak and self.gflop and row.measured and len(peak.rounds) >= len(row.samples)):
            return None
        pairs = zip(row.samples, peak.rounds, strict=False)
        return Spread(tuple(sample.slices_per_s * self.gflop / best for sample, best in pairs))

    @property
    def bare_engine(self) -> EngineRows | None:
        """The engine that Triton runs, by itself; None if it is not among those measured."""
        if self.served is None:
            return None
        precision = self.served.precision
        if precision == "auto":
            measured = [each.engine.precision for each in self.engines if each.rows[0].error is None]
            precision = "bf16" if self.served.engine == "openvino" and "bf16" in measured else "f32"
        for each in self.engines:
            if (each.engine.loader, _ARITHMETIC.get(each.engine.precision)) == (self.served.engine, precision):
                return each
        return None
