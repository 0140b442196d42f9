"""Two clocks: the wall's, which is written down and may be set back or forward, and one that only ever advances."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Table, or_


@dataclass(frozen=True)
class Clock:
    """wall: seconds since 1970. monotonic: seconds since some moment, the same for one process only."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic

    def elapsed(self, since: float) -> float:
        """Seconds by the wall clock since a time that was written down; 0 if that lies ahead, as after a set-back."""
        return max(0.0, self.wall() - since)


def is_due(table: Table, now: float) -> ColumnElement[bool]:
    """Rows whose time has come, or that were put off by a clock that showed more than it does now."""
    return or_(table.c.due <= now, table.c.set_at > now)
