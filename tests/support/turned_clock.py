"""A clock whose wall time can be set back and forward, while its monotonic time only advances."""

from __future__ import annotations

from dataclasses import dataclass

from swinunet.gateway.ledger.clock import Clock


@dataclass
class TurnedClock:
    """`advance` lets time pass; `turn` sets the wall clock alone."""

    wall_s: float = 1_800_000_000.0
    monotonic_s: float = 500.0

    def advance(self, seconds: float) -> None:
        self.wall_s += seconds
        self.monotonic_s += seconds

    def turn(self, seconds: float) -> None:
        self.wall_s += seconds

    def restart(self) -> None:
        """As a new process, or a new boot: monotonic time begins anywhere."""
        self.monotonic_s = 3.0

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.wall_s, lambda: self.monotonic_s)
