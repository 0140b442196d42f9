"""Where structures lie in a whole study: what a locator reads, and what its answer means in the patient.

    slices = LocatorSlices(volume, spec)
    for start, images in slices.batches(8):
        slices.add(start, predict(images))  # probabilities
    location = slices.location()
    ranges = box_around(location.part("Left hippocampus"), volume, margin_mm=8)

A locator reads the study at its own spacing, as it is and in a mirror, where left is right: the probability of a side
is the higher one of both readings, so that a network that is surer of one side finds both alike. Client, gate and
training ask with this code alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from swinunet.foundation.errors import InputError, SpecError
from swinunet.imaging.resample import AxisMap
from swinunet.imaging.slices import PlaneSlices, in_memory_order, plane_view, require_finite
from swinunet.imaging.spec import Label, ModelSpec
from swinunet.imaging.volume import Volume, closest_lps

OBLIQUE_DEG = 20.0  # from the patient's axes, beyond which a study is turned before it is read: training tilts heads so

Ranges = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class Part:
    """One label of a locator in a study: the largest piece where it is likelier than not.

    ml: of that piece. probability: its mean in the piece; where nothing is likelier than not, the highest anywhere.
    places_mm: float64 [N, 3], LPS mm of the piece's voxel centres. voxel_mm: the side of these voxels.
    fault: why it does not count as found; empty if it does.
    """

    label: str
    ml: float
    probability: float
    places_mm: np.ndarray
    voxel_mm: float
    fault: str = ""

    @property
    def found(self) -> bool:
        """Whether the locator is sure enough, and the size is one that the structure has."""
        return not self.fault

    @property
    def centre_mm(self) -> np.ndarray:
        """The middle of the piece, float64 [3], LPS mm."""
        middle: np.ndarray = self.places_mm.mean(axis=0)
        return middle


@dataclass(frozen=True, eq=False)
class Location:
    """What a locator says of a study. whole_ml: of the largest piece of all labels together. parts: one of each label.

    fault: why the study does not show what the locator looks in, as a clause; empty if it does.
    """

    whole_ml: float
    parts: tuple[Part, ...]
    fault: str = ""

    def part(self, label: str) -> Part:
        """The part of that name. Raises KeyError."""
        return {each.label: each for each in self.parts}[label]


class LocatorSlices:
    """The slices of a study as a locator reads them, and where things lie by what it answers.

    volume: any grid and orientation. spec: of a locator, with `locating`.
    Raises InputError for a study that is constant or has voxels that are not finite numbers.
    """

    def __init__(self, volume: Volume, spec: ModelSpec) -> None:
        require_finite(volume.voxels)
        self._spec, self._grid = spec, locator_grid(volume, spec)
        direct = PlaneSlices(self._grid, spec)
        self._views = (direct, PlaneSlices(self._grid, spec, mirrored=True, like=direct))
        self._swapped = np.arange(spec.num_classes)
        for left, right in spec.side_pairs:
            self._swapped[left], self._swapped[right] = right, left
        self._background = np.zeros(self._grid.shape, np.float32)  # summed over both readings
        self._highest = np.zeros((len(spec.labels), *self._grid.shape), np.float32)  # of both readings

    def __len__(self) -> int:
        """Slices of both readings."""
        return sum(len(view) for view in self._views)

    def batches(self, size: int) -> Iterator[tuple[int, np.ndarray]]:
        """(first slice, network inputs float16 [B, C, H, W]) with B up to `size`, all of one reading."""
        first = 0
        for view in self._views:
            for start in range(0, len(view), size):
                yield first + start, view.batch(start, min(start + size, len(view)))
            first += len(view)

    def add(self, start: int, probabilities: np.ndarray) -> None:
        """Take the answer to slices from `start` on: [B, classes, H, W]."""
        for index, each in enumerate(probabilities, start):
            mirrored = index >= len(self._views[0])
            view, at = self._views[mirrored], index - mirrored * len(self._views[0])
            restored = view.restore_probabilities(each)
            restored = restored[self._swapped] if mirrored else restored
            plane_view(self._background, self._grid.affine, view.plane)[at] += restored[0]
            for highest, one in zip(self._highest, restored[1:], strict=True):
                native = plane_view(highest, self._grid.affine, view.plane)
                np.maximum(native[at], one, out=native[at])

    def location(self) -> Location:
        """Where the labels lie, once every slice is in."""
        inside = _largest(self._background < 1)
        whole_ml = float(inside.sum() * self._grid.voxel_ml)
        ruled = self._spec.locating
        if ruled is None:
            raise InputError(f"{self._spec.name} is no locator: its spec does not say how to judge places (locating)")
        looked_for = located_labels(self._spec)
        winner = self._highest[[label.index - 1 for label in looked_for]].argmax(axis=0)
        parts = []
        for at, label in enumerate(looked_for):
            probability = self._highest[label.index - 1] * inside * (winner == at)
            parts.append(_part(self._grid, probability, label.name, self._spec))
        low, high = ruled.whole_ml
        fault = (
            "" if low <= whole_ml <= high else f"{whole_ml:.0f} ml of {ruled.whole}, expected {low:g} to {high:g} ml"
        )
        return Location(whole_ml, tuple(parts), fault or _side_fault(parts, self._spec))


def located_labels(spec: ModelSpec) -> tuple[Label, ...]:
    """The labels of a locator that are places to look at: those that name sides, or all where none does.

    The others, such as the rest of the brain, only tell what the study shows.
    """
    sides = {index for pair in spec.side_pairs for index in pair}
    return tuple(label for label in spec.labels if not sides or label.index in sides)


def require_locator(spec: ModelSpec, locator: ModelSpec) -> None:
    """Raise SpecError unless `locator` finds the boxes that `spec` says it does."""
    assert spec.boxes is not None
    who = f"{spec.name} has its boxes found by {locator.name} version {locator.version}"
    if locator.locating is None:
        raise SpecError(f"{who}, which is no locator: its spec does not say how to judge places (locating)")
    if locator.modality != spec.modality:
        raise SpecError(f"{who}, which reads {locator.modality}, not {spec.modality}; name another one in boxes")
    known = [label.name for label in located_labels(locator)]
    if unknown := [box.label for box in spec.boxes.around if box.label not in known]:
        raise SpecError(f"{who}, which does not know {unknown[0]!r}; it finds {', '.join(known)}")


def locator_grid(volume: Volume, spec: ModelSpec) -> Volume:
    """The study at the spec's spacing, no larger than its field of view: float32, axes nearest to L, P and S.

    A study whose axes lie within OBLIQUE_DEG of the patient's is read along its own; any other along the patient's, and
    what lies outside the study is its lowest value. The middle is kept of what is too wide, the top of what is too
    tall: heads have necks.
    """
    assert spec.spacing_mm is not None
    mm = spec.spacing_mm[0]
    small = _coarse(volume, mm)
    if _obliqueness_deg(small) > OBLIQUE_DEG:
        small = _turned(small, mm)
    ranges = []
    for axis, pixels in ((0, spec.input_size[1]), (1, None), (2, spec.input_size[0])):
        count = small.shape[axis]
        most = count if pixels is None else min(count, math.floor(pixels * mm / small.spacing_mm[axis] + 1e-6))
        first = (count - most) if axis == 2 else (count - most) // 2
        ranges.append(slice(first, first + most))
    return small.crop((ranges[0], ranges[1], ranges[2]))


def box_around(part: Part, volume: Volume, margin_mm: float, longest_mm: float = math.inf) -> Ranges:
    """Index ranges of `volume` that hold the voxels of a part and `margin_mm` around them, along the volume's axes.

    What lies outside the volume is left out. longest_mm: no side is longer, for a network sees no more; the margin is
    cut on both sides then. Raises InputError if the part itself is longer.
    """
    spacing = np.array(volume.spacing_mm)
    index = (part.places_mm - volume.affine[:3, 3]) @ np.linalg.inv(volume.affine[:3, :3]).T
    half = part.voxel_mm / 2 / spacing
    low, high = index.min(axis=0) - half, index.max(axis=0) + half
    length_mm = (high - low) * spacing
    if (length_mm > longest_mm).any():
        raise InputError(
            f"what was found as {part.label} is {length_mm.max():.0f} mm long, the model sees {longest_mm:.0f} mm; "
            "choose a box (--roi)"
        )
    margin = np.minimum(margin_mm, (longest_mm - length_mm) / 2) / spacing
    first = np.ceil(low - margin - 1e-6).clip(0, np.array(volume.shape) - 1).astype(int)
    last = np.floor(high + margin + 1e-6).clip(first, np.array(volume.shape) - 1).astype(int)
    if math.isfinite(longest_mm):  # as many whole voxels as the network sees
        excess = (last + 1 - first - np.floor(longest_mm / spacing + 1e-6).astype(int)).clip(0)
        first, last = first + excess // 2, last - (excess - excess // 2)
    i, j, k = (slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True))
    return i, j, k


def _coarse(volume: Volume, mm: float) -> Volume:
    """The volume averaged (or stretched) to voxels of about `mm`, laid out L, P, S: float32."""
    view = volume.lps_view()
    lines = [
        AxisMap.stretch(count, max(1, round(count * size_mm / mm)))
        for count, size_mm in zip(view.shape, view.spacing_mm, strict=True)
    ]
    order = np.argsort(np.abs(view.voxels.strides))[::-1]  # slices that are whole pieces of memory, one at a time
    stack, rows, columns = (lines[axis].linear() for axis in order)
    slices = np.stack([rows @ each.astype(np.float32) @ columns.T for each in in_memory_order(view.voxels)])
    voxels = np.tensordot(stack, slices, axes=1).transpose(np.argsort(order))
    affine = view.affine.copy()
    for axis, line in enumerate(lines):
        affine[:3, 3] += affine[:3, axis] * (line.step / 2 - 0.5)
        affine[:3, axis] *= line.step
    return Volume(np.ascontiguousarray(voxels), affine)


def _obliqueness_deg(volume: Volume) -> float:
    """The largest angle between an axis of the array and the patient's axis nearest to it."""
    order, _ = closest_lps(volume.affine)
    cosines = np.abs(volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0))
    return math.degrees(math.acos(min(1.0, min(float(cosines[row, order[row]]) for row in range(3)))))


