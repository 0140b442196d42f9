"""What one round of inference finds: latencies, and whether the labels are those of the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass
class LabelComparison:
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

    def merge(self, other: LabelComparison) -> None:
        """Add what another one counted."""
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
class LatencySample:
    """Inference in one round. Latencies in ms, of one request; peak_mib: peak RSS so far of the process or processes.

    mean_batch: requests that Triton computed at once, on average. queue_ms: in Triton's queue, mean of a request.
    caller_cpu: share of all cores that the callers took. bare_slices_per_s: of the engine by itself, run just
    after at the batch nearest to the mean.
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


def latency_sample(latencies_s: Sequence[float], slices: int, busy_s: float, peak_mib: float) -> LatencySample:
    """A sample from the latencies of one round (s), the slices done and the seconds they took together."""
    p50, p95, p99 = np.percentile(np.asarray(latencies_s) * 1e3, [50, 95, 99])
    return LatencySample(float(p50), float(p95), float(p99), slices / busy_s, len(latencies_s), peak_mib)
