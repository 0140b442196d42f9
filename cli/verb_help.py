"""Help of a verb: `--help` fits one screen, with the common options first; `--help-all` has every option and example.

    app.command("segment")(with_options(segment, common=("--output", "--roi", "--url")))

A verb that names no common options shows all of them in both.
"""

from __future__ import annotations

import re
from copy import copy
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

_EXAMPLE = "Example"
_SENTENCE_END = re.compile(r"(?<=\.) (?=[A-Z`])")


class Verb(TyperCommand):
    """A command that knows which of its options are common. common: as `--output`, in the order of help."""

    common: tuple[str, ...] = ()

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print help: what the verb does, its first example, its arguments and common options, a sentence each."""
        TyperCommand.format_help(self._in_short() if self.common else self._whole(), ctx, formatter)

    def print_all_help(self, ctx: Any) -> None:
        """Print everything: each paragraph and each option under its heading."""
        TyperCommand.format_help(self._whole(), ctx, ctx.make_formatter())

    def _whole(self) -> TyperCommand:
        """This command as help shows it."""
        whole = copy(self)
        whole.params = [_as_shown(each) for each in self.params]
        return whole

    def _in_short(self) -> TyperCommand:
        """This command with its common options only, under one heading. Raises KeyError for a name that is none."""
        options = {each.opts[0]: _as_shown(each) for each in self.params if each.param_type_name == "option"}
        chosen = [options[option] for option in (*self.common, "--help-all")]
        for each in chosen:
            each.rich_help_panel = None
            each.help = _SENTENCE_END.split(each.help or "")[0]
        short = copy(self)
        short.params = [each for each in self.params if each.param_type_name == "argument"] + chosen
        paragraphs = (self.help or "").split("\n\n")
        examples = [each for each in paragraphs[1:] if each.startswith(_EXAMPLE)]
        short.help = "\n\n".join(paragraphs[:1] + examples[:1])
        return short


def _as_shown(parameter: Any) -> Any:
    """A copy for help: a flag that is off has no `--no-` form, which its default names; a range is few characters."""
    shown = copy(parameter)
    if shown.default is False:
        shown.secondary_opts = []
    if (limits := _limits(shown)) and shown.metavar is None:
        shown.metavar, shown.min, shown.max = limits, None, None
    return shown


def _limits(option: Any) -> str:
    low, high = getattr(option, "min", None), getattr(option, "max", None)
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    number = "int" if "int" in option.bare_type() else "float"
    return f"{number} >= {low:g}" if low is not None else f"{number} <= {high:g}" if high is not None else ""


def _print_all(context: typer.Context, asked: bool) -> None:
    if asked and not context.resilient_parsing:  # which completion does
        assert isinstance(context.command, Verb)
        context.command.print_all_help(context)
        raise typer.Exit


HELP_ALL = "help_all"


def help_all_option(hidden: bool) -> Any:
    """The annotation of `--help-all`. hidden: where `--help` says the same."""
    said = "Show every option and example."
    return Annotated[bool, typer.Option("--help-all", help=said, callback=_print_all, is_eager=True, hidden=hidden)]
