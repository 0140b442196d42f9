"""What `make gpu-check` found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from swinunet.benchmarks.gpu_check.settings import engine_title
from swinunet.benchmarks.measure.rounds import Run

Outcome = Literal["passed", "failed", "built", "no result"]


@dataclass(frozen=True)
class MeasuredBatch:
    """An engine at one batch, copies to the GPU and back included. Latencies of the whole batch, ms.

    roofline_ms: no run of the network is faster, by the measured peaks; bound: which of them; None where unknown.
    """

    batch: int
    p50_ms: float
    p95_ms: float
    slices_per_s: float
    roofline_ms: float | None
    bound: str | None

    @property
    def share_of_roofline(self) -> float | None:
        """1 is as fast as the machine allows."""
        return None if self.roofline_ms is None else self.roofline_ms / self.p50_ms


@dataclass
class EngineRow:
    """One engine with one model.

    outcome: of the comparison with the checkpoint ("built": nothing here runs it). reason: what it lacks, what ended
    it, or what is beyond tolerance, in words. tensors: the gate's figures of each batch. build_s: None if not built.
    """

    model: str
    engine: str
    outcome: Outcome = "no result"
    reason: str = ""
    description: str = ""
    build_s: float | None = None
    tensors: list[dict[str, Any]] = field(default_factory=list)
    batches: list[MeasuredBatch] = field(default_factory=list)

    @property
    def title(self) -> str:
        """Of the engine."""
        return engine_title(self.engine)

    def worst(self, figure: str) -> float | None:
        """The largest of a figure of `tensors` over the batches; None if nothing was compared."""
        return max((each[figure] for each in self.tensors), default=None)

    def fastest(self) -> MeasuredBatch | None:
        """The batch with most slices a second."""
        return max(self.batches, key=lambda each: each.slices_per_s, default=None)


@dataclass(frozen=True)
class PreparedModel:
    """A copy of a model version, the slices beside it and the checkpoint's outputs; or, in `error`, why there is none.

    slices_from: where the slices are from, in words.
    """

    title: str
    folder: Path
    slices: Path
    expected: Path
    slices_from: str = ""
    error: str = ""


@dataclass
class GpuCheckResult:
    """gpu, compute_capability: None without one. peaks: GFLOP/s and GB/s by precision, measured.

    peaks_of: what they were measured on. roofline_reason: why there are none, or not for all.
    """

    gpu: str | None
    compute_capability: str | None
    batches: tuple[int, ...]
    peaks: dict[str, dict[str, float]] = field(default_factory=dict)
    peaks_of: str = ""
    roofline_reason: str = ""
    models: list[PreparedModel] = field(default_factory=list)
    rows: list[EngineRow] = field(default_factory=list)
    run: Run = field(default_factory=Run)

    def rows_of(self, model: str) -> Iterable[EngineRow]:
        """The rows of one model."""
        return [row for row in self.rows if row.model == model]

    def to_json(self) -> dict[str, Any]:
        """Everything but the machine."""
        models = [
            {"title": each.title, "slices_from": each.slices_from, "error": each.error or None} for each in self.models
        ]
        return {
            "gpu": self.gpu,
            "compute_capability": self.compute_capability,
            "peaks": {"of": self.peaks_of, "by_precision": self.peaks, "reason": self.roofline_reason or None},
            "models": models,
            "rows": [asdict(row) for row in self.rows],
        }
