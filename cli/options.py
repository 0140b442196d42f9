"""Options of a verb from dataclasses: each field becomes an option, and the docstring under the field its help.

    @dataclass(frozen=True)
    class ReportOptions:
        output: Annotated[Path, typer.Option("--output", "-o")] = Path("report")
        \"\"\"Folder for the report.\"\"\"

    def evaluate(report: ReportOptions) -> None: ...

    app.command("evaluate")(with_options(evaluate))

A field is annotated as a Typer parameter would be; `typer.Option` or `typer.Argument` is needed only for another
spelling, a metavar or a range. A field that is a dataclass itself is left out.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from typer.models import OptionInfo, ParameterInfo

from swinunet.cli.suggestions import suggested_paths
from swinunet.cli.verb_help import HELP_ALL, help_all_option
from swinunet.foundation.field_docs import field_docs


@dataclass(frozen=True)
class OptionGroup:
    """How the fields of a dataclass become options; stands in the annotation of a verb's parameter.

    For `Annotated[MyOptions, OptionGroup(...)]` the verb gets a MyOptions. For
    `Annotated[dict[str, Any], OptionGroup(of=MyOptions)]` it gets the values that were typed, by the options' names,
    so that it can tell a default from a choice.
    """

    panel: str | None = None
    """Heading under which help lists the options."""
    panels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Other headings, each with the fields under it."""
    prefix: str = ""
    """Put before each field's name to make the option's."""
    limits: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """`min` and `max` of fields whose annotation does not say them."""
    of: type | None = None
    """The dataclass, where the verb wants a dict."""

    def parameters(self, cls: type) -> list[inspect.Parameter]:
        """A Typer parameter for each field of `cls`."""
        hints, docs = get_type_hints(cls, include_extras=True), field_docs(cls)
        panel_of = {name: panel for panel, names in self.panels.items() for name in names}
        found = []
        for each in dataclasses.fields(cls):
            if dataclasses.is_dataclass(hints[each.name]):
                continue
            info = _parameter_info(hints[each.name])
            info.help = info.help or docs.get(each.name)
            info.rich_help_panel = info.rich_help_panel or panel_of.get(each.name, self.panel)
            for bound, value in self.limits.get(each.name, {}).items():
                setattr(info, bound, value)
            default = inspect.Parameter.empty if each.default is dataclasses.MISSING else each.default
            annotation = Annotated[_without_info(hints[each.name]), info]  # type: ignore[valid-type]
            found.append(_parameter(self.prefix + each.name, annotation, default))
        return found


def with_options(verb: Callable[..., None], common: Sequence[str] = ()) -> Callable[..., None]:
    """A Typer callback whose options are the fields of the dataclasses that `verb` takes. Its help is `verb`'s.

    common: the options that `--help` shows, as `--output`, in its order, where all of them do not fit one screen.
    """
    return _Callback(verb, tuple(common))


class _Callback:
    """Options are worked out when they are asked for, which the list of verbs does not."""

    def __init__(self, verb: Callable[..., None], common: tuple[str, ...]) -> None:
        self._verb, self.__doc__, self.__name__ = verb, verb.__doc__, verb.__name__
        self.common = common

    @cached_property
    def _groups(self) -> dict[str, tuple[type, OptionGroup, list[inspect.Parameter]]]:
        """By the verb's parameter: the dataclass, how its fields become options, and these."""
        hints = get_type_hints(self._verb, include_extras=True)
        found = {name: _group_of(hint) for name, hint in hints.items() if name != "return"}
        return {name: (cls, group, group.parameters(cls)) for name, (cls, group) in found.items()}

    @property
    def __signature__(self) -> inspect.Signature:
        options = [parameter for _, _, parameters in self._groups.values() for parameter in parameters]
        options.append(_parameter(HELP_ALL, help_all_option(hidden=not self.common), False))
        return inspect.Signature([_parameter("context", typer.Context), *options])

    @property
    def __annotations__(self) -> dict[str, Any]:  # type: ignore[override]
        return {name: parameter.annotation for name, parameter in self.__signature__.parameters.items()}

    def __call__(self, context: typer.Context, **values: Any) -> None:
        arguments: dict[str, Any] = {}
        for name, (cls, group, parameters) in self._groups.items():
            mine = {parameter.name: values[parameter.name] for parameter in parameters}
            arguments[name] = _typed(context, mine) if group.of else cls(**mine)
        from swinunet.foundation.files import nothing_empty_left

        typed = [each for value in values.values() for each in (value if isinstance(value, list) else [value])]
        with nothing_empty_left(value for value in typed if isinstance(value, Path)), suggested_paths(typed):
            self._verb(**arguments)


def _group_of(hint: Any) -> tuple[type, OptionGroup]:
    group = next((each for each in get_args(hint)[1:] if isinstance(each, OptionGroup)), OptionGroup())
    return group.of or _without_info(hint), group


def _typed(context: typer.Context, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that were typed: not the defaults."""
    sources = {name: context.get_parameter_source(name) for name in values}
    return {name: values[name] for name, source in sources.items() if source and source.name == "COMMANDLINE"}


def _parameter(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _parameter_info(hint: Any) -> ParameterInfo:
    """A copy of what the annotation says to Typer; a plain option if it says nothing."""
    said = [each for each in get_args(hint)[1:] if isinstance(each, ParameterInfo)] if _is_annotated(hint) else []
    return copy(said[0]) if said else OptionInfo(default=...)


def _without_info(hint: Any) -> Any:
    return get_args(hint)[0] if _is_annotated(hint) else hint


def _is_annotated(hint: Any) -> bool:
    return get_origin(hint) is Annotated
