"""review.csv: marks are kept, whole, also when several people mark at once."""

from __future__ import annotations

import csv
import threading
from pathlib import Path

import pytest

from swinunet.client.viewer.reviews import REVIEW_NAME, Reviews
from swinunet.foundation.errors import InputError


def test_a_mark_is_a_row_that_a_spreadsheet_reads(tmp_path: Path) -> None:
    reviews = Reviews(tmp_path)
    assert reviews.read() == {}
    reviews.mark("a/b", "accepted", 'left, "clear"\nsecond line', "2026-11-29T10:00:00+00:00")
    reviews.mark("c", "rejected", "", "")
    reviews.mark("c", "", "=SUM(A1)", "")
    with (tmp_path / REVIEW_NAME).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["result"], row["decision"]) for row in rows] == [("a/b", "accepted"), ("c", "")]
    assert rows[0]["comment"] == 'left, "clear"\nsecond line'
    assert rows[1]["comment"] == "'=SUM(A1)"  # which no spreadsheet computes
    again = Reviews(tmp_path).read()
    assert again["c"].comment == "=SUM(A1)"
    assert again["a/b"].made == "2026-11-29T10:00:00+00:00"


def test_marks_made_at_once_are_all_kept(tmp_path: Path) -> None:
    """Through two viewers, as two people at one folder."""
    both = [Reviews(tmp_path), Reviews(tmp_path)]
    jobs = [
        threading.Thread(target=both[number % 2].mark, args=(f"case {number}", "accepted", "", ""))
        for number in range(30)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert Reviews(tmp_path).read().keys() == {f"case {number}" for number in range(30)}
    assert [path.name for path in tmp_path.iterdir()] == [REVIEW_NAME]


@pytest.mark.parametrize("text", ["", "a,b\n", "result,decision,comment,made,reviewed\nx,perhaps,,,\n", "\xff"])
def test_a_file_that_is_no_such_table_is_refused_and_kept(tmp_path: Path, text: str) -> None:
    (tmp_path / REVIEW_NAME).write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=REVIEW_NAME):
        Reviews(tmp_path).mark("x", "accepted", "", "")
    assert (tmp_path / REVIEW_NAME).read_bytes() == text.encode("latin-1")
