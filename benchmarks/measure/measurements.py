"""What a benchmark measures: one sample of each thing in every round, and the spread of a figure over the rounds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from swinunet.foundation.errors import SwinUNetError

SampleT = TypeVar("SampleT")


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
class Measurements(Generic[SampleT]):
    """The samples of one thing, one a round, from the first on until it failed. error: why there are no more."""

    samples: list[SampleT] = field(default_factory=list, kw_only=True)
    error: str | None = field(default=None, kw_only=True)

    @property
    def measured(self) -> bool:
        """Whether every round went well."""
        return self.error is None and bool(self.samples)

    @property
    def remark(self) -> str:
        """Why there are no figures; empty where there are."""
        return f"not measured: {self.error}" if self.error is not None else ""

    def attempt(self, do: Callable[[], object]) -> None:
        """Do what measuring needs. Where it fails, its reason is kept and nothing more is attempted."""
        if self.error is not None:
            return
        try:
            do()
        except SwinUNetError as error:
            self.error = str(error)

    def take(self, sample: Callable[[], SampleT]) -> None:
        """Take the sample of a round, or keep the reason why there is none."""
        self.attempt(lambda: self.samples.append(sample()))

    def spread(self, figure: Callable[[SampleT], float | None]) -> Spread | None:
        """One figure over the rounds; None if it was not measured in all of them."""
        values = [figure(sample) for sample in self.samples]
        known = tuple(value for value in values if value is not None)
        return Spread(known) if self.measured and len(known) == len(values) else None

    def ratio(
        self, other: Measurements[SampleT] | None, figure: Callable[[SampleT], float], *, inverse: bool = False
    ) -> Spread | None:
        """This figure over the other's (inverse: the other's over this), round by round: neighbours in time."""
        if other is None or not (self.measured and other.measured):
            return None
        pairs = [(figure(mine), figure(theirs)) for mine, theirs in zip(self.samples, other.samples, strict=False)]
        return Spread(tuple(theirs / mine if inverse else mine / theirs for mine, theirs in pairs))


def attempt_for_all(rows: Sequence[Measurements[SampleT]], do: Callable[[], object]) -> None:
    """Do, once, what all these need. Where it fails, all of them keep the reason."""
    waiting = [row for row in rows if row.error is None]
    for row in waiting[:1]:
        row.attempt(do)
    for row in waiting[1:]:
        row.error = waiting[0].error


def spread_json(spread: Spread | None) -> dict[str, Any] | None:
    """A spread for programs; None stays None."""
    return spread.to_json() if spread else None
