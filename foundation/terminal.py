"""The terminal: everything from outside (names, paths, descriptions, messages) is printed through here.

A label, a folder or a DICOM attribute may hold escape codes, line breaks or what Rich reads as markup. `printable`
shows such characters instead of sending them; nothing that passes through here is markup.
"""

from __future__ import annotations

import os
import re
import sys
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

from swinunet.foundation.tables import Table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as Grid

_JOINERS = "\u200c\u200d"  # shape letters of Persian and of Indian scripts, and do nothing else
_PIPE_WIDTH = 240  # columns where the output is no terminal and COLUMNS says nothing: no row is folded
_INTERVAL = re.compile(r" (?=\([^()]*\)$)")  # before "(0.81 to 0.93)" at the end of a figure


def printable(text: object) -> str:
    """`text` as one line, with every character that a terminal would act on in its escaped form, as \\x1b or \\n.

    These are control characters, line and paragraph separators, marks that turn the direction of text, and bytes of a
    file name that are no UTF-8 (as \\xe9).
    """
    return "".join(map(_printable_character, str(text)))


def _printable_character(character: str) -> str:
    if character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs":
        return character
    if "\udc80" <= character <= "\udcff":  # a byte that Python could not decode
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def print_line(text: object, *, error: bool = False) -> None:
    """Print `text` as one line, whole, on standard output, or on standard error."""
    print(printable(text), file=sys.stderr if error else sys.stdout, flush=error)


def one_line(message: str) -> str:
    """A message as one printable line: its own line breaks and indents become spaces."""
    return printable(" ".join(message.split()))


def show_table(table: Table, *, figures_to_the_right: bool = True, console: Console | None = None) -> None:
    """Print a table on standard output, or on `console`, no word of it cut.

    Where it is too wide, intervals go on a line of their own; then text folds between words; then each row becomes
    a block of lines. figures_to_the_right: all columns but the first are figures.
    """
    console = console or _console()
    cells = [[printable(cell) for cell in row] for row in table.rows]
    folded = [[_INTERVAL.sub("\n", cell) for cell in row] for row in cells]
    for rows in (cells, folded):
        if sum(natural := _column_widths(table.heads, rows, "\n")) <= _room(console, table):
            console.print(_grid(table, rows, natural, figures_to_the_right))
            return
    if sum(words := _column_widths(table.heads, folded, None)) <= (room := _room(console, table)):
        console.print(_grid(table, folded, _shared(words, natural, room), figures_to_the_right))
        return
    for line in (printable(table.title), *_blocks(table.heads, cells, console.width)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _console() -> Console:
    from rich.console import Console

    console = Console()
    if not console.is_terminal and not os.environ.get("COLUMNS", "").isdecimal():
        return Console(width=_PIPE_WIDTH)
    return console


def _room(console: Console, table: Table) -> int:
    """Columns that are left for text, beside the lines of the grid and a space on either side of each cell."""
    return console.width - 3 * len(table.heads) - 1


def _column_widths(heads: Sequence[str], rows: Sequence[Sequence[str]], separator: str | None) -> list[int]:
    """The widest piece of each column, where cells are split at `separator`; None splits at any space."""
    from rich.cells import cell_len

    columns = zip(*(heads, *rows), strict=True)
    return [
        max((cell_len(piece) for cell in column for piece in cell.split(separator)), default=0) for column in columns
    ]


def _shared(least: Sequence[int], wanted: Sequence[int], room: int) -> list[int]:
    """Widths from `least` towards `wanted` that fill the room, the column that lacks most served first."""
    widths = list(least)
    for _ in range(room - sum(least)):
        widths[max(range(len(widths)), key=lambda at: wanted[at] - widths[at])] += 1
    return widths


def _grid(table: Table, rows: Sequence[Sequence[str]], widths: Sequence[int], figures_to_the_right: bool) -> Grid:
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(title=Text(printable(table.title), style="table.title"))
    for at, (head, width) in enumerate(zip(table.heads, widths, strict=True)):
        grid.add_column(Text(printable(head)), width=width, justify="right" if at and figures_to_the_right else "left")
    for row in rows:
        grid.add_row(*map(Text, row))
    return grid


def _blocks(heads: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Each row as a line for each cell that says something, the first not indented; folded between words only."""
    lines = []
    for row in rows:
        for at, (head, cell) in enumerate(zip(heads, row, strict=True)):
            indent = "  " if at else ""
            text = f"{indent}{printable(head)}: {cell}" if head else f"{indent}{cell}"
            if cell or not at:
                lines += textwrap.wrap(
                    text, width, subsequent_indent=indent + "  ", break_long_words=False, break_on_hyphens=False
                )
    return lines
