"""A goal of a benchmark, and whether a run reached it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from swinunet.foundation.tables import Table


@dataclass(frozen=True)
class Goal:
    """A goal, what was found, and whether that reaches it; None where it could not be measured."""

    text: str
    found: str
    reached: bool | None

    @property
    def answer(self) -> str:
        """Whether it was reached, in a word."""
        return {True: "yes", False: "no", None: "not measured"}[self.reached]


def verdict_table(goals: Iterable[Goal], title: str = "Verdict") -> Table:
    """A row for each goal."""
    return Table(title, ("goal", "found", "reached"), [(each.text, each.found, each.answer) for each in goals])
