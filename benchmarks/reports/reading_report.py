"""The files of `swinunet benchmark reading`: reading.md (ready to paste), reading.json (every round), reading.png."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from swinunet.benchmarks.measure.figures import Spread
from swinunet.benchmarks.measure.reading import WAYS, ReadingResult, ReadingRow, ReadingSample
from swinunet.benchmarks.reports.notes import closing_notes
from swinunet.benchmarks.reports.report import page, staged_files
from swinunet.benchmarks.reports.tables import NONE, spread_text
from swinunet.foundation.tables import Table

SCHEMA_VERSION = 1
FILES = ("reading.md", "reading.json", "reading.png")
_HEADS = (
    "folder", "read by", "inspect, files/s", "x plain", "decode, slices/s", "x plain", "cores", "volume, MiB",
    "MiB beyond",
    "remark",
)  # fmt: skip
_COLOURS = {"inspect": "#b7c9e2", "decode": "#4a79b8"}


def reading_table(result: ReadingResult) -> Table:
    """One row a folder and way of reading; the remarks only where there are any."""
    rows = [_cells(result, row) for row in result.rows]
    width = len(_HEADS) if any(row.error for row in result.rows) else len(_HEADS) - 1
    return Table("Reading DICOM", _HEADS[:width], [cells[:width] for cells in rows])


def reading_notes(result: ReadingResult) -> list[str]:
    """What a reader of the table must know, a sentence or two each."""
    plan = result.plan
    found = [
        f"Figures are the median of {plan.rounds} rounds (lowest to highest). In each round each folder is read once "
        "in each way, in a fresh process, with the files in the page cache; ratios are taken within a round.",
        "inspect: every header of the folder, and for the client the verdict on each series. decode: the pixels of one "
        "series, rescaled and stacked by position. The plain loop is pydicom's dcmread and pixel_array, one file after "
        "the other, without any check. Both find the same voxels, by their checksum.",
        "cores: CPU time over wall time, helper processes included, whose start (once a stage) is in the wall time.",
        f"MiB beyond: the process's peak RSS less its imports and the volume. {_helpers(result)}",
    ]
    return found + closing_notes(result.machine, plan.quick)


def write_reading_report(result: ReadingResult, folder: Path) -> list[Path]:
    """Write FILES into `folder`, each whole or not at all, in place of an earlier report. Raises OutputError."""
    with staged_files(folder, FILES) as (report, figures, picture):
        report.write_text(reading_markdown(result))
        figures.write_text(json.dumps(reading_json(result), indent=1) + "\n")
        plot_reading(result, picture)
    return [folder / name for name in FILES]


def reading_markdown(result: ReadingResult) -> str:
    """The report, as Markdown."""
    table, notes = reading_table(result), reading_notes(result)
    return page(
        "reading DICOM",
        "swinunet benchmark reading",
        result.machine,
        result.seconds,
        table,
        notes,
        "![reading](reading.png)",
    )


def reading_json(result: ReadingResult) -> dict[str, Any]:
    """The report, for programs: the figures of every round, not only their spread."""
    plan = result.plan
    return {
        "schema_version": SCHEMA_VERSION,
        "machine": asdict(result.machine),
        "plan": {"rounds": plan.rounds, "quick": plan.quick},
        "seconds": result.seconds,
        "rows": [_row(row) for row in result.rows],
        "notes": reading_notes(result),
    }


def plot_reading(result: ReadingResult, path: Path) -> None:
    """Median seconds of each folder and way, inspecting and decoding end to end."""
    measured = [row for row in result.rows if row.measured]
    figure = Figure((9, 1.4 + 0.5 * max(len(measured), 2)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for y, row in enumerate(measured):
        inspect, read = (_median(row.spread(stage)) for stage in (_inspect_s, _read_s))
        axes.barh(y, inspect, 0.7, color=_COLOURS["inspect"], label=None if y else "inspect")
        axes.barh(y, read, 0.7, left=inspect, color=_COLOURS["decode"], label=None if y else "decode")
        axes.annotate(f"{inspect + read:.1f} s", (inspect + read, y), (5, 0), textcoords="offset points", va="center")
    labels = [f"{row.case.title}\n{WAYS[row.way]}" for row in measured]
    axes.set_yticks(range(len(measured)), labels, fontsize=8)
    axes.set_ylim(len(measured) - 0.4, -0.6)
    axes.margins(x=0.12)
    axes.set_xlabel(f"seconds, median of {result.plan.rounds} rounds, on {result.machine.cores} cores", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    if measured:
        figure.legend(loc="outside upper right", ncols=2, frameon=False, fontsize=9)
    figure.savefig(path, format="png")


def _row(row: ReadingRow) -> dict[str, Any]:
    return {
        "case": row.case.name,
        "title": row.case.title,
        "way": row.way,
        "error": row.error,
        "rounds": [asdict(sample) for sample in row.samples],
    }


def _cells(result: ReadingResult, row: ReadingRow) -> tuple[str, ...]:
    plain = result.baseline(row)
    return (
        row.case.title,
        WAYS[row.way],
        spread_text(row.spread(lambda sample: sample.files / sample.inspect_s)),
        spread_text(row.speed_up(plain, _inspect_s)),
        spread_text(row.spread(lambda sample: sample.slices / sample.read_s)),
        spread_text(row.speed_up(plain, _read_s)),
        spread_text(row.spread(lambda sample: sample.cores)),
        f"{row.samples[0].volume_mib:.0f}" if row.measured else NONE,
        spread_text(row.spread(lambda sample: sample.beyond_mib)),
        f"not measured: {row.error}" if row.error else "",
    )


def _helpers(result: ReadingResult) -> str:
    """What the client's helper processes hold."""
    peaks = [sample.helper_mib for row in result.rows for sample in row.samples if row.way == "client"]
    largest = max(peaks, default=0.0)
    if not largest:
        return "No helper process was started."
    return f"A helper process (one a core, for many headers or compressed slices) held up to {largest:.0f} MiB."


def _inspect_s(sample: ReadingSample) -> float:
    return sample.inspect_s


def _read_s(sample: ReadingSample) -> float:
    return sample.read_s


def _median(spread: Spread | None) -> float:
    assert spread is not None
    return spread.median
