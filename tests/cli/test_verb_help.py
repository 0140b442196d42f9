"""Help on a terminal of 80 columns: that of each verb fits one screen, and nothing of it is cut."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import typer
from command_line import run_here

from swinunet import cli
from swinunet.cli.options import with_options
from swinunet.cli.verb_help import Verb

COLUMNS, LINES = 80, 40
GROUP: Any = typer.main.get_command(cli.app)
VERBS = GROUP.list_commands(None)


def help_of(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """What a person sees who asks on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    monkeypatch.setenv("TERMINAL_WIDTH", str(COLUMNS))
    done = run_here(*arguments)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= COLUMNS
    said = done.stdout.replace("│", " ")
    assert [word for word in said.split() if "…" in word] == []  # which were cut
    return said


def options_of(verb: str) -> set[str]:
    """Every option of a verb, as it is typed."""
    return {option for each in GROUP.get_command(None, verb).params for option in each.opts if option[:2] == "--"}


@pytest.mark.parametrize("verb", VERBS)
def test_help_fits_one_screen(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = help_of(monkeypatch, verb, "--help")
    assert len(said.strip().splitlines()) <= LINES, f"choose the common options of {verb}: with_options(..., common=)"
    assert f" {verb} " in said.partition("Usage: ")[2].splitlines()[0]
    assert "--help" in said


@pytest.mark.parametrize("verb", VERBS)
def test_all_help_has_every_option_and_paragraph(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = help_of(monkeypatch, verb, "--help-all").split()
    assert options_of(verb) - {"--help-all"} <= set(words)
    for paragraph in GROUP.get_command(None, verb).help.split("\n\n"):
        assert max(paragraph.replace("`", "").split(), key=len) in words


@pytest.mark.parametrize("verb", VERBS)
def test_help_names_what_is_left_out(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = set(help_of(monkeypatch, verb, "--help").split())
    assert options_of(verb) - {"--help-all"} <= words or "--help-all" in words


def test_the_list_of_verbs_fits_one_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    said = help_of(monkeypatch, "--help")
    assert len(said.strip().splitlines()) <= LINES
    assert all(f"\n  {verb} " in said for verb in VERBS)


def test_help_is_as_wide_as_a_terminal_of_80_columns() -> None:
    """The width that the tests above set is that of a terminal."""
    command = [sys.executable, "-P", "-m", "swinunet", "serve", "-h"]
    environment = {**os.environ, "COLUMNS": str(COLUMNS)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=True)
    assert max(map(len, done.stdout.splitlines())) == COLUMNS


def test_a_common_option_that_is_none_is_an_error_of_the_verb() -> None:
    def verb() -> None:
        """Do nothing."""

    app = typer.Typer(add_completion=False)
    app.command("verb", cls=Verb)(with_options(verb, common=("--absent",)))
    command = typer.main.get_command(app)
    assert isinstance(command, Verb)
    command.common = ("--absent",)
    with pytest.raises(KeyError, match="--absent"):
        command.main(["--help"])
