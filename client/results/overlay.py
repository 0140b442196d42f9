"""The overlay PNG: a mask on its image in three planes through each structure, as radiologists look at them.

Matplotlib's object interface on the Agg canvas: no display, no global state. No patient data: only what callers pass
as title and caption is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from client.results.segments import Measurement, Segment, measure
from imaging import Volume, plane_view
from imaging.spec import Plane
from swinunet.files import written_aside

_PANEL_INCHES, _LEGEND_INCHES, _DPI = 3.6, 3.0, 100
_BACKGROUND, _TEXT, _FAINT = "#101214", "#f2f2f2", "#9aa4ad"
_ON_IMAGE: dict[str, Any] = {"path_effects": [withStroke(linewidth=2.5, foreground="black")]}
_MARGIN_MM, _MIN_FIELD_MM = 12.0, 50.0

# For each plane, the LPS axes of stack, rows (down the screen) and columns (to the right), and the letters at the
# left, right, top and bottom. Seen from the feet and from the front: the patient's right is on the left.
_PLANES: dict[Plane, tuple[int, int, int, str]] = {
    "axial": (2, 1, 0, "RLAP"),
    "coronal": (1, 2, 0, "RLHF"),
    "sagittal": (0, 2, 1, "APHF"),
}


@dataclass(frozen=True)
class _Scene:
    """What every panel draws from. Positions on screen are LPS voxel indices times spacing, in mm."""

    volume: Volume
    mask: np.ndarray  # uint8 [I, J, K]
    segments: tuple[Segment, ...]
    window: tuple[float, float]
    spacing_mm: tuple[float, float, float]  # along L, P, S
    shape: tuple[int, int, int]  # along L, P, S


@dataclass(frozen=True)
class _Focus:
    """One row of panels: the planes through `centre`, the part of them that is shown, and the legend's lines."""

    name: str
    lines: tuple[tuple[str, float, tuple[int, int, int] | None], ...]  # text, ml, colour
    centre: tuple[int, int, int]  # LPS voxel indices
    low_mm: np.ndarray  # [3], along L, P, S
    high_mm: np.ndarray  # [3]

    @property
    def total_ml(self) -> float:
        return sum(volume_ml for _, volume_ml, _ in self.lines)


def write_overlay(
    path: Path,
    volume: Volume,
    mask: np.ndarray,
    segments: Sequence[Segment],
    *,
    title: str,
    caption: str = "",
    window: tuple[float, float] | None = None,
) -> None:
    """Write a PNG: the whole volume in three planes, then each side's structures close up, with volumes in ml.

    mask: uint8 [I, J, K] on the volume's grid, values as in `segments`. window: lowest and highest intensity shown;
    by default the 1st and 99.5th percentile of what is not background. Oblique volumes are shown along their own
    axes. Raises OutputError if the file cannot be written.
    """
    lps = volume.lps_view()
    scene = _Scene(volume, mask, tuple(segments), window or _window(volume.voxels), lps.spacing_mm, lps.shape)
    foci = _foci(scene)
    overview = _overview(scene, foci)
    rows = [*([overview] if overview else []), *foci]
    figure = _figure(len(rows), title, caption)
    grid = figure.add_gridspec(
        len(rows), 4, width_ratios=[_PANEL_INCHES] * 3 + [_LEGEND_INCHES],
        left=0.01, right=0.99, top=1 - 0.5 / figure.get_figheight(), bottom=0.3 / figure.get_figheight(),
        wspace=0.03, hspace=0.03,
    )  # fmt: skip
    for row, focus in enumerate(rows):
        for column, plane in enumerate(_PLANES):
            _draw_panel(figure.add_subplot(grid[row, column]), scene, focus, plane, foci if focus is overview else [])
        _draw_legend(figure.add_subplot(grid[row, 3]), focus)
    with written_aside(path) as aside:
        figure.savefig(aside, format="png", dpi=_DPI, facecolor=_BACKGROUND, metadata={"Software": "swinunet"})


def _figure(rows: int, title: str, caption: str) -> Figure:
    width, height = 3 * _PANEL_INCHES + _LEGEND_INCHES, rows * _PANEL_INCHES + 0.8
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    figure.text(0.012, 1 - 0.16 / height, title, color=_TEXT, size=14, weight="bold", va="top")
    figure.text(0.012, 0.09 / height, caption, color=_FAINT, size=9, va="bottom")
    return figure


def _window(voxels: np.ndarray) -> tuple[float, float]:
    """Percentiles 1 and 99.5 of the voxels above the lowest value, from at most some 10^6 of them."""
    step = max(1, round((voxels.size / 1e6) ** (1 / 3)))
    sample = voxels[::step, ::step, ::step]
    sample = sample[np.isfinite(sample)]
    inside = sample[sample > sample.min()] if sample.size else sample
    if not inside.size:
        return 0.0, 1.0
    low, high = np.percentile(inside, [1, 99.5])
    return float(low), float(max(high, low + 1e-6))


