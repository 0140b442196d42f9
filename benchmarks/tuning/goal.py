"""What a model is tuned for: the highest throughput, within a limit of latency or memory where one is given."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from swinunet.benchmarks.measure.samples import LatencySample
from swinunet.foundation.errors import InputError

_MB_PER_MIB = 2**20 / 1e6


@dataclass(frozen=True)
class Goal:
    """latency_ms: that 95 of 100 requests of one slice must not exceed. memory_mb: of the server's processes together,
    peak resident, 10^6 bytes. None is no limit."""

    latency_ms: float | None = None
    memory_mb: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("--latency-ms", self.latency_ms), ("--memory-mb", self.memory_mb)):
            if value is not None and not value > 0:
                raise InputError(f"{name} is {value:g}; expected more than 0")

    @property
    def text(self) -> str:
        """In words."""
        limits = []
        if self.latency_ms is not None:
            limits.append(f"{self.latency_ms:g} ms for 95 of 100 requests")
        if self.memory_mb is not None:
            limits.append(f"{self.memory_mb:g} MB")
        return "highest throughput" + (f" within {' and '.join(limits)}" if limits else "")

    def is_met(self, sample: LatencySample) -> bool:
        """Whether a measurement keeps to the limits."""
        in_time = self.latency_ms is None or sample.p95_ms <= self.latency_ms
        return in_time and (self.memory_mb is None or memory_mb(sample) <= self.memory_mb)

    def best(self, samples: Iterable[LatencySample]) -> LatencySample | None:
        """The measurement with the highest throughput within the limits; None if none keeps to them."""
        return max(filter(self.is_met, samples), key=lambda sample: sample.slices_per_s, default=None)


def memory_mb(sample: LatencySample) -> float:
    """Peak resident memory of the server's processes, in 10^6 bytes."""
    return sample.peak_mib * _MB_PER_MIB
