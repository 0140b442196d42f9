"""Figures and their spread over the rounds, as text."""

from __future__ import annotations

import math

from swinunet.benchmarks.measure.measurements import Spread

NONE = "-"


def number(value: float | None) -> str:
    """Three significant digits, and never an exponent."""
    if value is None:
        return NONE
    digits = 2 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{max(0, digits)}f}"


def spread_text(spread: Spread | None) -> str:
    """The median, and in brackets the lowest and the highest round, where there are several."""
    if spread is None:
        return NONE
    if len(spread.rounds) == 1:
        return number(spread.median)
    return f"{number(spread.median)} ({number(spread.low)}-{number(spread.high)})"


def percent_text(spread: Spread | None) -> str:
    """The same of a share, in percent."""
    if spread is None:
        return NONE
    several = f" ({spread.low:.0%}-{spread.high:.0%})" if len(spread.rounds) > 1 else ""
    return f"{spread.median:.0%}{several}"