def _foci(scene: _Scene) -> list[_Focus]:
    """One focus for each side that has a voxel; the volume's middle if nothing was found."""
    foci = []
    for side in dict.fromkeys(segment.laterality for segment in scene.segments):
        group = tuple(segment for segment in scene.segments if segment.laterality == side)
        measurements = measure(scene.mask, group, scene.volume.voxel_ml)
        if focus := _focus(scene, _group_name(group), measurements):
            foci.append(focus)
    if foci:
        return foci
    left, posterior, superior = scene.shape
    everything = measure(scene.mask, scene.segments, scene.volume.voxel_ml)
    middle = left // 2, posterior // 2, superior // 2
    return [_Focus("Nothing found", _lines(everything), middle, *_whole_field(scene))]


def _whole_field(scene: _Scene) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest corner of a cube around the whole volume, in mm."""
    extent_mm = np.multiply(scene.shape, scene.spacing_mm)
    half_mm = float(extent_mm.max()) / 2
    return extent_mm / 2 - half_mm, extent_mm / 2 + half_mm


def _group_name(group: Sequence[Segment]) -> str:
    """ "Left hippocampus" where all segments of one side are parts of one structure, else the side."""
    side = group[0].laterality
    types = {segment.label.type.meaning for segment in group}
    if len(types) > 1:
        return side.capitalize() if side else "Structures"
    meaning = types.pop()
    return f"{side.capitalize()} {meaning[:1].lower()}{meaning[1:]}" if side else meaning


def _focus(scene: _Scene, name: str, measurements: tuple[Measurement, ...]) -> _Focus | None:
    """The planes through the structures' centre of mass, and a cube around them."""
    values = np.zeros(256, bool)
    values[[measurement.segment.mask_value for measurement in measurements]] = True
    inside = Volume(values[scene.mask], scene.volume.affine).lps_view().voxels
    if not inside.any():
        return None
    centre, low, high = [], [], []
    for axis in range(3):
        counts = np.count_nonzero(inside, axis=tuple(other for other in range(3) if other != axis))
        at = np.flatnonzero(counts)
        centre.append(round(float(np.average(at, weights=counts[at]))))
        low.append(at[0])
        high.append(at[-1] + 1)
    spacing = np.array(scene.spacing_mm)
    low_mm, high_mm = np.array(low) * spacing, np.array(high) * spacing
    half_mm = max(float((high_mm - low_mm).max()) / 2 + _MARGIN_MM, _MIN_FIELD_MM / 2)
    middle_mm = (low_mm + high_mm) / 2
    left, posterior, superior = centre
    return _Focus(name, _lines(measurements), (left, posterior, superior), middle_mm - half_mm, middle_mm + half_mm)


def _lines(measurements: Sequence[Measurement]) -> tuple[tuple[str, float, tuple[int, int, int]], ...]:
    return tuple((m.segment.text, m.volume_ml, m.segment.label.color) for m in measurements)


def _overview(scene: _Scene, foci: Sequence[_Focus]) -> _Focus | None:
    """The whole volume; None where a close-up already shows nearly all of it."""
    extent_mm = np.multiply(scene.shape, scene.spacing_mm)
    field_mm = foci[0].high_mm - foci[0].low_mm
    if (field_mm > 0.6 * extent_mm.max()).any():
        return None
    centre = np.mean([focus.centre for focus in foci], axis=0).round().astype(int)
    lines = tuple((focus.name, focus.total_ml, None) for focus in foci)
    # The sagittal plane goes through the first structure: between two sides it would meet neither.
    planes = (foci[0].centre[0], int(centre[1]), int(centre[2]))
    return _Focus("Whole volume", lines, planes, *_whole_field(scene))


def _draw_panel(axes: Axes, scene: _Scene, focus: _Focus, plane: Plane, boxes: Sequence[_Focus]) -> None:
    stack, row, column, letters = _PLANES[plane]
    index = focus.centre[stack]
    image = plane_view(scene.volume.voxels, scene.volume.affine, plane)[index]
    labels = plane_view(scene.mask, scene.volume.affine, plane)[index]
    width_mm, height_mm = scene.shape[column] * scene.spacing_mm[column], scene.shape[row] * scene.spacing_mm[row]
    top, bottom = (0.0, height_mm) if plane == "axial" else (height_mm, 0.0)
    low, high = scene.window
    axes.imshow(
        image, cmap="gray", vmin=low, vmax=high, interpolation="bicubic", extent=(0.0, width_mm, bottom, top),
        aspect="equal",
    )  # fmt: skip
    _draw_mask(axes, labels, scene.segments, (0.0, width_mm, bottom, top), thin=bool(boxes))
    axes.set_xlim(focus.low_mm[column], focus.high_mm[column])
    limits = focus.low_mm[row], focus.high_mm[row]
    axes.set_ylim(limits[::-1] if plane == "axial" else limits)
    axes.set_facecolor("black")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#33383d")
    for box in boxes:
        size = box.high_mm - box.low_mm
        corner = (box.low_mm[column], box.low_mm[row])
        axes.add_patch(Rectangle(corner, size[column], size[row], fill=False, ec=_FAINT, lw=0.8, ls=(0, (4, 3))))
    _draw_letters(axes, letters)
    _draw_scale(axes, float(focus.high_mm[column] - focus.low_mm[column]))
    where = f"{plane.capitalize()}  {_position(scene.volume, focus.centre, stack)}"
    axes.text(0.025, 0.975, where, transform=axes.transAxes, color=_TEXT, size=10, va="top", **_ON_IMAGE)


