"""The panels of an overlay: one plane of the image with outlines, orientation letters and scale, and the legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from contourpy import FillType, LineType, contour_generator
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.patches import Rectangle
from matplotlib.path import Path
from matplotlib.patheffects import withStroke

from swinunet.client.results.overlay_scene import PLANES, Focus, Scene
from swinunet.client.segments import Segment
from swinunet.imaging import Volume, plane_view
from swinunet.imaging.spec import Plane

TEXT, FAINT, BOX = "#f2f2f2", "#9aa4ad", "#ffd75f"
_ON_IMAGE: dict[str, Any] = {"path_effects": [withStroke(linewidth=2.5, foreground="black")]}


def draw_panel(axes: Axes, scene: Scene, focus: Focus, plane: Plane, boxes: Sequence[Focus]) -> None:
    """One plane of a focus: image, outlines of the structures, letters, scale bar, and `boxes` where others look.

    Boxes that the model saw are drawn whole, in another colour.
    """
    stack, row, column, letters = PLANES[plane]
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
    segments = [each.segment for each in scene.measurements]
    draw_mask(axes, labels, segments, (0.0, width_mm, bottom, top), thin=bool(boxes))
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
        axes.add_patch(Rectangle(corner, size[column], size[row], fill=False, ec=FAINT, lw=0.8, ls=(0, (4, 3))))
    for outline in scene.boxes:
        if outline.low[stack] <= index < outline.high[stack]:
            start, end = (
                [edge[axis] * scene.spacing_mm[axis] for axis in (column, row)] for edge in (outline.low, outline.high)
            )
            axes.add_patch(
                Rectangle((start[0], start[1]), end[0] - start[0], end[1] - start[1], fill=False, ec=BOX, lw=1.0)
            )
    _draw_letters(axes, letters)
    _draw_scale(axes, float(focus.high_mm[column] - focus.low_mm[column]))
    where = f"{plane.capitalize()}  {_position(scene.volume, focus.centre, stack)}"
    axes.text(0.025, 0.975, where, transform=axes.transAxes, color=TEXT, size=10, va="top", **_ON_IMAGE)


def _position(volume: Volume, centre: tuple[int, int, int], axis: int) -> str:
    """Where a plane lies along L, P or S, as a PACS writes it: "F 14.0 mm" is 14 mm towards the feet of the origin."""
    at_mm = float((volume.lps_view().affine @ [*centre, 1])[axis])
    return f"{('RL', 'AP', 'FH')[axis][at_mm >= 0]} {abs(at_mm):.1f} mm"


def draw_mask(
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
        inside = labels == segment.mask_value
        if not inside.any():
            continue
        # Axes.contour would keep x, y and z of every segment, several megabytes each, as long as the figure is there.
        contours: Any = contour_generator(  # whose types are those of every fill_type and line_type
            x, y, np.pad(inside.astype(np.float32), 1), fill_type=FillType.ChunkCombinedCode,
            line_type=LineType.ChunkCombinedCode,
        )  # fmt: skip
        color = [channel / 255 for channel in segment.label.color]
        fill: dict[str, Any] = {"facecolors": [(*color, 0.30)], "linewidths": 0, "antialiaseds": False, "zorder": 1}
        width = 0.9 if thin else 1.6
        outline: dict[str, Any] = {"facecolors": "none", "edgecolors": [color], "linewidths": width, "zorder": 2}
        for (points, codes), style in ((contours.filled(0.5, 2.0), fill), (contours.lines(0.5), outline)):
            axes.add_collection(PathCollection([Path(points[0], codes[0])], **style), autolim=False)


def _draw_letters(axes: Axes, letters: str) -> None:
    places = (
        (0.02, 0.5, "left", "center"),
        (0.98, 0.5, "right", "center"),
        (0.5, 0.98, "center", "top"),
        (0.5, 0.02, "center", "bottom"),
    )
    style: dict[str, Any] = {"color": BOX, "size": 11, "weight": "bold", **_ON_IMAGE}
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
        color=TEXT,
        lw=2.5,
        solid_capstyle="butt",
        **_ON_IMAGE,
    )
    middle = end - length / 2
    style: dict[str, Any] = {"color": TEXT, "size": 9, "ha": "center", "va": "bottom", **_ON_IMAGE}
    axes.text(middle, 0.065, f"{bar_mm} mm", transform=axes.transAxes, **style)


def draw_legend(axes: Axes, focus: Focus) -> None:
    """The row's name, and each segment's colour, name and volume."""
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.text(0.06, 0.95, focus.name, color=TEXT, size=13, weight="bold", va="top")
    step = min(0.17, 0.8 / (len(focus.lines) + 1))
    below = (0.0, 0.066) if step > 0.12 else (0.75, 0.0)  # the volume: under the name, or beside it
    y = 0.82
    for text, volume_ml, color in focus.lines:
        if color:
            axes.add_patch(Rectangle((0.06, y - 0.04), 0.055, 0.05, color=[channel / 255 for channel in color]))
        axes.text(0.15, y + 0.006, text, color=TEXT, size=10, va="top")
        axes.text(0.15 + below[0], y - below[1] + 0.006, f"{volume_ml:.2f} ml", color=TEXT, size=10, va="top")
        y -= step
    axes.text(0.15, y, f"Total {focus.total_ml:.2f} ml", color=FAINT, size=10, va="top")
