"""Options come from dataclasses: every field is an option with its docstring as help, and reaches the verb."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer
from command_line import run_here

from swinunet import cli
from swinunet.cli.options import OptionGroup, with_options
from swinunet.foundation.field_docs import field_docs
from swinunet.training.loop.settings import Augmentation, TrainSettings


@dataclass(frozen=True)
class Size:
    width: int
    """Width in pixels."""


@dataclass(frozen=True)
class Picture:
    path: Annotated[Path, typer.Argument(metavar="FILE")]
    """File to read."""
    mode: Literal["fast", "smooth"] = "fast"
    """How it is drawn."""
    names: list[str] | None = None
    """Names; repeatable."""
    size: Size = Size(3)
    """Left out: a dataclass itself."""


@dataclass(frozen=True)
class Limits:
    low: float = 0.5
    """Lower limit."""
    dry_run: bool = False
    """Write nothing."""


GOT: list[dict[str, Any]] = []


def draw(
    picture: Picture,
    limits: Annotated[
        dict[str, Any], OptionGroup("Limits", of=Limits, prefix="set_", limits={"low": {"min": 0, "max": 1}})
    ],
) -> None:
    """Draw a picture."""
    GOT.append({"picture": picture, "limits": limits})


def run_draw(*arguments: str) -> dict[str, Any]:
    """What `draw` got. Raises SystemExit as the command line does."""
    GOT.clear()
    app = typer.Typer(add_completion=False)
    app.command("draw")(with_options(draw))
    with pytest.raises(SystemExit) as ended:
        app(list(arguments))
    if ended.value.code:
        raise ended.value
    return GOT[0] if GOT else {}


def test_a_verb_gets_its_dataclasses() -> None:
    assert run_draw("a.png") == {"picture": Picture(Path("a.png")), "limits": {}}
    got = run_draw("b.png", "--mode", "smooth", "--names", "x", "--names", "y", "--set-low", "0.5", "--set-dry-run")
    assert got["picture"] == Picture(Path("b.png"), "smooth", ["x", "y"])
    assert got["limits"] == {"set_low": 0.5, "set_dry_run": True}  # typed, although it is the default


@pytest.mark.parametrize("arguments", [[], ["a", "--mode", "slow"], ["a", "--set-low", "1.5"], ["a", "--size", "3"]])
def test_what_does_not_fit_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_draw(*arguments)
    assert ended.value.code == 2


def test_help_is_the_docstrings(capsys: pytest.CaptureFixture[str]) -> None:
    run_draw("--help")
    out = capsys.readouterr().out
    assert all(text in out for text in ("Draw a picture.", "File to read.", "Lower limit.", "─ Limits ─", "FILE"))
    assert "Left out" not in out


def commands() -> dict[str, Any]:
    """Every verb's command by name."""
    group = typer.main.get_command(cli.app)
    return {name: group.get_command(None, name) for name in group.list_commands(None)}  # type: ignore[attr-defined]


@pytest.mark.parametrize("verb", sorted(commands()))
def test_every_option_has_help_that_is_a_sentence(verb: str) -> None:
    for parameter in commands()[verb].params:
        assert parameter.help, parameter.name
        assert parameter.help[0].isupper() or parameter.help.split()[0] in ("split.json", "serving,", "gRPC"), (
            parameter.help
        )
        assert parameter.help.endswith((".", "...")), parameter.help


def test_every_setting_of_a_training_is_an_option_with_its_default() -> None:
    options = {parameter.name: parameter for parameter in commands()["train"].params}
    for cls, prefix in ((TrainSettings, ""), (Augmentation, "augment_")):
        for field in dataclasses.fields(cls):
            if field.name != "augmentation":
                option = options[prefix + field.name]
                assert option.opts == ["--" + (prefix + field.name).replace("_", "-")]
                assert (option.default, option.help) == (field.default, field_docs(cls)[field.name])


@pytest.mark.parametrize(
    ("option", "low", "high"),
    [("epochs", 1, None), ("patience", 0, None), ("ema_decay", 0, 1), ("augment_flip_probability", 0, 1)],
)
def test_ranges_of_training_options(option: str, low: float, high: float | None) -> None:
    (found,) = [parameter for parameter in commands()["train"].params if parameter.name == option]
    assert (found.min, found.max) == (low, high)


def test_a_value_outside_its_range_is_a_usage_error() -> None:
    done = run_here("train", "data", "--epochs", "0")
    assert done.returncode == 2
    assert "--epochs" in done.stderr
