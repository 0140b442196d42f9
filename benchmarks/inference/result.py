"""What a run of `swinunet benchmark` found, and what follows from it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

from swinunet.benchmarks.inference.chain import ChainResult
from swinunet.benchmarks.inference.gpu import GpuResult
from swinunet.benchmarks.inference.model_version import ModelVersion
from swinunet.benchmarks.inference.served_model import ServedModel
from swinunet.benchmarks.inference.settings import BASELINE, BenchmarkSettings, CallerLoad, Engine
from swinunet.benchmarks.inference.wire import WireBytes
from swinunet.benchmarks.measure.machine import physical_cores
from swinunet.benchmarks.measure.measurements import Measurements, Spread
from swinunet.benchmarks.measure.processes import WorkerProcess
from swinunet.benchmarks.measure.rounds import Run
from swinunet.benchmarks.measure.samples import LabelComparison, LatencySample
from swinunet.serving.canary import MIN_FOREGROUND_AGREEMENT

# The arithmetic of each precision: ONNX Runtime's CPU kernels widen float16 to float32.
_ARITHMETIC = {"fp32": "f32", "f32": "f32", "fp16": "f32", "bf16": "bf16", "int8": "int8"}
_FIGURES = (
    "p50_ms", "p95_ms", "p99_ms", "slices_per_s", "mean_batch", "queue_ms", "caller_cpu", "bare_slices_per_s",
    "share_of_bare",
)  # fmt: skip


@dataclass
class MeasuredInference(Measurements[LatencySample]):
    """An engine at a batch, or Triton at a number of callers.

    size: the batch, or the callers. load_s: model file to first answer, s; import_s: the engine's library before that,
    s. dice: mean over the labelled cases, where there are some.
    """

    title: str
    size: int
    comparison: LabelComparison = field(default_factory=LabelComparison)
    description: str = ""
    import_s: float | None = None
    load_s: float | None = None
    dice: float | None = None

    def add(self, sample: LatencySample, comparison: LabelComparison) -> None:
        """Take in one round."""
        self.samples.append(sample)
        self.comparison.merge(comparison)

    def due(self, once_over_s: float) -> bool:
        """Whether to measure it in the coming round: nothing went wrong, and no request took that long before."""
        return self.error is None and not (self.samples and self.samples[0].p50_ms > 1e3 * once_over_s)

    @property
    def remark(self) -> str:
        """Why there are no figures, or why they are worth nothing; else an empty text."""
        # Labels that differ are foreground in one of the two, so this counts every difference, however much is
        # background.
        foreground = self.comparison.foreground_agreement
        if self.error is None and foreground is not None and foreground < MIN_FOREGROUND_AGREEMENT:
            return "WRONG: its labels are not PyTorch's"
        return super().remark

    @property
    def peak_mib(self) -> float:
        """Peak RSS after the first round: sizes are measured in ascending order, so no larger one had run by then."""
        return self.samples[0].peak_mib

    def to_json(self) -> dict[str, Any]:
        """Everything but its ratios to others."""
        spreads = {name: spread.to_json() for name in _FIGURES if (spread := self.spread(attrgetter(name))) is not None}
        return {
            "title": self.title,
            "description": self.description,
            "error": self.error,
            "rounds": len(self.samples),
            "requests": sum(sample.requests for sample in self.samples),
            "import_s": self.import_s,
            "load_s": self.load_s,
            "dice": self.dice,
            "peak_mib": self.peak_mib if self.samples else None,
            **spreads,
            "agreement": self.comparison.agreement,
            "foreground_agreement": self.comparison.foreground_agreement,
            "compared": asdict(self.comparison),
            "remark": self.remark,
        }


@dataclass
class MeasuredEngine:
    """One engine, at each batch, in a process of its own."""

    engine: Engine
    rows: list[MeasuredInference]
    worker: WorkerProcess | None = None

    def refuse(self, reason: str) -> None:
        """Say in every row why there are no figures."""
        for row in self.rows:
            row.error = row.error or reason


@dataclass
class MeasuredLoad(MeasuredInference):
    """Triton under one load; its size is the number of callers."""

    load: CallerLoad = field(kw_only=True)


@dataclass
class MatrixPeak(Measurements[dict[str, float]]):
    """Matrix-multiply peak in one precision. samples: GFLOP/s by library."""

    precision: str

    @property
    def best(self) -> Spread | None:
        """The best library of each round."""
        return self.spread(lambda libraries: max(libraries.values()))

    @property
    def library(self) -> str:
        """The best one."""
        best = max(self.samples, key=lambda libraries: max(libraries.values()))
        return max(best, key=best.__getitem__)


@dataclass
class BenchmarkResult:
    """What a run found. threads: of each bare engine. slices_from: where the slices are from.

    gflop: of one slice, 0 if not known. trained: whether the weights are a trained model's. data: labelled cases.
    run: set when it has ended.
    """

    version: ModelVersion
    settings: BenchmarkSettings
    slices_from: str
    gflop: float = 0.0
    trained: bool = True
    data: Path | None = None
    peaks: dict[str, MatrixPeak] = field(
        default_factory=lambda: {name: MatrixPeak(name) for name in ("f32", "bf16", "int8")}
    )
    wire: WireBytes | None = None
    gpu: GpuResult = field(default_factory=GpuResult)
    served: ServedModel | None = None
    process_mib: float | None = None
    run: Run = field(default_factory=Run)

    def __post_init__(self) -> None:
        settings = self.settings
        self.threads = settings.threads or physical_cores()
        self.engines = [
            MeasuredEngine(engine, [MeasuredInference(engine.title, batch) for batch in settings.batches])
            for engine in settings.engines
        ]
        self.triton = [MeasuredLoad(f"Triton, {load.title}", load.callers, load=load) for load in settings.triton]
        self.chain = ChainResult(settings.chain_slices) if settings.chain_slices else None

    def baseline(self, batch: int) -> MeasuredInference | None:
        """PyTorch at this batch."""
        return self.row(BASELINE, batch)

    def row(self, engine: Engine, batch: int) -> MeasuredInference | None:
        """An engine at a batch; None if it is not among the rows."""
        rows = [row for each in self.engines if each.engine == engine for row in each.rows]
        return next((row for row in rows if row.size == batch), None)

    def peak_share(self, engine: Engine, row: MeasuredInference) -> Spread | None:
        """Share of the machine's matrix-multiply peak in this precision, round by round that the row was measured."""
        peak = self.peaks[_ARITHMETIC[engine.precision]].best if engine.precision in _ARITHMETIC else None
        if not (peak and self.gflop and row.measured and len(peak.rounds) >= len(row.samples)):
            return None
        pairs = zip(row.samples, peak.rounds, strict=False)
        return Spread(tuple(sample.slices_per_s * self.gflop / best for sample, best in pairs))

    @property
    def bare_engine(self) -> MeasuredEngine | None:
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


@dataclass(frozen=True)
class Workspace:
    """Where a run works. folder: its own, removed at the end. resources: ends what was started, last first."""

    result: BenchmarkResult
    folder: Path
    resources: ExitStack

    @property
    def slices(self) -> Path:
        """The slices, float16 [N, C, H, W], .npy."""
        return self.folder / "slices.npy"

    @property
    def reference(self) -> str | None:
        """PyTorch's labels of them, uint8 [N, H, W], .npy; None until it has made them."""
        path = self.folder / "reference.npy"
        return str(path) if path.is_file() else None
