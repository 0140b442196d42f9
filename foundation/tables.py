"""A table of text: the same rows for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True)
class Table:
    """A title, the heads of the columns, and the rows."""

    title: str
    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def markdown(self, figures_to_the_right: bool = True) -> str:
        """The table as GitHub writes them, without its title."""
        rule = ("---",) + ("---:" if figures_to_the_right else "---",) * (len(self.heads) - 1)
        lines = (self.heads, rule, *self.rows)
        return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def spreadsheet_cell(value: object) -> object:
    """A CSV cell that no spreadsheet computes: text that is a formula, `@SUM(...)`, gets an apostrophe in front."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_BEGINS) else value