def _turned(volume: Volume, mm: float) -> Volume:
    """The volume on a grid along the patient's axes that holds all of it."""
    low, high = volume.extent_mm()
    shape = np.floor((high - low) / mm).astype(int) + 1
    affine = np.diag([mm, mm, mm, 1.0])
    affine[:3, 3] = low
    back = np.linalg.solve(volume.affine, affine)  # from an index of the new grid to one of the old
    lowest = float(volume.voxels.min())
    voxels = ndimage.affine_transform(
        volume.voxels, back[:3, :3], back[:3, 3], tuple(shape), order=1, cval=lowest, prefilter=False
    )
    return Volume(voxels, affine)


def _largest(mask: np.ndarray) -> np.ndarray:
    """The largest piece, connected by faces, of a mask: bool [I, J, K]."""
    pieces, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray(pieces == sizes.argmax())


def _part(grid: Volume, probability: np.ndarray, label: str, spec: ModelSpec) -> Part:
    assert spec.locating is not None
    assert spec.spacing_mm is not None
    piece = _largest(probability > 0.5)
    at = np.argwhere(piece)
    places = at @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    ml = float(len(at) * grid.voxel_ml)
    sure = float(probability[piece].mean()) if len(at) else float(probability.max())
    low, high = spec.locating.part_ml
    fault = ""
    if not len(at):
        fault = f"nothing with a probability above 0.5, the highest is {sure:.2f}"
    elif sure < spec.locating.least_probability:
        fault = f"mean probability {sure:.2f}, expected {spec.locating.least_probability:g} or more"
    elif not low <= ml <= high:
        fault = f"{ml:.1f} ml, expected {low:g} to {high:g} ml"
    return Part(label, ml, sure, places, spec.spacing_mm[0], fault)


def _side_fault(parts: Sequence[Part], spec: ModelSpec) -> str:
    """Why what was found left and right cannot be the two sides of one structure; empty if it can."""
    assert spec.locating is not None
    found = {part.label: part for part in parts if part.found}
    names = {label.index: label.name for label in spec.labels}
    low, high = spec.locating.apart_mm
    for left, right in spec.side_pairs:
        if names[left] not in found or names[right] not in found:
            continue
        from_right = found[names[left]].centre_mm - found[names[right]].centre_mm
        distance = float(np.linalg.norm(from_right))
        if not low <= distance <= high:
            return f"{names[left]} and {names[right]} {distance:.0f} mm apart, expected {low:g} to {high:g} mm"
        if from_right[0] <= 0:
            return f"{names[left]} to the right of {names[right]}"
    return ""
