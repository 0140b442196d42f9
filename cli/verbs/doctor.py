"""`swinunet doctor`: what this machine has, what works on it, and the commands that mend the rest."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from dataclasses import dataclass
from typing import Annotated

import typer

from swinunet.cli.options import with_options

_WIDTH = 80
_STATUS_WIDTH = 9


@dataclass(frozen=True)
class DoctorOptions:
    """How to tell."""

    as_json: Annotated[bool, typer.Option("--json")] = False
    """Print JSON instead of lines."""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("doctor")(with_options(doctor))


def doctor(options: DoctorOptions) -> None:
    """Say what works on this machine, and what mends the rest.

    Ends with status 1 if `swinunet segment` cannot work here by itself.

    Example: `swinunet doctor`
    """
    from importlib.metadata import version

    from swinunet.cli.machine_checks import check_machine, verbs_that_work
    from swinunet.foundation.terminal import print_line

    checks = check_machine()
    works = verbs_that_work(checks)
    if options.as_json:
        found = {
            "version": version("swinunet"),
            "checks": [dataclasses.asdict(each) for each in checks],
            "works": works,
        }
        print(json.dumps(found, indent=2))
    else:
        print_line(f"swinunet {version('swinunet')}")
        for each in checks:
            said = f"{each.status:{_STATUS_WIDTH}}{each.name}: {each.found}"
            indent = " " * _STATUS_WIDTH
            for line in textwrap.wrap(said, _WIDTH, subsequent_indent=indent, break_on_hyphens=False):
                print_line(line)
        for each in checks:
            if each.mend:
                print_line(f"{each.name}: {each.mend}")
        for fine, what in ((True, "works"), (False, "does not work yet")):
            if verbs := [verb for verb, works_here in works.items() if works_here is fine]:
                for line in textwrap.wrap(f"{what}: {', '.join(verbs)}", _WIDTH, subsequent_indent="  "):
                    print_line(line)
    if not works["segment"]:
        raise typer.Exit(1)
