"""From single runs to figures: one sample a round, and the spread over the rounds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from operator import attrgetter
from typing import Any

import numpy as np

_SPREADS = (
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "slices_per_s",
    "mean_batch",
    "queue_ms",
    "caller_cpu",
    "bare_slices_per_s",
    "share_of_bare",
)


@dataclass
class Tally:
    """Pixels compared with the reference labels, all and foreground (foreground in either of the two)."""

    pixels: int = 0
    differing: int = 0
    foreground: int = 0
    foreground_differing: int = 0

    def add(self, labels: np.ndarray, expected: np.ndarray) -> None:
        """Compare labels with the reference, both uint8 [B, H, W]; another shape or type counts as all wrong."""
        if labels.shape != expected.shape or labels.dtype != expected.dtype:
            labels = np.full_like(expected, 255)
        different = labels != expected
        foreground = (labels > 0) | (expected > 0)
        self.pixels += expected.size
        self.differing += int(np.count_nonzero(different))
        self.foreground += int(np.count_nonzero(foreground))
        self.foreground_differing += int(np.count_nonzero(different & foreground))

    def merge(self, other: Tally) -> None:
        """Add another tally to this one."""
        self.pixels += other.pixels
        self.differing += other.differing
        self.foreground += other.foreground
        self.foreground_differing += other.foreground_differing

    @property
    def agreement(self) -> float | None:
        """Share of pixels with the reference's label; None if nothing was compared."""
        return 1 - self.differing / self.pixels if self.pixels else None

    @property
    def foreground_agreement(self) -> float | None:
        """The same share of the foreground pixels: most of an image is background, where a wrong engine agrees too."""
        return 1 - self.foreground_differing / self.foreground if self.foreground else None


@dataclass(frozen=True)
class Sample:
    """One row in one round. Latencies in ms, of one request; peak_mib: peak RSS so far of the process or processes.

    mean_batch: requests that Triton computed at once, on average. queue_ms: in Triton's queue, mean of a request.
    caller_cpu: share of all cores that the callers took. bare_slices_per_s: of the engine by itself, run just after
    this row at the batch nearest to the mean.
    """

    p50_ms: float
    p95_ms: float
    p99_ms: float
    slices_per_s: float
    requests: int
    peak_mib: float
    mean_batch: float | None = None
    queue_ms: float | None = None
    caller_cpu: float | None = None
    bare_slices_per_s: float | None = None

    @property
    def share_of_bare(self) -> float | None:
        """Slices a second over the bare engine's at the same batch."""
        return self.slices_per_s / self.bare_slices_per_s if self.bare_slices_per_s else None


@dataclass(frozen=True)
class Spread:
    """A figure over the rounds, in their order."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle round."""
        return statistics.median(self.rounds)

    @property
    def low(self) -> float:
        """The lowest round."""
        return min(self.rounds)

    @property
    def high(self) -> float:
        """The highest round."""
        return max(self.rounds)

    def to_json(self) -> dict[str, Any]:
        """median, min, max and every round."""
        return {"median": self.median, "min": self.low, "max": self.high, "rounds": list(self.rounds)}


@dataclass
class Row:
    """A row of the report: an engine at a batch, or Triton at a number of callers.

    size: the batch, or the callers. samples: one a round, from the first on until the row was left out. error: why
    there are no more. load_s: model file to first answer, s; import_s: the engine's library before that, s. dice: mean
    over the labelled cases, where there are some.
    """

    title: str
    size: int
    samples: list[Sample] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    error: str | None = None
    description: str = ""
    import_s: float | None = None
    load_s: float | None = None
    dice: float | None = None

    def add(self, sample: Sample, tally: Tally) -> None:
        """Take in one round."""
        self.samples.append(sample)
        self.tally.merge(tally)

    @property
    def measured(self) -> bool:
        """Whether every round went well."""
        return self.error is None and bool(self.samples)

    def due(self, once_over_s: float) -> bool:
        """Whether to measure it in the coming round: nothing went wrong, and no request took that long before."""
        return self.error is None and not (self.samples and self.samples[0].p50_ms > 1e3 * once_over_s)

    @property
    def peak_mib(self) -> float:
        """Peak RSS after this row's first round: rows run in ascending order, so no larger one had run by then."""
        return self.samples[0].peak_mib

    def spread(self, figure: Callable[[Sample], float | None]) -> Spread | None:
        """One figure over the rounds; None if it was not measured."""
        values = [figure(sample) for sample in self.samples]
        known = tuple(value for value in values if value is not None)
        return Spread(known) if known and len(known) == len(values) and self.measured else None

    def ratio(self, other: Row | None, figure: Callable[[Sample], float], *, inverse: bool = False) -> Spread | None:
        """This row's figure over the other's (or the other's over this one's), round by round: neighbours in time."""
        if other is None or not (self.measured and other.measured):
            return None
        pairs = [(figure(a), figure(b)) for a, b in zip(self.samples, other.samples, strict=False)]
        return Spread(tuple(b / a if inverse else a / b for a, b in pairs))

    def to_json(self) -> dict[str, Any]:
        """Everything about the row but its ratios."""
        spreads = {name: spread.to_json() for name in _SPREADS if (spread := self.spread(attrgetter(name))) is not None}
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
            "agreement": self.tally.agreement,
            "foreground_agreement": self.tally.foreground_agreement,
            "compared": asdict(self.tally),
        }


def sample(latencies_s: Sequence[float], slices: int, busy_s: float, peak_mib: float) -> Sample:
    """A sample from the latencies of one round (s), the slices done and the seconds they took together."""
    p50, p95, p99 = np.percentile(np.asarray(latencies_s) * 1e3, [50, 95, 99])
    return Sample(float(p50), float(p95), float(p99), slices / busy_s, len(latencies_s), peak_mib)
