"""evaluation.png: every case as a dot, by class: Dice, HD95, NSD, and predicted against reference volume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from swinunet.evaluation.result import Evaluation
from swinunet.training.metrics.case_scores import ClassScore
from swinunet.training.metrics.statistics import Estimate

_COLOURS = ("#d1495b", "#3b6fb6", "#e0a030", "#2a9d8f", "#9b5fc0", "#e07b39", "#5f7f3f", "#8c6d5a")
_STRIP = 0.12  # from the row's middle down to its dots
_SPREAD = 0.17  # how far dots of a class scatter around its row
_LINEAR_MM = 20.0  # HD95 beyond this: a logarithmic axis
_FAILED = ("missed", "false_positive")


def plot(evaluation: Evaluation, path: Path) -> None:
    """Draw `evaluation` into `path` (.png)."""
    rows = len(evaluation.classes)
    figure = Figure(figsize=(15, 2.3 + max(1.0 * rows, 1.6)), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(1, 4, width_ratios=(4, 4, 3, 3.4))
    dice = figure.add_subplot(grid[0])
    others = [figure.add_subplot(grid[at], sharey=dice) for at in (1, 2)]
    for axes, key in zip((dice, *others), ("dice", "hd95_mm", "nsd"), strict=True):
        _draw_metric(axes, evaluation, key)
    _dress(dice, "Dice", "per case; higher is better", _mean(evaluation.mean["dice"], 3))
    _dress(others[0], "HD95", "mm per case; lower is better", _mean(evaluation.mean["hd95_mm"], 2))
    _dress(others[1], f"NSD at {evaluation.tolerance_mm:g} mm", "per case", _mean(evaluation.mean["nsd"], 3))
    _scale(dice, others[0], others[1], evaluation)
    _draw_volumes(figure.add_subplot(grid[3]), evaluation)
    figure.suptitle(
        f"{evaluation.model.title}\n{evaluation.data}, {evaluation.selection}. "
        "Dots: cases; boxes: quartiles; diamonds: mean and its 95 % interval; crosses: missed or false positive",
        fontsize=10,
    )
    figure.savefig(path, format="png")


def _draw_metric(axes: Axes, evaluation: Evaluation, key: str) -> None:
    """Strip, box and mean of one metric, a row a class."""
    jitter = np.random.default_rng(0).uniform(-_SPREAD, _SPREAD, len(evaluation.cases))
    for row, summary in enumerate(evaluation.classes):
        scores = [case.classes[row] for case in evaluation.cases]
        colour = _COLOURS[row % len(_COLOURS)]
        _strip(axes, [(s, y) for s, y in zip(scores, jitter, strict=True) if s.outcome == "found"], key, row, colour)
        _strip(axes, [(s, y) for s, y in zip(scores, jitter, strict=True) if s.outcome in _FAILED], key, row, None)
        _name_worst(axes, evaluation, key, row)
        present = [value for score in scores if (value := _value(score, key)) is not None]
        if present:
            _box(axes, present, row - 0.28, colour)
            _diamond(axes, summary.metrics[key], row - 0.28)


def _strip(axes: Axes, scores: list[tuple[ClassScore, float]], key: str, row: int, colour: str | None) -> None:
    """Dots at (score, row + jitter); crosses where `colour` is None, for failures."""
    x = np.array([_value(score, key) for score, _ in scores], float)
    y = np.array([row + _STRIP + jitter for _, jitter in scores])
    if colour is None:
        axes.plot(x, y, "x", color="#222222", markersize=6, markeredgewidth=1.4)
    else:
        axes.plot(x, y, "o", color=colour, alpha=0.85, markersize=4.8, markeredgecolor="white", markeredgewidth=0.5)


def _name_worst(axes: Axes, evaluation: Evaluation, key: str, row: int) -> None:
    """The name of the worst case of a class, under the row."""
    scored = [(value, case.case) for case in evaluation.cases if (value := _value(case.classes[row], key)) is not None]
    if len(scored) > 1 and key != "nsd":
        value, name = max(scored) if key == "hd95_mm" else min(scored)
        side = "right" if key == "hd95_mm" else "left"
        axes.annotate(name, (value, row + _STRIP + _SPREAD + 0.1), fontsize=7, color="#555555", ha=side, va="center")


def _box(axes: Axes, values: list[float], y: float, colour: str) -> None:
    drawn = axes.boxplot(
        values,
        positions=[y],
        widths=0.2,
        orientation="horizontal",
        showfliers=False,
        patch_artist=True,
        manage_ticks=False,
    )
    for part in (*drawn["boxes"], *drawn["whiskers"], *drawn["caps"], *drawn["medians"]):
        part.set_color(colour)
    drawn["boxes"][0].set(facecolor=colour, alpha=0.3)


def _diamond(axes: Axes, estimate: Estimate, y: float) -> None:
    assert estimate.mean is not None
    if estimate.low is not None and estimate.high is not None:
        axes.plot([estimate.low, estimate.high], [y, y], color="black", linewidth=2.4, zorder=4)
    axes.plot([estimate.mean], [y], "D", color="black", markersize=5, markeredgecolor="white", zorder=5)


def _draw_volumes(axes: Axes, evaluation: Evaluation) -> None:
    """Predicted against reference ml of every case and class, with the line on which both agree."""
    top = 0.0
    for row, summary in enumerate(evaluation.classes):
        scores = [case.classes[row] for case in evaluation.cases if case.classes[row].outcome != "absent"]
        reference, predicted = [s.reference_ml for s in scores], [s.predicted_ml for s in scores]
        top = max([top, *reference, *predicted])
        colour = _COLOURS[row % len(_COLOURS)]
        axes.scatter(reference, predicted, s=20, color=colour, edgecolors="white", linewidths=0.5, label=summary.name)
    axes.plot([0, top], [0, top], color="#888888", linewidth=1, zorder=0)
    _dress(
        axes,
        "Volume",
        "reference, ml",
        _mean(evaluation.mean["absolute_volume_error_ml"], 3, "mean absolute error, ml"),
    )
    axes.set_ylabel("predicted, ml", fontsize=9)
    axes.tick_params(axis="y", labelsize=8)
    axes.grid(axis="y", color="#e9e9e9", linewidth=0.7)
    if len(evaluation.classes) <= len(_COLOURS):
        axes.legend(fontsize=7, frameon=False, loc="lower right")


def _scale(dice: Axes, hd95: Axes, nsd: Axes, evaluation: Evaluation) -> None:
    """Class names and their means on the left; the two shares up to 1; a log scale where one miss is far out."""
    dice.set_yticks(range(len(evaluation.classes)), [summary.name for summary in evaluation.classes], fontsize=9)
    dice.set_ylim(len(evaluation.classes) - 0.5, -0.6)
    for axes in (hd95, nsd):
        axes.tick_params(axis="y", labelleft=False)
    for axes in (dice, nsd):
        axes.set_xlim(left=max(-0.02, axes.get_xlim()[0]), right=min(1.02, max(1.0, axes.get_xlim()[1])))
    if hd95.get_xlim()[1] > _LINEAR_MM:
        hd95.set_xscale("symlog", linthresh=1)
        hd95.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    hd95.set_xlim(left=0)


def _dress(axes: Axes, title: str, label: str, aside: str) -> None:
    axes.set_title(title, loc="left", fontweight="bold", fontsize=11)
    axes.set_title(aside, loc="right", fontsize=9, color="#444444")
    axes.set_xlabel(label, fontsize=9)
    axes.grid(axis="x", color="#e9e9e9", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)


def _mean(estimate: Estimate, digits: int, what: str = "mean") -> str:
    return "" if estimate.mean is None else f"{what} {estimate.mean:.{digits}f}"


def _value(score: ClassScore, key: str) -> float | None:
    value: float | None = getattr(score, key)
    return value
