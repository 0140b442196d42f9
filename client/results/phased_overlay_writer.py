"""The overlay PNG of a series in time: slices of the fullest and the emptiest phase, and the curves of volumes.

For a heart these are end-diastole and end-systole. Slices are shown as they were acquired.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from swinunet.client.dicom import read_volume
from swinunet.client.results.cardiac_function import cardiac_functions
from swinunet.client.results.overlay_panels import FAINT, TEXT, draw_mask
from swinunet.client.results.overlay_scene import automatic_window
from swinunet.client.results.phased_segmentation import PhasedSegmentation
from swinunet.client.results.result import Result
from swinunet.foundation.files import written_aside
from swinunet.imaging import Volume, Window, plane_view

_MOST_SLICES = 6  # in a row
_PANEL_INCHES: Final = 2.3
_CURVE_INCHES: Final = 2.6
_MARGIN_MM = 20.0  # shown around what was found
_DPI = 100
_BACKGROUND = "#101214"
_LETTERS = (("R", "L"), ("A", "P"), ("F", "H"))  # towards lower and higher LPS mm
_ON_IMAGE: dict[str, Any] = {"path_effects": [withStroke(linewidth=2.5, foreground="black")]}


def write(result: Result, path: Path) -> None:
    """Write the overlay. Raises OutputError where a de-identified one would show burnt-in text."""
    found, spec = result.phased, result.found.spec
    assert found
    result.require_showable()
    rows = _rows(found)
    figure = Figure(figsize=(_MOST_SLICES * _PANEL_INCHES, len(rows) * (_PANEL_INCHES + 0.25) + _CURVE_INCHES + 0.6))
    FigureCanvasAgg(figure)
    height = figure.get_figheight()
    title = f"{spec.name}, version {spec.version}"
    figure.text(0.012, 1 - 0.14 / height, title, color=TEXT, size=14, weight="bold", va="top")
    slices = _slices(found, [phase for _, phase in rows])
    box = _box(found, [phase for _, phase in rows])
    bottom = (_CURVE_INCHES + 0.1) / height
    grid = figure.add_gridspec(
        len(rows), _MOST_SLICES, left=0.005, right=0.995, top=1 - 0.7 / height, bottom=bottom, wspace=0.02, hspace=0.12
    )
    for row, (name, phase) in enumerate(rows):
        volume = (
            result.loaded.volume if phase == 0 else read_volume(result.loaded.phases[phase], result.loaded.allow).volume
        )
        rule = spec.intensity
        window = (rule.low, rule.high) if isinstance(rule, Window) else automatic_window(volume.voxels)
        for column, k in enumerate(slices):
            axes = figure.add_subplot(grid[row, column])
            _draw_slice(axes, volume, found, phase, k, box, window)
            if column == 0:
                axes.set_title(f"{name}: {found.phases[phase].text}", color=TEXT, size=10, loc="left", pad=3)
                _draw_letters(axes, volume.affine)
    space = figure.add_axes((0.055, 0.8 / height, 0.93, (_CURVE_INCHES - 1.1) / height))
    _draw_curves(space, found, rows)
    figure.text(0.012, 0.06 / height, _caption(result), color=FAINT, size=9, va="bottom")
    with written_aside(path) as aside:
        figure.savefig(aside, format="png", dpi=_DPI, facecolor=_BACKGROUND, metadata={"Software": "swinunet"})


def _rows(found: PhasedSegmentation) -> list[tuple[str, int]]:
    """What each row is called, and its phase, from 0: a ventricle's extremes, or those of all structures together."""
    if functions := cardiac_functions(found):
        return [("End-diastole", functions[0].ed_phase - 1), ("End-systole", functions[0].es_phase - 1)]
    totals = [sum(each.voxels for each in measured) for measured in found.by_phase]
    if not max(totals):
        return [("Nothing found", 0)]
    return [("Largest", int(np.argmax(totals))), ("Smallest", int(np.argmin(totals)))]


def _slices(found: PhasedSegmentation, phases: list[int]) -> list[int]:
    """Numbers of the slices that are shown: evenly among those that hold something in one of the phases."""
    held = np.any([found.stack.phase(phase).any(axis=(0, 1)) for phase in phases], axis=0)
    among = np.flatnonzero(held) if held.any() else np.arange(len(held))
    return [int(k) for k in among[np.linspace(0, len(among) - 1, min(_MOST_SLICES, len(among))).round().astype(int)]]


