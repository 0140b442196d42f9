"""What an overlay shows: the volume, its mask, and for each side the planes and the field around its structures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from swinunet.client.segments import Measurement
from swinunet.imaging import Volume
from swinunet.imaging.spec import Plane
from swinunet.imaging.volume import closest_lps

_MARGIN_MM, _MIN_FIELD_MM = 12.0, 50.0

# For each plane, the LPS axes of stack, rows (down the screen) and columns (to the right), and the letters at the
# left, right, top and bottom. Seen from the feet and from the front: the patient's right is on the left.
PLANES: dict[Plane, tuple[int, int, int, str]] = {
    "axial": (2, 1, 0, "RLAP"),
    "coronal": (1, 2, 0, "RLHF"),
    "sagittal": (0, 2, 1, "APHF"),
}


@dataclass(frozen=True)
class BoxOutline:
    """A box on screen. low, high: its first voxel, and the one behind its last, along L, P, S of `Scene.shape`."""

    low: tuple[int, int, int]
    high: tuple[int, int, int]

    @staticmethod
    def of_ranges(volume: Volume, ranges: tuple[slice, slice, slice]) -> BoxOutline:
        """The outline of index ranges of a volume."""
        order, flipped = closest_lps(volume.affine)
        low, high = [], []
        for axis, flip in zip(order, flipped, strict=True):
            first, behind, count = ranges[axis].start, ranges[axis].stop, volume.shape[axis]
            low.append(count - behind if flip else first)
            high.append(count - first if flip else behind)
        return BoxOutline((low[0], low[1], low[2]), (high[0], high[1], high[2]))


@dataclass(frozen=True)
class Scene:
    """What every panel draws from. Positions on screen are LPS voxel indices times spacing, in mm."""

    volume: Volume
    mask: np.ndarray  # uint8 [I, J, K]
    measurements: tuple[Measurement, ...]  # of the mask, one of each segment
    window: tuple[float, float]
    spacing_mm: tuple[float, float, float]  # along L, P, S
    shape: tuple[int, int, int]  # along L, P, S
    boxes: tuple[BoxOutline, ...] = ()  # that the model saw


@dataclass(frozen=True)
class Focus:
    """One row of panels: the planes through `centre`, the part of them that is shown, and the legend's lines."""

    name: str
    lines: tuple[tuple[str, float, tuple[int, int, int] | None], ...]  # text, ml, colour
    centre: tuple[int, int, int]  # LPS voxel indices
    low_mm: np.ndarray  # [3], along L, P, S
    high_mm: np.ndarray  # [3]

    @property
    def total_ml(self) -> float:
        return sum(volume_ml for _, volume_ml, _ in self.lines)


def find_foci(scene: Scene) -> list[Focus]:
    """One focus for each side that has a voxel; the volume's middle if nothing was found."""
    foci = []
    for side in dict.fromkeys(each.segment.laterality for each in scene.measurements):
        group = [each for each in scene.measurements if each.segment.laterality == side]
        if any(each.voxels for each in group):
            foci.append(_focus(scene, group))
    if foci:
        return foci
    left, posterior, superior = scene.shape
    middle = left // 2, posterior // 2, superior // 2
    return [Focus("Nothing found", _lines(scene.measurements), middle, *_whole_field(scene))]


def _whole_field(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest corner of a cube around the whole volume, in mm."""
    extent_mm = np.multiply(scene.shape, scene.spacing_mm)
    half_mm = float(extent_mm.max()) / 2
    return extent_mm / 2 - half_mm, extent_mm / 2 + half_mm


def _group_name(group: Sequence[Measurement]) -> str:
    """ "Left hippocampus" where all structures of one side are parts of one structure, else the side."""
    side = group[0].segment.laterality
    types = {each.segment.label.type.meaning for each in group}
    if len(types) > 1:
        return side.capitalize() if side else "Structures"
    meaning = types.pop()
    return f"{side.capitalize()} {meaning[:1].lower()}{meaning[1:]}" if side else meaning


def _focus(scene: Scene, group: Sequence[Measurement]) -> Focus:
    """The planes through the structures' centre of mass, and a cube around them; there must be a voxel of them."""
    centre, low, high = [], [], []
    for counts in _along_lps(scene, [each.segment.mask_value for each in group]):
        at = np.flatnonzero(counts)
        centre.append(round(float(np.average(at, weights=counts[at]))))
        low.append(at[0])
        high.append(at[-1] + 1)
    spacing = np.array(scene.spacing_mm)
    low_mm, high_mm = np.array(low) * spacing, np.array(high) * spacing
    half_mm = max(float((high_mm - low_mm).max()) / 2 + _MARGIN_MM, _MIN_FIELD_MM / 2)
    middle_mm = (low_mm + high_mm) / 2
    left, posterior, superior = centre
    shown = middle_mm - half_mm, middle_mm + half_mm
    return Focus(_group_name(group), _lines(group), (left, posterior, superior), *shown)


def _along_lps(scene: Scene, mask_values: Sequence[int]) -> list[np.ndarray]:
    """How many voxels with these values each plane across L, across P and across S holds."""
    wanted = np.zeros(256, bool)
    wanted[list(mask_values)] = True
    counts = [np.zeros(length, np.int64) for length in scene.mask.shape]
    for k in range(scene.mask.shape[2]):  # indexing makes int64 of the mask: a slice at a time
        inside = wanted[scene.mask[:, :, k]]
        counts[0] += inside.sum(axis=1)
        counts[1] += inside.sum(axis=0)
        counts[2][k] = inside.sum()
    order, flipped = closest_lps(scene.volume.affine)
    return [counts[axis][::-1] if flip else counts[axis] for axis, flip in zip(order, flipped, strict=True)]


def _lines(measurements: Sequence[Measurement]) -> tuple[tuple[str, float, tuple[int, int, int]], ...]:
    return tuple((m.segment.text, m.volume_ml, m.segment.label.color) for m in measurements)


def overview_of(scene: Scene, foci: Sequence[Focus]) -> Focus | None:
    """The whole volume; None where a close-up already shows nearly all of it."""
    extent_mm = np.multiply(scene.shape, scene.spacing_mm)
    field_mm = foci[0].high_mm - foci[0].low_mm
    if (field_mm > 0.6 * extent_mm.max()).any():
        return None
    centre = np.mean([focus.centre for focus in foci], axis=0).round().astype(int)
    lines = tuple((focus.name, focus.total_ml, None) for focus in foci)
    # The sagittal plane goes through the first structure: between two sides it would meet neither.
    planes = (foci[0].centre[0], int(centre[1]), int(centre[2]))
    return Focus("Whole volume", lines, planes, *_whole_field(scene))


def automatic_window(voxels: np.ndarray) -> tuple[float, float]:
    """Percentiles 1 and 99.5 of the voxels above the lowest value, from at most some 10^6 of them."""
    step = max(1, round((voxels.size / 1e6) ** (1 / 3)))
    sample = voxels[::step, ::step, ::step]
    sample = sample[np.isfinite(sample)]
    inside = sample[sample > sample.min()] if sample.size else sample
    if not inside.size:
        return 0.0, 1.0
    low, high = np.percentile(inside, [1, 99.5])
    return float(low), float(max(high, low + 1e-6))
