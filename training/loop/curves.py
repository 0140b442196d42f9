"""What a run looks like when it is over: its curves, and its best, median and worst validation case."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from torch import nn

from swinunet.foundation.files import written_aside
from swinunet.imaging import ModelSpec, StudySlices
from swinunet.training.data.cases import Case
from swinunet.training.loop.hardware import Precision
from swinunet.training.loop.validation import predict_labels
from swinunet.training.metrics.case_scores import IGNORED


def draw_curves(path: Path, records: list[dict[str, Any]], spec: ModelSpec) -> None:
    """Loss and learning rate, and Dice of each class, over epochs (records as in `log.jsonl`), as a PNG."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [record["epoch"] for record in records]
    left.plot(epochs, [record["loss"] for record in records], color="black", marker=_marker(epochs))
    left.set(xlabel="epoch", ylabel="training loss")
    rate = left.twinx()
    rate.plot(
        epochs, [record["learning_rate"] for record in records], color="silver", linestyle="--", marker=_marker(epochs)
    )
    rate.set_ylabel("learning rate (dashed)")
    judged = [record for record in records if "dice" in record]
    at = [record["epoch"] for record in judged]
    for index, label in enumerate(spec.labels):
        scores = [record["dice_per_class"][index] for record in judged]
        right.plot(at, np.array(scores, float), color=_rgb(label.color), label=label.name, marker=_marker(at))
    right.plot(at, [record["dice"] for record in judged], color="black", label="mean", marker=_marker(at))
    right.set(xlabel="epoch", ylabel="validation Dice, native grid")
    right.grid(alpha=0.3)
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
    if len(spec.labels) <= 12:
        right.legend()
    _save(figure, path)


def draw_overlays(
    path: Path, model: nn.Module, cases: Sequence[Case], scores: np.ndarray, spec: ModelSpec, precision: Precision
) -> None:
    """The best, the median and the worst case, each in its three fullest slices (all where it has fewer), as a PNG.

    scores: Dice [cases, classes - 1], NaN where a class is absent from both; cases without any class are left out.
    Reference solid, prediction dashed, in the classes' colours, on the network's grid.
    """
    present = [index for index in range(len(cases)) if not np.isnan(scores[index]).all()]
    order = sorted(present, key=lambda index: -float(np.nanmean(scores[index])))
    ranks = {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
    chosen = list(dict.fromkeys(ranks.values()))
    columns = min(_SLICES, max(len(cases[index].images) for index in chosen))
    figure = Figure(figsize=(10, 0.5 + 3.35 * len(chosen)), layout="constrained")
    for row, index in zip(figure.subplots(len(chosen), columns, squeeze=False), chosen, strict=True):
        rank = " and ".join(name for name, ranked in ranks.items() if ranked == index)
        case = cases[index]
        predicted = predict_labels(model, case, precision)
        slices = StudySlices(case.study, spec)
        area = ((case.labels > 0) & (case.labels != IGNORED)).sum(axis=(1, 2))
        shown = sorted(np.argsort(area)[-_SLICES:])
        for axes, at in zip(row, shown, strict=False):
            _overlay(axes, case, int(at), slices.network_labels(predicted, int(at)), spec)
        for axes in row[len(shown) :]:
            axes.remove()
        row[0].set_title(f"{rank}: {case.name}, Dice {np.nanmean(scores[index]):.3f}", loc="left", fontsize=10)
    for axes in figure.axes:
        axes.set_axis_off()
    names = [Line2D([], [], color=_rgb(label.color), label=label.name) for label in spec.labels[:12]]
    styles = [Line2D([], [], color="gray", linestyle=style, label=name) for style, name in _STYLES]
    figure.legend(handles=names + styles, loc="outside lower center", ncols=6)
    _save(figure, path)


_SLICES = 3
_FEW = 8  # points, up to which each has a dot
_STYLES: tuple[tuple[Literal["-", "--"], str], ...] = (("-", "reference"), ("--", "prediction"))


def _overlay(axes: Axes, case: Case, at: int, predicted: np.ndarray, spec: ModelSpec) -> None:
    image = case.images[at, spec.context_slices // 2].astype(np.float32)
    row_mm, column_mm = spec.spacing_mm or (1.0, 1.0)
    axes.imshow(image, cmap="gray", aspect=row_mm / column_mm)
    for label in spec.labels:
        for mask, (style, _) in zip((case.labels[at], predicted), _STYLES, strict=True):
            inside = mask == label.index
            if inside.any() and not inside.all():
                axes.contour(inside, levels=[0.5], colors=[_rgb(label.color)], linestyles=style, linewidths=1.2)


def _marker(points: list[int]) -> str:
    """A dot where there are too few points for a line to be seen."""
    return "o" if len(points) < _FEW else ""


def _rgb(color: tuple[int, int, int]) -> tuple[float, float, float]:
    return color[0] / 255, color[1] / 255, color[2] / 255


def _save(figure: Figure, path: Path) -> None:
    with written_aside(path) as aside:
        FigureCanvasAgg(figure).print_png(aside)