def _box(found: PhasedSegmentation, phases: list[int]) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of what is shown of each slice, in mm from its corner: a square."""
    inside = np.any([found.stack.phase(phase).any(axis=2) for phase in phases], axis=0)  # [columns, rows]
    column_mm, row_mm, _ = found.volume.spacing_mm
    columns, rows = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(columns):
        columns, rows = np.arange(inside.shape[0]), np.arange(inside.shape[1])
    spans = np.array([[columns[0], columns[-1] + 1], [rows[0], rows[-1] + 1]]) * [[column_mm], [row_mm]]
    half = float(np.ptp(spans, axis=1).max()) / 2 + _MARGIN_MM
    x, y = spans.mean(axis=1)
    return x - half, x + half, y + half, y - half


def _draw_slice(
    axes: Axes,
    volume: Volume,
    found: PhasedSegmentation,
    phase: int,
    k: int,
    box: tuple[float, float, float, float],
    window: tuple[float, float],
) -> None:
    image = plane_view(volume.voxels, volume.affine, "acquired")[k]
    labels = plane_view(found.stack.phase(phase), volume.affine, "acquired")[k]
    column_mm, row_mm, _ = volume.spacing_mm
    extent = (0.0, image.shape[1] * column_mm, image.shape[0] * row_mm, 0.0)
    axes.imshow(image, cmap="gray", vmin=window[0], vmax=window[1], interpolation="bicubic", extent=extent)
    draw_mask(axes, labels, found.segments, extent, thin=False)
    axes.set_xlim(box[0], box[1])
    axes.set_ylim(box[2], box[3])
    axes.set_facecolor("black")
    axes.set_xticks([])
    axes.set_yticks([])
    area = np.count_nonzero(labels) * column_mm * row_mm / 100
    axes.text(0.03, 0.97, f"slice {k + 1}", transform=axes.transAxes, color=TEXT, size=9, va="top", **_ON_IMAGE)
    axes.text(
        0.03, 0.03, f"{area:.1f} cm\u00b2", transform=axes.transAxes, color=TEXT, size=9, va="bottom", **_ON_IMAGE
    )


def _draw_letters(axes: Axes, affine: np.ndarray) -> None:
    """The patient's direction nearest to each edge: left, right, top, bottom."""
    places = ((0.02, 0.5, "left", "center"), (0.98, 0.5, "right", "center"), (0.5, 0.98, "center", "top"),
              (0.5, 0.02, "center", "bottom"))  # fmt: skip
    signs = ((0, -1), (0, 1), (1, -1), (1, 1))
    for (x, y, ha, va), (axis, sign) in zip(places, signs, strict=True):
        direction = affine[:3, axis] * sign
        nearest = int(np.abs(direction).argmax())
        letter = _LETTERS[nearest][int(direction[nearest] > 0)]
        axes.text(
            x, y, letter, transform=axes.transAxes, ha=ha, va=va, color="#ffd75f", size=11, weight="bold", **_ON_IMAGE
        )


def _draw_curves(axes: Axes, found: PhasedSegmentation, rows: list[tuple[str, int]]) -> None:
    """The volume of each structure over the phases, and where the rows are."""
    times = [phase.time_ms for phase in found.phases]
    known = [time for time in times if time is not None]
    x = known if len(known) == len(times) else [float(phase.number) for phase in found.phases]
    axes.set_facecolor(_BACKGROUND)
    for at, segment in enumerate(found.segments):
        color = [channel / 255 for channel in segment.label.color]
        y = [measured[at].volume_ml for measured in found.by_phase]
        axes.plot(x, y, "o-", color=color, ms=4, lw=1.8, label=segment.text)
    for name, phase in rows:
        axes.axvline(x[phase], color=FAINT, lw=0.8, ls=(0, (4, 3)), zorder=0)
        axes.text(x[phase], 0.03, f" {name}", transform=axes.get_xaxis_transform(), color=FAINT, size=9, va="bottom")
    axes.set_ylim(0, 1.2 * max(1e-3, *(each.volume_ml for measured in found.by_phase for each in measured)))
    axes.margins(x=0.01)
    axes.set_xlabel("ms after the trigger" if x is known else "phase", color=TEXT, size=9)
    axes.set_ylabel("ml", color=TEXT, size=9)
    axes.tick_params(colors=TEXT, labelsize=9)
    axes.grid(color="#2a2f34", lw=0.6)
    for spine in axes.spines.values():
        spine.set_color("#33383d")
    axes.legend(loc="upper right", fontsize=9, facecolor=_BACKGROUND, edgecolor="#33383d", labelcolor=TEXT)


def _caption(result: Result) -> str:
    found = result.phased
    assert found
    lines = [
        f"{each.structure}: end-diastolic volume {each.ed_ml:.1f} ml, end-systolic {each.es_ml:.1f} ml, stroke volume "
        f"{each.stroke_ml:.1f} ml, ejection fraction {each.ejection_fraction:.1f} %"
        for each in cardiac_functions(found)
    ]
    return "\n".join(lines)
