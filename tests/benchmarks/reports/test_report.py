"""The report writer: every file or none, and what every report says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from swinunet.benchmarks.measure.machine import Machine
from swinunet.benchmarks.measure.measurements import Spread
from swinunet.benchmarks.measure.rounds import Run
from swinunet.benchmarks.reports.numbers import number, percent_text, spread_text
from swinunet.benchmarks.reports.report import Picture, Report, table_with_remarks
from swinunet.foundation.errors import OutputError

MACHINE = Machine("a processor", 2, 4, ("AVX2",), 8.0, "Linux", "3.11", {"torch": "2"}, "today", 0.5, others_cpu=0.06)
REPORT = Report(
    name="some",
    title="Some",
    heading="some of it",
    command="swinunet benchmark some",
    run=Run(MACHINE, seconds=12.3),
    quick=True,
    tables=[table_with_remarks("Figures", ("thing", "ms", "remark"), [("this", "1.0", ""), ("that", "2.0", "")])],
    figures={"rows": [1.0, 2.0]},
    footnotes=["ms: of one."],
    pictures={"some.png": Picture(lambda path: path.write_text("drawn") and None, "Some [ms] of it")},
)


def test_all_files_are_written_in_place_of_an_earlier_report(tmp_path: Path) -> None:
    (tmp_path / "some.md").write_text("an earlier one")
    assert [path.name for path in REPORT.write(tmp_path)] == ["some.md", "some.json", "some.png", "some.html"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["some.html", "some.json", "some.md", "some.png"]
    text, figures = (tmp_path / "some.md").read_text(), json.loads((tmp_path / "some.json").read_text())
    assert text.startswith(
        "# Benchmark: some of it\n\ntoday, 12 s, by `swinunet benchmark some`.\n\nMachine: a processor"
    )
    assert "## Figures\n\n| thing | ms |\n" in text
    assert "![Some [ms] of it](some.png)" in text
    assert figures["notes"] == REPORT.notes
    assert all(f"- {note}" in text for note in REPORT.notes)
    assert (figures["schema_version"], figures["rows"], figures["machine"]["cores"]) == (1, [1.0, 2.0], 2)


def test_a_picture_that_fails_leaves_the_earlier_report(tmp_path: Path) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "some.md").write_text("an earlier one")
    with pytest.raises(OutputError, match="No space left"):
        replace(REPORT, pictures={"some.png": Picture(full, "nothing")}).write(tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("some.md", "an earlier one")]


def test_a_busy_machine_and_a_quick_run_are_owned_up_to() -> None:
    assert REPORT.notes[1:] == [
        "Other programs took 6% of these cores' time during the run: these figures are not the machine's best.",
        "A quick run: it shows that everything works, not how fast it is.",
    ]
    idle = replace(REPORT, run=Run(replace(MACHINE, others_cpu=0.05)), quick=False)
    assert idle.notes[1:] == ["Other programs took 5% of these cores' time during the run."]
    assert replace(idle, run=Run(replace(MACHINE, others_cpu=None))).notes == ["ms: of one."]


def test_remarks_are_a_column_only_where_there_are_some() -> None:
    rows = [("a", ""), ("b", "not measured: no engine")]
    assert table_with_remarks("t", ("thing", "remark"), rows).heads == ("thing", "remark")
    assert table_with_remarks("t", ("thing", "remark"), rows[:1]).rows == [("a",)]


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0.0, "0"), (0.01234, "0.0123"), (9.876, "9.88"), (12345.6, "12346")]
)
def test_numbers_have_three_digits_and_no_exponent(value: float | None, text: str) -> None:
    assert number(value) == text


def test_a_spread_shows_its_range_where_there_are_several_rounds() -> None:
    assert spread_text(Spread((2.0, 1.0, 3.0))) == "2.00 (1.00-3.00)"
    assert spread_text(Spread((2.0,))) == "2.00"
    assert percent_text(Spread((0.5, 0.25))) == "38% (25%-50%)"
    assert spread_text(None) == percent_text(None) == "-"
