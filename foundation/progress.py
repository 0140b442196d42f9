"""How long work tells what it is at."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str], None]  # one step, in a few words


def say_nothing(step: str) -> None:
    """For callers that do not ask."""
