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


@dataclass(frozen=True)
class DoctorOptions:
    """How to tell."""

    as_json: Annotated[bool, typer.Option("--json")] = False
    """Print JSON instead of a table."""


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
    from swinunet.foundation.tables import Table
    from swinunet.foundation.terminal import print_line, show_table

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
        rows = [(each.name, each.status, each.found) for each in checks]
        show_table(Table(f"swinunet {version('swinunet')}", ("what", "is", "found"), rows), figures_to_the_right=False)
        for each in checks:
            if each.mend:
                print_line(f"{each.name}: {each.mend}")
        for fine, what in ((True, "works"), (False, "does not work yet")):
            if verbs := [verb for verb, works_here in works.items() if works_here is fine]:
                for line in textwrap.wrap(f"{what}: {', '.join(verbs)}", _WIDTH, subsequent_indent="  "):
                    print_line(line)
    if not works["segment"]:
        raise typer.Exit(1)
