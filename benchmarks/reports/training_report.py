"""The files of `swinunet benchmark training`: training.md (ready to paste) and training.json (every round)."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from swinunet.benchmarks.measure.figures import Spread
from swinunet.benchmarks.measure.training_speed import BASELINE, BATCHES, TrainingResult, TrainingRow
from swinunet.benchmarks.reports.notes import closing_notes
from swinunet.benchmarks.reports.report import page, staged_files
from swinunet.benchmarks.reports.wording import NONE, percent_text, spread_text
from swinunet.benchmarks.workers.training_worker import SPEC
from swinunet.foundation.tables import Table
from swinunet.training.network.recipes import recipe

SCHEMA_VERSION = 1
FILES = ("training.md", "training.json")
_HEADS = ("recipe", "input", "batch", "loop", "slices/s", "x plain", "data, % of time", "peak MiB", "remark")


def training_table(result: TrainingResult) -> Table:
    """One row a recipe and way of training; the remarks only where there are any."""
    rows = [_cells(result, row) for row in result.rows]
    width = len(_HEADS) if any(row.error for row in result.rows) else len(_HEADS) - 1
    return Table("Training on the CPU", _HEADS[:width], [cells[:width] for cells in rows])


def training_notes(result: TrainingResult) -> list[str]:
    """What a reader of the table must know, a sentence or two each."""
    plan = result.plan
    found = [
        f"Figures are the median of {plan.rounds} rounds (lowest to highest). In each round the ways of training a "
        f"recipe run in turn, {plan.seconds:g} s each (one step at least) while the others are idle; ratios are taken "
        "within a round.",
        "slices/s: forward, backward and update, the batch being there. The plain loop is the same network, loss and "
        "AdamW and nothing else; the Learner also clips the gradient, checks that it is finite, sets the learning rate "
        "and averages the weights.",
        "data: share of the Learner's loop spent on gathering and augmenting batches (on a CPU in the loop itself, "
        "which is what waiting for data is here). The plain loop is fed the same batches, but has no such step.",
        f"Slices are synthetic: {SPEC.in_channels} channels, {SPEC.num_classes} classes, every slice labelled.",
        f"Every row has a process of its own; threads of each: {result.threads}. Peak memory is that process's peak "
        "RSS (VmHWM), PyTorch's own included. GPUs are not measured. The batch is "
        f"{BATCHES[0]}, or the largest power of two below it that fits in four fifths of the free memory.",
        f"Precision `auto` is {result.precision} on this CPU"
        + (", so the Learner's fp32 row is that of `auto` too." if result.precision == "fp32" else "."),
    ]
    return found + closing_notes(result.machine, plan.quick)


def write_training_report(result: TrainingResult, folder: Path) -> list[Path]:
    """Write FILES into `folder`, each whole or not at all, in place of an earlier report. Raises OutputError."""
    with staged_files(folder, FILES) as (report, figures):
        report.write_text(training_markdown(result))
        figures.write_text(json.dumps(training_json(result), indent=1) + "\n")
    return [folder / name for name in FILES]


def training_markdown(result: TrainingResult) -> str:
    """The report, as Markdown."""
    table, notes = training_table(result), training_notes(result)
    return page("training", "swinunet benchmark training", result.machine, result.seconds, table, notes)


def training_json(result: TrainingResult) -> dict[str, Any]:
    """The report, for programs: the figures of every round, not only their spread."""
    plan = result.plan
    return {
        "schema_version": SCHEMA_VERSION,
        "machine": asdict(result.machine),
        "plan": {"rounds": plan.rounds, "seconds": plan.seconds, "threads": result.threads, "quick": plan.quick},
        "auto_precision": result.precision,
        "in_channels": SPEC.in_channels,
        "num_classes": SPEC.num_classes,
        "seconds": result.seconds,
        "rows": [_row(result, row) for row in result.rows],
        "notes": training_notes(result),
    }


def _row(result: TrainingResult, row: TrainingRow) -> dict[str, Any]:
    speed, ratio, share = _figures(result, row)
    return {
        "recipe": row.recipe,
        "variant": row.variant,
        "title": row.title,
        "batch": row.batch,
        "error": row.error,
        "slices": sum(sample.slices for sample in row.samples),
        "slices_per_s": speed.to_json() if speed else None,
        "ratio_to_plain": ratio.to_json() if ratio else None,
        "data_share": share.to_json() if share else None,
        "peak_mib": row.peak_mib if row.measured else None,
    }


def _cells(result: TrainingResult, row: TrainingRow) -> tuple[str, ...]:
    speed, ratio, share = _figures(result, row)
    height, width = recipe(row.recipe).build(SPEC.in_channels, SPEC.num_classes).input_size
    return (
        row.recipe,
        f"{height} x {width}",
        str(row.batch or NONE),
        row.title,
        spread_text(speed),
        spread_text(ratio),
        percent_text(share),
        f"{row.peak_mib:.0f}" if row.measured else NONE,
        f"not measured: {row.error}" if row.error else "",
    )


def _figures(result: TrainingResult, row: TrainingRow) -> tuple[Spread | None, Spread | None, Spread | None]:
    """Slices per second, their ratio to the plain loop, and the share of time for data (None for the plain loop)."""
    share = None if row.variant == BASELINE else row.spread(lambda sample: sample.data_share)
    return row.spread(lambda sample: sample.slices_per_s), row.ratio(result.baseline(row)), share
