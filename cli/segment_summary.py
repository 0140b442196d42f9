"""What `swinunet segment` says at its end: what was found in one study, or what became of many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from swinunet.client.results.explanations import CHECKS
from swinunet.client.results.formats import SUMMARY_NAMES
from swinunet.foundation.errors import SwinUNetError
from swinunet.foundation.tables import Table
from swinunet.foundation.terminal import print_line, show_table

if TYPE_CHECKING:
    from swinunet.client import Outcome
    from swinunet.client.results.report import Report, Structure

_INTERRUPTED = 130


def finish(outcomes: Sequence[Outcome], studies: int, interrupted: bool) -> None:
    """Show what became of the studies; raise unless all are segmented."""
    refused = [outcome for outcome in outcomes if outcome.error]
    if studies > 1:
        if outcomes:
            show_table(_summary(outcomes), figures_to_the_right=False)
        count = Counter(outcome.status for outcome in outcomes)
        print_line(f"{count['done']} done, {count['skipped']} skipped, {count['refused']} refused")
        if outcomes:
            print_line(f"{outcomes[0].folder.parent}: {', '.join(SUMMARY_NAMES)}")
    elif outcomes and outcomes[0].status == "done" and outcomes[0].report:
        _show_study(outcomes[0].report)
        files = ", ".join(sorted(outcomes[0].report.outputs.values()))
        print_line(f"{outcomes[0].folder}: {files}")
    elif outcomes and outcomes[0].status == "skipped":
        print_line(f"{outcomes[0].folder}: skipped, {outcomes[0].reason}")
    if interrupted:
        left = studies - len(outcomes) + len(refused)
        print_line(f"swinunet: interrupted with {left} of {studies} inputs to do; go on with --resume", error=True)
        raise typer.Exit(_INTERRUPTED)
    if studies == 1 and refused and refused[0].error:
        raise refused[0].error
    if refused:
        raise SwinUNetError(f"{len(refused)} of {studies} inputs were not wholly segmented; the reasons are above")


def _show_study(report: Report) -> None:
    """What was found in one study, and what of it should be looked at."""
    from swinunet.client.results.location_words import how_located, not_located

    flagged = any(structure.flags for structure in report.structures)
    heads = ("input", "structure", "volume (ml)", "voxels", "seconds", *(("look at",) if flagged else ()))
    rows = []
    for row, structure in enumerate(report.structures):
        name, seconds = (report.input.name, _seconds(report)) if row == 0 else ("", "")
        look_at = ", ".join(flag.kind.replace("_", " ") for flag in structure.flags)
        cells = (
            name,
            f"{structure.name}{_in_phase(structure)}",
            f"{structure.volume_ml:.2f}",
            str(structure.voxels),
            seconds,
        )
        rows.append((*cells, look_at) if flagged else cells)
    show_table(Table("Segmentation", heads, rows), figures_to_the_right=False)
    _show_phases(report)
    for structure in report.structures:
        for flag in structure.flags:
            print_line(f"Look at {structure.name}{_in_phase(structure)}: {flag.detail}")
    if report.location:
        print_line(how_located(report.location))
        for line in not_located(report.location):
            print_line(f"Look at this: {line}")
    if report.input.verdict:
        print_line(f"Look at the series: {report.input.verdict}")
    if report.left_out:
        print_line(f"Left out of SEG and SR, for breaking DICOM's formats in the source: {', '.join(report.left_out)}")
    if unknown := sorted({check for structure in report.structures for check in structure.not_judged}):
        print_line(f"Not judged: {', '.join(CHECKS[check] for check in unknown)}")


def _show_phases(report: Report) -> None:
    """Of a series in time: where else to look, and what a heart's volumes say together."""
    if not report.phases:
        return
    print_line(f"{len(report.phases)} phases; volumes are those of the phase that holds most; all are in the report")
    for heart in report.cardiac:
        print_line(
            f"{heart.structure}: end-diastolic volume {heart.ed_ml:.1f} ml (phase {heart.ed_phase}), end-systolic "
            f"{heart.es_ml:.1f} ml (phase {heart.es_phase}), stroke volume {heart.stroke_ml:.1f} ml, ejection fraction "
            f"{heart.ejection_fraction:.1f} %"
        )


def _in_phase(structure: Structure) -> str:
    return f", phase {structure.phase}" if structure.phase else ""


def _summary(outcomes: Sequence[Outcome]) -> Table:
    """What was found in many studies, called as their folders of results are: a pseudonym if they are de-identified."""
    rows = []
    for outcome in outcomes:
        what_is_wrong, _, _ = outcome.reason.partition("; ")  # what to do about it was said when it was refused
        why = what_is_wrong or (_flags(outcome.report) if outcome.report else "")
        found = [(each.name, f"{each.volume_ml:.2f}") for each in outcome.report.structures] if outcome.report else []
        for row, (structure, volume_ml) in enumerate(found or [("", "")]):
            about = (outcome.folder.name, outcome.status) if row == 0 else ("", "")
            rows.append((*about, structure, volume_ml, "" if row else why))
    return Table("Segmentation", ("input", "outcome", "structure", "ml", "why"), rows)


def _flags(report: Report) -> str:
    """Which structures should be looked at, and why."""
    flagged = {each.name: [flag.kind.replace("_", " ") for flag in each.flags] for each in report.structures}
    return "; ".join(f"look at {name}: {', '.join(kinds)}" for name, kinds in flagged.items() if kinds)


def _seconds(report: Report) -> str:
    return f"{sum(report.timings_s.values()):.1f}"
