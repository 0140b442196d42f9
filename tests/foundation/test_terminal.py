"""What comes from outside is shown, never obeyed; tables keep every word; progress is readable in a log."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from swinunet.foundation.progress import step_progress, work_progress
from swinunet.foundation.tables import Table
from swinunet.foundation.terminal import one_line, print_line, printable, show_table


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Hippocampus links, größer", "Hippocampus links, größer"),
        ("海馬", "海馬"),
        ("\x1b[2J\x1b]0;owned\x07", "\\x1b[2J\\x1b]0;owned\\x07"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x9b31m", "\\x9b31m"),
        ("abc\u202edcm.exe", "abc\\u202edcm.exe"),
        ("line\u2028break", "line\\u2028break"),
        (b"M\xfcller".decode(errors="surrogateescape"), "M\\xfcller"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("[bold]x[/bold]", "[bold]x[/bold]"),
        ("\u00a0", "\u00a0"),
    ],
)
def test_characters_that_a_terminal_acts_on_are_shown(text: str, shown: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert printable(text) == shown
    print_line(text)
    print_line(text, error=True)
    captured = capfd.readouterr()
    assert captured.out == captured.err == f"{shown}\n"


def test_a_message_is_one_line() -> None:
    assert one_line("first\n    second \x1b[0m ") == "first second \\x1b[0m"


HOSTILE = ("[/bold]", "[left]", "\x1b[31mred", "two\nlines", "[link=http://x]y[/link]")


@pytest.mark.parametrize("columns", ["30", "80", "300"])
def test_a_table_shows_hostile_cells_as_they_are(
    columns: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    rows = [(cell, cell) for cell in HOSTILE]
    show_table(Table("[/title]\x1b[2J", ("[head]", "second"), rows))
    out = capfd.readouterr().out
    assert "\x1b" not in out
    assert "[/title]\\x1b[2J" in out
    for cell in HOSTILE:
        assert out.count(printable(cell)) == 2


LONG = "hippocampus_of_the_left_hemisphere_" * 3  # 105 columns, no place to break


@pytest.mark.parametrize("name", ["anterior", "the anterior part of the left hippocampus, as labelled", LONG])
@pytest.mark.parametrize("columns", [40, 80, 120])
def test_a_table_cuts_no_word(
    name: str, columns: int, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    heads = ("structure", "Dice (95 %)", "HD95 (mm)", "NSD at 1 mm", "volume error (ml)", "remark")
    row = (
        name,
        "0.881 (0.870 to 0.890)",
        "1.22 (1.10 to 1.40)",
        "0.97",
        "-0.01 (-0.10 to 0.05)",
        "left out and counted",
    )
    show_table(Table("Result", heads, [row]))
    out = capfd.readouterr().out
    words = {word for cell in (*heads, *row) for word in cell.split()}
    assert all(re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w.-])", out) for word in words)
    longest = max(len(word) for word in words)
    assert all(len(line) <= max(columns, longest + 4) for line in out.splitlines())


def test_a_table_in_a_pipe_keeps_rows_whole(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    cells = tuple(f"cell number {at}" for at in range(12))
    show_table(Table("Wide", tuple(f"column {at}" for at in range(12)), [cells]))
    assert any(all(cell in line for cell in cells) for line in capfd.readouterr().out.splitlines())


def test_progress_in_a_log_is_a_line_for_each_tenth(capfd: pytest.CaptureFixture[str]) -> None:
    with work_progress() as progress:
        task = progress.add_task("training [left]", total=50)
        for step in range(50):
            progress.update(task, advance=1, note=f"epoch {step}\x1b[0m")
        few = progress.add_task("reading", total=2)
        progress.advance(few)
        progress.advance(few)
        progress.print("[/bold]", "x")
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 13
    assert lines[0] == "training [left] 5/50, epoch 4\\x1b[0m"
    assert lines[9] == "training [left] 50/50, epoch 49\\x1b[0m"
    assert lines[10:] == ["reading 1/2", "reading 2/2", "[/bold] x"]


@pytest.mark.parametrize("options", [{"shown": False}, {"lines": False}], ids=str)
def test_progress_that_is_not_wanted_is_silent(options: dict[str, bool], capfd: pytest.CaptureFixture[str]) -> None:
    with work_progress(**options) as progress:
        progress.advance(progress.add_task("training", total=1))
    assert capfd.readouterr() == ("", "")


def test_steps_in_a_log_are_lines(capfd: pytest.CaptureFixture[str]) -> None:
    with step_progress("reading") as say:
        for step in ("exporting", "exporting", "gate: [/bold]", "exporting\n"):
            say(step)
    assert capfd.readouterr() == ("", "exporting\ngate: [/bold]\nexporting\\n\n")


def test_bars_and_steps_on_a_terminal_show_markup_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=100, color_system=None)
    monkeypatch.setattr("swinunet.foundation.progress.Console", lambda **_: terminal)
    with work_progress() as progress:
        task = progress.add_task("[/bold]study\x1b[2J", total=1)
        progress.update(task, advance=1, note="[left]")
        progress.refresh()
    with step_progress("reading") as say:
        say("[/bold]gate\x1b[2J")
    shown = screen.getvalue()
    assert "[/bold]study\\x1b[2J" in shown
    assert "[left]" in shown
    assert "\x1b[2J" not in shown
