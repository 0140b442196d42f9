"""An evaluation's files: evaluation.json (everything), evaluation.md (ready to paste), its picture, evaluation.html."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from swinunet.evaluation.plot import plot
from swinunet.evaluation.result import DEFINITIONS, METRICS, Evaluation, Metric
from swinunet.evaluation.summary import score_array
from swinunet.foundation.files import written_aside
from swinunet.foundation.report_page import write_report_page
from swinunet.foundation.tables import Table
from swinunet.training.metrics.statistics import Estimate

JSON_NAME, MARKDOWN_NAME, PLOT_NAME = "evaluation.json", "evaluation.md", "evaluation.png"
HTML_NAME = "evaluation.html"
REPORT_NAMES = (JSON_NAME, MARKDOWN_NAME, PLOT_NAME, HTML_NAME)
_WORST = 5


def write_report(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write the files, each whole or not at all, in place of an earlier report. Raises OutputError."""
    paths = [folder / name for name in REPORT_NAMES]
    with written_aside(paths[0]) as aside:
        aside.write_text(evaluation.to_json())
    with written_aside(paths[1]) as aside:
        aside.write_text(markdown(evaluation))
    with written_aside(paths[2]) as aside:
        plot(evaluation, aside)
    write_report_page(folder, HTML_NAME.removesuffix(".html"))
    return paths


def summary_table(evaluation: Evaluation) -> Table:
    """A row a class, and one for their mean: each metric with its interval, and what was missed."""
    titles = [_title(metric, evaluation.tolerance_mm) for metric in METRICS]
    heads = ("structure", *titles, "cases", "missed", "false pos.", "absent")
    rows = [
        (each.name, *_figures(each.metrics), *map(str, (each.scored, each.missed, each.false_positives, each.absent)))
        for each in evaluation.classes
    ]
    if len(rows) > 1:
        counts = (len(evaluation.cases), *(_total(evaluation, key) for key in ("missed", "false_positives", "absent")))
        rows.append(("mean", *_figures(evaluation.mean), *map(str, counts)))
    return Table("Mean over cases (95 % bootstrap interval)", heads, tuple(rows))


def worst_table(evaluation: Evaluation) -> Table:
    """The cases of the lowest mean Dice, worst first."""
    scores = score_array(evaluation.cases)
    scored = [at for at in range(len(scores)) if np.isfinite(scores[at]).any()]
    order = sorted(scored, key=lambda at: float(np.nanmean(scores[at, :, 0])))[:_WORST]
    heads = ("case", *(f"Dice {each.name}" for each in evaluation.classes), "mean Dice", "mean HD95 (mm)")
    rows = tuple(
        (
            evaluation.cases[at].case,
            *(_number(score, 3) for score in scores[at, :, 0]),
            _number(np.nanmean(scores[at, :, 0]), 3),
            _number(np.nanmean(scores[at, :, 1]), 2),
        )
        for at in order
    )
    return Table("Worst cases", heads, rows)


def markdown(evaluation: Evaluation) -> str:
    """The report as Markdown."""
    model, seconds = evaluation.model, [case.seconds for case in evaluation.cases]
    speed = "" if model.kind == "predictions" else f", {np.median(seconds):.2f} s a case (median, shared machine)"
    parts = [
        f"# Evaluation: {model.title}",
        f"{evaluation.data}: {evaluation.selection}{speed}. {evaluation.created}, {evaluation.software}.",
        f"SHA-256 of the {model.kind}: `{model.sha256 or 'not known'}`",
        summary_table(evaluation).markdown(),
        f"Mean over cases with the 95 % bootstrap interval ({evaluation.resamples} resamples of cases, seed "
        f"{evaluation.seed}).",
        "\n".join(f"**{note}**" for note in evaluation.notes),
        f"![Dice, HD95 and volume of every case]({PLOT_NAME})",
        "## Worst cases",
        worst_table(evaluation).markdown(),
        "## What the figures mean",
        "\n".join(f"- {key}: {text}" for key, text in DEFINITIONS.items()),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _title(metric: Metric, tolerance_mm: float) -> str:
    return f"NSD at {tolerance_mm:g} mm" if metric.key == "nsd" else metric.title


def _figures(metrics: dict[str, Estimate]) -> list[str]:
    return [_figure(metrics[metric.key], metric) for metric in METRICS]


def _figure(estimate: Estimate, metric: Metric) -> str:
    sign = "+" if metric.key == "volume_error_ml" else ""
    texts = [
        "-" if value is None else f"{value:{sign}.{metric.digits}f}"
        for value in (estimate.mean, estimate.low, estimate.high)
    ]
    return texts[0] if estimate.low is None else f"{texts[0]} ({texts[1]} to {texts[2]})"


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else "-"


def _total(evaluation: Evaluation, key: str) -> int:
    return sum(getattr(each, key) for each in evaluation.classes)
