"""The overlay PNG: a mask on its image in three planes through each structure, as radiologists look at them.

Matplotlib's object interface on the Agg canvas: no display, no global state. No patient data: only what callers pass
as title and caption is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from swinunet.client.results.location_words import how_located, not_located
from swinunet.client.results.overlay_panels import FAINT, TEXT, draw_legend, draw_panel
from swinunet.client.results.overlay_scene import PLANES, BoxOutline, Scene, automatic_window, find_foci, overview_of
from swinunet.client.results.report_writer import location_of
from swinunet.client.results.result import Result
from swinunet.client.segments import Measurement
from swinunet.foundation.files import written_aside
from swinunet.imaging import Volume, Window

_PANEL_INCHES, _LEGEND_INCHES, _DPI = 3.6, 3.0, 100
_LINE_INCHES = 0.16  # of the caption
_BACKGROUND = "#101214"
_ALIGNED = 0.996  # cosine of 5 degrees: the angle up to which an axis counts as the patient's


def write(result: Result, path: Path) -> None:
    """Write the overlay of a result. Raises OutputError where a de-identified one would show burnt-in text."""
    result.require_showable()
    found, spec = result.found, result.found.spec
    rule = spec.intensity
    flags = [f"{m.segment.text}: {flag.detail}" for m, q in result.judged() for flag in q.flags]
    write_overlay(
        path, found.volume, found.mask, found.measurements, title=f"{spec.name}, version {spec.version}",
        caption="\n".join([*_how_located(result), *flags]),
        window=(rule.low, rule.high) if isinstance(rule, Window) else None,
        boxes=[roi.ranges(found.volume) for roi in found.rois],
    )  # fmt: skip


def write_overlay(
    path: Path,
    volume: Volume,
    mask: np.ndarray,
    measurements: Sequence[Measurement],
    *,
    title: str,
    caption: str = "",
    window: tuple[float, float] | None = None,
    boxes: Sequence[tuple[slice, slice, slice]] = (),
) -> None:
    """Write a PNG: the whole volume in three planes, then each side's structures close up, with volumes in ml.

    mask: uint8 [I, J, K] on the volume's grid, with what `measurements` say in it. window: lowest and highest intensity
    shown; by default the 1st and 99.5th percentile of what is not background; the caption begins with it, as window
    width and level. boxes: index ranges that the model saw, which are outlined. Oblique volumes are shown along their
    own axes, and the caption says so.
    Raises OutputError if the file cannot be written.
    """
    lps = volume.lps_view()
    scene = Scene(
        volume, mask, tuple(measurements), window or automatic_window(volume.voxels), lps.spacing_mm, lps.shape,
        tuple(BoxOutline.of_ranges(volume, box) for box in boxes),
    )  # fmt: skip
    foci = find_foci(scene)
    overview = overview_of(scene, foci)
    rows = [*([overview] if overview else []), *foci]
    figure, bottom_inches = _figure(len(rows), title, _caption(scene, caption))
    grid = figure.add_gridspec(
        len(rows), 4, width_ratios=[_PANEL_INCHES] * 3 + [_LEGEND_INCHES],
        left=0.01, right=0.99, top=1 - 0.5 / figure.get_figheight(), bottom=bottom_inches / figure.get_figheight(),
        wspace=0.03, hspace=0.03,
    )  # fmt: skip
    for row, focus in enumerate(rows):
        for column, plane in enumerate(PLANES):
            draw_panel(figure.add_subplot(grid[row, column]), scene, focus, plane, foci if focus is overview else [])
        draw_legend(figure.add_subplot(grid[row, 3]), focus)
    with written_aside(path) as aside:
        figure.savefig(aside, format="png", dpi=_DPI, facecolor=_BACKGROUND, metadata={"Software": "swinunet"})


def _how_located(result: Result) -> list[str]:
    """Who found the boxes, and how sure that is; empty if the user drew them."""
    if result.found.located is None:
        return []
    location = location_of(result.found.located)
    return [f"{how_located(location)} (yellow)", *not_located(location)]


def _caption(scene: Scene, caption: str) -> str:
    low, high = scene.window
    shown = f"W {high - low:.4g}  L {(high + low) / 2:.4g}"
    cosines = np.abs(scene.volume.affine[:3, :3]) / scene.volume.spacing_mm
    if cosines.max(axis=0).min() < _ALIGNED:
        shown += "   oblique: shown along its own axes, letters name the nearest direction"
    return f"{shown}\n{caption}" if caption else shown


def _figure(rows: int, title: str, caption: str) -> tuple[Figure, float]:
    """The figure and how much of it, from below, the caption takes, in inches."""
    bottom = 0.15 + _LINE_INCHES * (caption.count("\n") + 1)
    width, height = 3 * _PANEL_INCHES + _LEGEND_INCHES, rows * _PANEL_INCHES + 0.5 + bottom
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    figure.text(0.012, 1 - 0.16 / height, title, color=TEXT, size=14, weight="bold", va="top")
    figure.text(0.012, 0.09 / height, caption, color=FAINT, size=9, va="bottom")
    return figure, bottom
