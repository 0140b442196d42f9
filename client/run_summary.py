"""The summary of a run of several inputs, beside their folders of results: a row for each structure of each input.

summary.csv is for a spreadsheet, summary.json says the same for programs. Inputs that an earlier run has segmented are
in it, from their reports, so that a run that was stopped and goes on ends with the summary of all.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from swinunet.client.results.formats import FILE_NAMES, SUMMARY_NAMES
from swinunet.client.results.report import Report
from swinunet.client.study_queue import Outcome
from swinunet.foundation.files import unwritable
from swinunet.foundation.leftovers import work_folder
from swinunet.foundation.tables import spreadsheet_cell
from swinunet.foundation.terminal import printable

SUMMARY_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class StructureRow:
    """One structure of one input. flags: what of it should be looked at."""

    structure: str
    laterality: str | None
    volume_ml: float
    voxels: int
    mean_intensity: float | None
    confidence: float | None
    flags: tuple[str, ...]


@dataclass(frozen=True)
class InputRow:
    """One input. result: its folder. input: its name, a pseudonym if it is de-identified. why: it was not segmented."""

    result: str
    input: str
    outcome: str
    why: str
    seconds: float | None
    model: str
    report: str | None
    structures: tuple[StructureRow, ...]


def input_row(outcome: Outcome, deidentified: bool = False) -> InputRow:
    """What a summary says of an outcome. De-identified ones give no reason: it may name files."""
    report, folder = outcome.report, printable(outcome.folder.name)
    return InputRow(
        result=folder,
        input=report.input.name if report else "",
        outcome=outcome.status,
        why="" if deidentified else printable(outcome.reason),
        seconds=round(sum(report.timings_s.values()), 1) if report else None,
        model=f"{report.model.name} {report.model.version}" if report else "",
        report=f"{folder}/{FILE_NAMES['json']}" if report and "json" in report.outputs else None,
        structures=tuple(_structures(report)) if report else (),
    )


def write_summary(folder: Path, outcomes: Sequence[Outcome], deidentified: bool = False) -> None:
    """Write both files, each whole or not at all. Raises OutputError."""
    rows = [input_row(outcome, deidentified) for outcome in outcomes]
    said = {
        "format": "swinunet-summary",
        "schema_version": SUMMARY_SCHEMA_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "software": f"swinunet {version('swinunet')}",
        "inputs": [asdict(row) for row in rows],
    }
    csv_name, json_name = SUMMARY_NAMES
    contents = {csv_name: summary_csv(rows), json_name: json.dumps(said, indent=1, ensure_ascii=False) + "\n"}
    try:
        with work_folder(folder) as work:
            for name, content in contents.items():
                (work / name).write_text(content, encoding="utf-8", newline="")
                (work / name).replace(folder / name)
    except OSError as error:
        raise unwritable(folder, error) from None


def summary_csv(rows: Sequence[InputRow]) -> str:
    """The rows as CSV (RFC 4180 but for the line ends): one for each structure, one for an input without any.

    A cell that a spreadsheet would compute begins with an apostrophe.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ("result", "input", "outcome", "structure", "side", "volume_ml", "voxels", "mean_intensity", "confidence",
         "look_at", "seconds", "model", "why")
    )  # fmt: skip
    for row in rows:
        for each in row.structures or (None,):
            found = (
                (each.structure, each.laterality, each.volume_ml, each.voxels, each.mean_intensity, each.confidence,
                 "; ".join(each.flags))
                if each else ("",) * 7
            )  # fmt: skip
            cells = (row.result, row.input, row.outcome, *found, row.seconds, row.model, row.why)
            writer.writerow([spreadsheet_cell(cell) for cell in cells])
    return text.getvalue()


def _structures(report: Report) -> Iterator[StructureRow]:
    for each in report.structures:
        flags = tuple(flag.kind.replace("_", " ") for flag in each.flags)
        yield StructureRow(
            each.name, each.laterality, each.volume_ml, each.voxels, each.mean_intensity, each.confidence, flags
        )
