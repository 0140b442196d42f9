"""run.md and run.html: a finished run on one page, its settings, its validations, curves and overlays."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from swinunet.foundation.files import written_aside
from swinunet.foundation.report_page import write_report_page
from swinunet.foundation.tables import Table
from swinunet.imaging import ModelSpec
from swinunet.training.loop.run_folder import read_log
from swinunet.training.loop.settings import TrainSettings

REPORT_NAME = "run"
PICTURES = {
    "curves.png": "Loss, learning rate and Dice of each structure over the epochs",
    "overlays.png": "Reference and prediction of the best, the median and the worst validation case",
}


def write_run_report(run: Path, spec: ModelSpec, settings: TrainSettings) -> None:
    """Write both files of a run whose log and pictures are there. Raises OutputError if they cannot be written."""
    with written_aside(run / f"{REPORT_NAME}.md") as aside:
        aside.write_text(run_markdown(read_log(run), spec, settings), encoding="utf-8")
    write_report_page(run, REPORT_NAME)


def run_markdown(log: list[dict[str, Any]], spec: ModelSpec, settings: TrainSettings) -> str:
    """The report as Markdown. log: the records of log.jsonl."""
    judged = [record for record in log if "dice" in record]
    parts = [f"# Training run: {spec.name}", _summary(log, judged)]
    parts += [f"![{shows}]({name})" for name, shows in PICTURES.items()]
    validations, chosen = _validations(judged, spec), _settings(settings)
    parts += [f"## {validations.title}\n\n{validations.markdown()}"]
    parts += [f"## {chosen.title}\n\n{chosen.markdown(figures_to_the_right=False)}"]
    return "\n\n".join(parts) + "\n"


def _summary(log: list[dict[str, Any]], judged: list[dict[str, Any]]) -> str:
    seconds = sum(record["seconds"] + record.get("validation_seconds", 0.0) for record in log)
    took = f"{seconds / 60:.1f} minutes" if seconds > 100 else f"{seconds:.0f} seconds"
    best = max(judged, key=lambda record: record["dice"], default=None)
    found = f" Best validation Dice {best['dice']:.4f}, in epoch {best['epoch']}." if best else ""
    return f"{len(log)} epochs in {took}.{found}"


def _validations(judged: list[dict[str, Any]], spec: ModelSpec) -> Table:
    heads = ("epoch", "loss", "Dice", *(f"Dice {label.name}" for label in spec.labels), "slices/s", "peak MiB")
    rows = [
        (
            str(record["epoch"]), f"{record['loss']:.4f}", f"{record['dice']:.4f}", *_per_class(record, spec),
            f"{record['slices_per_second']:.1f}", f"{record['peak_memory_mb']:.0f}",
        )
        for record in judged
    ]  # fmt: skip
    return Table("Validations", heads, rows)


def _per_class(record: dict[str, Any], spec: ModelSpec) -> list[str]:
    scores = record["dice_per_class"]
    values = list(scores.values()) if isinstance(scores, dict) else list(scores)
    return ["-" if value is None or value != value else f"{value:.4f}" for value in values[-len(spec.labels) :]]


def _settings(settings: TrainSettings) -> Table:
    values = {name: value for name, value in dataclasses.asdict(settings).items() if not isinstance(value, dict)}
    return Table("Settings", ("setting", "value"), [(name, _value(value)) for name, value in values.items()])


def _value(value: object) -> str:
    return f"`{value}`" if str(value) else "(none)"