def _position(volume: Volume, centre: tuple[int, int, int], axis: int) -> str:
    """Where a plane lies along L, P or S, as a PACS writes it: "F 14.0 mm" is 14 mm towards the feet of the origin."""
    at_mm = float((volume.lps_view().affine @ [*centre, 1])[axis])
    return f"{('RL', 'AP', 'FH')[axis][at_mm >= 0]} {abs(at_mm):.1f} mm"


def _draw_mask(
    axes: Axes, labels: np.ndarray, segments: Sequence[Segment], extent: tuple[float, float, float, float], thin: bool
) -> None:
    """Each segment's outline and translucent fill on `labels` [rows, columns]."""
    left, right, bottom, top = extent
    row_mm, column_mm = abs(bottom - top) / labels.shape[0], (right - left) / labels.shape[1]
    # Thick slices are repeated: an outline cuts corners by half a pixel of the finer axis, not of the thicker.
    labels = labels.repeat(max(1, round(row_mm / column_mm)), axis=0).repeat(max(1, round(column_mm / row_mm)), axis=1)
    rows, columns = labels.shape
    x = left + (np.arange(-1, columns + 1) + 0.5) * (right - left) / columns
    y = top + (np.arange(-1, rows + 1) + 0.5) * (bottom - top) / rows
    for segment in segments:
        inside = np.pad((labels == segment.mask_value).astype(np.float32), 1)
        if not inside.any():
            continue
        color = tuple(channel / 255 for channel in segment.label.color)
        axes.contourf(x, y, inside, levels=[0.5, 2.0], colors=[(*color, 0.30)])
        axes.contour(x, y, inside, levels=[0.5], colors=[color], linewidths=0.9 if thin else 1.6)


def _draw_letters(axes: Axes, letters: str) -> None:
    places = (
        (0.02, 0.5, "left", "center"),
        (0.98, 0.5, "right", "center"),
        (0.5, 0.98, "center", "top"),
        (0.5, 0.02, "center", "bottom"),
    )
    style: dict[str, Any] = {"color": "#ffd75f", "size": 11, "weight": "bold", **_ON_IMAGE}
    for letter, (x, y, ha, va) in zip(letters, places, strict=True):
        axes.text(x, y, letter, transform=axes.transAxes, ha=ha, va=va, **style)


def _draw_scale(axes: Axes, field_mm: float) -> None:
    """A bar of 10 or 50 mm at the lower right."""
    bar_mm = 50 if field_mm > 150 else 10
    end, length = 0.96, bar_mm / field_mm
    axes.plot(
        [end - length, end],
        [0.05, 0.05],
        transform=axes.transAxes,
        color=_TEXT,
        lw=2.5,
        solid_capstyle="butt",
        **_ON_IMAGE,
    )
    middle = end - length / 2
    style: dict[str, Any] = {"color": _TEXT, "size": 9, "ha": "center", "va": "bottom", **_ON_IMAGE}
    axes.text(middle, 0.065, f"{bar_mm} mm", transform=axes.transAxes, **style)


def _draw_legend(axes: Axes, focus: _Focus) -> None:
    """The row's name, and each segment's colour, name and volume."""
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.text(0.06, 0.95, focus.name, color=_TEXT, size=13, weight="bold", va="top")
    step = min(0.17, 0.8 / (len(focus.lines) + 1))
    below = (0.0, 0.066) if step > 0.12 else (0.75, 0.0)  # the volume: under the name, or beside it
    y = 0.82
    for text, volume_ml, color in focus.lines:
        if color:
            axes.add_patch(Rectangle((0.06, y - 0.04), 0.055, 0.05, color=[channel / 255 for channel in color]))
        axes.text(0.15, y + 0.006, text, color=_TEXT, size=10, va="top")
        axes.text(0.15 + below[0], y - below[1] + 0.006, f"{volume_ml:.2f} ml", color=_TEXT, size=10, va="top")
        y -= step
    axes.text(0.15, y, f"Total {focus.total_ml:.2f} ml", color=_FAINT, size=10, va="top")
