"""What `swinunet segment` says at its end: what was found in one study, or what became of many."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from swinunet.foundation.errors import SwinUNetError

if TYPE_CHECKING:
    from swinunet.client import Outcome
    from swinunet.client.results.report import Report

_INTERRUPTED = 130
_NOT_JUDGED = {
    "volume": "volume (the model does not say what was seen in training)",
    "confidence": "confidence (only labels travelled; see --restore)",
}


def finish(outcomes: Sequence[Outcome], studies: int, interrupted: bool) -> None:
    """Show what became of the studies; raise unless all are segmented."""
    console = Console()
    refused = [outcome for outcome in outcomes if outcome.error]
    if studies > 1:
        if outcomes:
            console.print(_summary(outcomes))
        count = Counter(outcome.status for outcome in outcomes)
        console.print(f"{count['done']} done, {count['skipped']} skipped, {count['refused']} refused")
    elif outcomes and outcomes[0].report:
        _show_study(console, outcomes[0].report)
        files = ", ".join(sorted(outcomes[0].report.outputs.values()))
        console.print(f"{outcomes[0].folder}: {files}", markup=False, soft_wrap=True)
    elif outcomes and outcomes[0].status == "skipped":
        console.print(f"{outcomes[0].folder}: skipped, {outcomes[0].reason}", markup=False, soft_wrap=True)
    if interrupted:
        left = studies - len(outcomes) + len(refused)
        print(f"swinunet: interrupted with {left} of {studies} inputs to do; go on with --resume", file=sys.stderr)
        raise typer.Exit(_INTERRUPTED)
    if studies == 1 and refused and refused[0].error:
        raise refused[0].error
    if refused:
        raise SwinUNetError(f"{len(refused)} of {studies} inputs were not wholly segmented; the reasons are above")


def _show_study(console: Console, report: Report) -> None:
    """What was found in one study, and what of it should be looked at."""
    flagged = any(structure.flags for structure in report.structures)
    table = Table("input", "structure", "volume (ml)", "voxels", "seconds", title="Segmentation")
    if flagged:
        table.add_column("look at")
    for row, structure in enumerate(report.structures):
        name, seconds = (escape(report.input.name), _seconds(report)) if row == 0 else ("", "")
        look_at = ", ".join(flag.kind.replace("_", " ") for flag in structure.flags)
        cells = (name, structure.name, f"{structure.volume_ml:.2f}", str(structure.voxels), seconds)
        table.add_row(*cells, *([look_at] if flagged else []))
    console.print(table)
    for structure in report.structures:
        for flag in structure.flags:
            console.print(f"Look at {structure.name}: {flag.detail}", markup=False, soft_wrap=True)
    if report.input.verdict:
        console.print(f"Look at the series: {report.input.verdict}", markup=False, soft_wrap=True)
    if unknown := sorted({check for structure in report.structures for check in structure.not_judged}):
        console.print(f"Not judged: {', '.join(_NOT_JUDGED[check] for check in unknown)}", soft_wrap=True)


def _summary(outcomes: Sequence[Outcome]) -> Table:
    """What became of many studies, called as their folders of results are: a pseudonym if they are de-identified."""
    table = Table(title="Segmentation")
    table.add_column("input", overflow="fold", ratio=2)
    table.add_column("outcome", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("why", overflow="fold", ratio=3)
    for outcome in outcomes:
        seconds = _seconds(outcome.report) if outcome.report else ""
        what_is_wrong, _, _ = outcome.reason.partition("; ")  # what to do about it was said when it was refused
        why = what_is_wrong or (_flags(outcome.report) if outcome.report else "")
        table.add_row(escape(outcome.folder.name), outcome.status, seconds, escape(why))
    return table


def _flags(report: Report) -> str:
    """Which structures should be looked at, and why."""
    flagged = {each.name: [flag.kind.replace("_", " ") for flag in each.flags] for each in report.structures}
    return "; ".join(f"look at {name}: {', '.join(kinds)}" for name, kinds in flagged.items() if kinds)


def _seconds(report: Report) -> str:
    return f"{sum(report.timings_s.values()):.1f}"
