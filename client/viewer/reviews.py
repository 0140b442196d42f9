"""What a reviewer thinks of each result: review.csv beside the results, written whole at every mark."""

from __future__ import annotations

import csv
import fcntl
import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from swinunet.foundation.errors import InputError
from swinunet.foundation.files import unwritable, write_whole
from swinunet.foundation.tables import spreadsheet_cell

REVIEW_NAME = "review.csv"
Decision = Literal["accepted", "rejected", ""]
DECISIONS: tuple[Decision, ...] = get_args(Decision)


@dataclass(frozen=True)
class Review:
    """One mark. result: the folder below the root. made: of the result that was judged, as its report says.

    reviewed: UTC, ISO 8601.
    """

    result: str
    decision: Decision
    comment: str
    made: str
    reviewed: str


class Reviews:
    """The marks of one tree. Several threads and several viewers may mark at the same time."""

    def __init__(self, root: Path) -> None:
        self.path = root / REVIEW_NAME
        self._lock = threading.Lock()

    def read(self) -> dict[str, Review]:
        """The last mark of each result, by its name. Raises InputError for a file that is no such table."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{self.path}: cannot be read ({type(error).__name__})") from None
        rows = list(csv.reader(io.StringIO(text, newline="")))
        heads = [field.name for field in fields(Review)]
        if not rows or rows[0] != heads or any(len(row) != len(heads) or row[1] not in DECISIONS for row in rows[1:]):
            raise InputError(
                f"{self.path}: not a table of reviews; expected the columns {','.join(heads)}; move it away"
            )
        return {row[0]: Review(*map(_text, row)) for row in rows[1:]}  # type: ignore[arg-type]

    def mark(self, result: str, decision: Decision, comment: str, made: str) -> Review:
        """Add or replace the mark of a result. Raises InputError, and OutputError if the file cannot be written."""
        review = Review(result, decision, comment, made, datetime.now(UTC).isoformat(timespec="seconds"))
        with self._lock, self._only_viewer():
            marks = self.read() | {result: review}
            written = io.StringIO(newline="")
            rows = csv.writer(written)
            rows.writerow([field.name for field in fields(Review)])
            rows.writerows([spreadsheet_cell(cell) for cell in astuple(each)] for each in marks.values())
            write_whole(self.path, written.getvalue().encode())
        return review

    @contextmanager
    def _only_viewer(self) -> Iterator[None]:
        """No other process marks meanwhile."""
        try:
            folder = os.open(self.path.parent, os.O_RDONLY)
        except OSError as error:
            raise unwritable(self.path.parent, error) from None
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


def _text(cell: str) -> str:
    """A cell without the apostrophe that keeps a spreadsheet from computing it."""
    return cell[1:] if cell.startswith("'") and spreadsheet_cell(cell[1:]) != cell[1:] else cell
