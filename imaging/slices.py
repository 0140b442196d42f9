"""Preprocessing: the slices of a study along one plane as the network wants them, and the way back to its grid.

In this order: the intensity rule (`_normalisation`), context slices at their step in mm, resampling within the slice,
padding to the input size. Training and client preprocess with this code alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from swinunet.foundation.errors import GeometryError, InputError
from swinunet.imaging.resample import AxisMap
from swinunet.imaging.spec import ModelSpec, Plane, Window, ZScore
from swinunet.imaging.volume import Volume, as_lps

# LPS axis that the slices are stacked along, then the LPS axes of rows and columns, and whether rows run downwards
# against the axis: as radiologists look at them (head up, anterior up in axial, patient's right on the left).
_LAYOUT: dict[Plane, tuple[int, int, int, bool]] = {
    "sagittal": (0, 2, 1, True),
    "coronal": (1, 2, 0, True),
    "axial": (2, 1, 0, False),
    "acquired": (2, 1, 0, False),  # the axes of the array, not of the patient
}


def in_memory_order(voxels: np.ndarray) -> np.ndarray:
    """A view of `voxels` [I, J, K] with its axes turned so that slices along the first are whole pieces of memory."""
    return voxels.transpose(np.argsort(np.abs(voxels.strides))[::-1])


def plane_axes(plane: Plane) -> tuple[int, int, int]:
    """LPS axes (0, 1, 2) that slices, rows and columns of `plane_view` run along; of slices as acquired, axial's."""
    stack, row, column, _ = _LAYOUT[plane]
    return stack, row, column


def plane_view(voxels: np.ndarray, affine: np.ndarray, plane: Plane) -> np.ndarray:
    """A view [slices, rows, columns] of `voxels` [I, J, K], laid out as radiologists look at `plane`; no copy.

    Slices as acquired lie along K, their rows along J and their columns along I, as DICOM volumes and PNGs are read.
    """
    if plane == "acquired":
        return voxels.transpose(2, 1, 0)
    stack, row, column, flip = _LAYOUT[plane]
    view = as_lps(voxels, affine).transpose(stack, row, column)
    return view[:, ::-1] if flip else view


def plane_spacing_mm(volume: Volume, plane: Plane) -> tuple[float, float, float]:
    """Distance between slices, rows and columns of `plane_view`, in mm."""
    stack, row, column = plane_axes(plane)
    spacing = (volume if plane == "acquired" else volume.lps_view()).spacing_mm
    return spacing[stack], spacing[row], spacing[column]


_Normalisation = tuple[float, float, float, float]  # scale, shift, low, high


def require_in_view(shape: tuple[int, int, int], affine: np.ndarray, spec: ModelSpec) -> None:
    """What `PlaneSlices` would refuse a grid for, known before any voxel is read.

    affine: 4x4, voxel index to LPS mm. Raises GeometryError if slices are larger than the network's field of view,
    unless the spec reads their middle.
    """
    grid = Volume(np.broadcast_to(np.float32(0), shape), affine)
    for plane in spec.planes:
        _axis_maps(grid, spec, plane)


def _axis_maps(volume: Volume, spec: ModelSpec, plane: Plane) -> tuple[AxisMap, AxisMap]:
    """From rows and columns of the plane's slices to the network's input. Raises GeometryError if they do not fit."""
    _, rows, columns = plane_view(volume.voxels, volume.affine, plane).shape
    height, width = spec.input_size
    if spec.spacing_mm is None:
        return AxisMap.stretch(rows, height), AxisMap.stretch(columns, width)
    _, row_mm, column_mm = plane_spacing_mm(volume, plane)
    maps = (
        AxisMap.centre(rows, row_mm, height, spec.spacing_mm[0]),
        AxisMap.centre(columns, column_mm, width, spec.spacing_mm[1]),
    )
    if spec.larger_slices == "refused" and not all(each.fits for each in maps):
        view = (height * spec.spacing_mm[0], width * spec.spacing_mm[1])
        low, high = volume.extent_mm()
        spans = ", ".join(f"{axis} {low[at]:.0f} to {high[at]:.0f}" for at, axis in enumerate("LPS"))
        raise GeometryError(
            f"{plane} slices of {rows * row_mm:.0f} x {columns * column_mm:.0f} mm do not fit the model's field of "
            f"view of {view[0]:.0f} x {view[1]:.0f} mm; choose a box around the organ (--roi) in the volume, which "
            f"spans {spans} mm"
        )
    return maps


class PlaneSlices:
    """The slices of one study along one plane, preprocessed when asked for, and the way back to the study's grid.

    study: one volume, or one for each of the spec's modalities, all on one grid. Any orientation; the array axes
    nearest to the plane are used, voxels are not rotated.
    plane: None takes the spec's first. mirrored: a mirror image of the patient, left for right.
    like: another reading of the same study, whose normalisation need not be worked out again.
    Raises GeometryError if a slice is larger than the network's field of view, unless the spec reads its middle, or the
    grids differ; InputError if the modalities are not as many as the spec's or intensities are unusable.
    """

    def __init__(
        self,
        study: Volume | Sequence[Volume],
        spec: ModelSpec,
        plane: Plane | None = None,
        mirrored: bool = False,
        like: PlaneSlices | None = None,
    ) -> None:
        volumes = (study,) if isinstance(study, Volume) else tuple(study)
        _require_modalities(volumes, spec)
        if like is None:
            for each in volumes:
                require_finite(each.voxels)
        self.spec, self.plane = spec, plane or spec.plane
        # Left is right through a sagittal slice, and along the rows of the other planes.
        self._neighbours_reversed = mirrored and self.plane == "sagittal"
        self._rows_reversed = mirrored and self.plane != "sagittal"
        self._normalisations: list[_Normalisation] = (
            like._normalisations
            if like
            else [_normalisation(each.voxels, rule) for each, rule in zip(volumes, spec.intensity_rules, strict=True)]
        )
        volume = volumes[0]
        self.rows, self.columns = _axis_maps(volume, spec, self.plane)
        seen = np.ix_(np.flatnonzero(self.rows.covered()), np.flatnonzero(self.columns.covered()))
        self._channels = [
            _Channel(plane_view(each.voxels, each.affine, self.plane), normalisation, rule, seen)
            for each, normalisation, rule in zip(volumes, self._normalisations, spec.intensity_rules, strict=True)
        ]
        self._affine = volume.affine
        self._slice_mm = plane_spacing_mm(volume, self.plane)[0]
        self._slices = len(self._channels[0].native)
        self._fits = self.rows.fits and self.columns.fits
        self._seen = np.outer(self.rows.covered(), self.columns.covered())  # of a native slice, by the network
        self._rows_linear, self._columns_linear = self.rows.linear(), self.columns.linear()

    def __len__(self) -> int:
        """Native slices along the plane's normal."""
        return self._slices

    def image(self, index: int) -> np.ndarray:
        """Network input around native slice `index`: float32 [C, H, W], normalised, padding 0.

        C is modality-major: the context slices of the first modality, then those of the second, and so on.
        """
        half = self.spec.context_slices // 2
        steps = np.arange(-half, half + 1) * (self.spec.context_step_mm / self._slice_mm)
        steps = steps[::-1] if self._neighbours_reversed else steps
        at = np.clip(index + steps, 0, len(self) - 1)
        planes = [channel.plane(position) for channel in self._channels for position in at]
        return self._mirrored(np.stack([self._rows_linear @ plane @ self._columns_linear.T for plane in planes]))

    def batch(self, start: int, stop: int) -> np.ndarray:
        """Network inputs of native slices `start`..`stop`: float16 [B, C, H, W], ready for the wire."""
        return np.stack([self.image(index) for index in range(start, stop)]).astype(np.float16)

    def holding(self, labels: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Which native slices hold one of these labels: int64 [N]. labels: [I, J, K], of this volume's grid."""
        return np.flatnonzero(np.isin(plane_view(labels, self._affine, self.plane), values).any(axis=(1, 2)))

    def network_labels(self, labels: np.ndarray, index: int) -> np.ndarray:
        """Labels [I, J, K] of this volume's grid at native slice `index`, on the network's grid: uint8 [H, W]."""
        native = plane_view(labels, self._affine, self.plane)[index]
        mapped = native[self.rows.nearest()][:, self.columns.nearest()]
        found = np.where(np.outer(self.rows.inside(), self.columns.inside()), mapped, 0).astype(np.uint8)
        return self._mirrored(found)

    def restore(self, out: np.ndarray, index: int, labels: np.ndarray) -> None:
        """Write one slice of network labels [H, W] into `out` [I, J, K] at native slice `index` (nearest neighbour)."""
        target = plane_view(out, self._affine, self.plane)
        found = self._mirrored(labels)[self.rows.inverse_nearest()][:, self.columns.inverse_nearest()]
        target[index] = found if self._fits else found * self._seen

    def restore_probabilities(self, probabilities: np.ndarray) -> np.ndarray:
        """Probabilities [classes, H, W] of one slice on its native grid (linear): float32 [classes, rows, columns]."""
        seen = self._mirrored(probabilities.astype(np.float32))
        found = self.rows.inverse_linear() @ seen @ self.columns.inverse_linear().T
        if not self._fits:
            found *= self._seen
            found[0] += ~self._seen
        return found

    def _mirrored(self, image: np.ndarray) -> np.ndarray:
        """[..., H, W] mirrored along the rows where the patient is read so; twice is the image itself."""
        return image[..., ::-1] if self._rows_reversed else image


class _Channel:
    """One modality: its native slices [S, rows, columns] and its normalisation: the volume's, or each slice's own.

    seen: index of the rows and columns in the network's field of view.
    """

    def __init__(
        self, native: np.ndarray, of_volume: _Normalisation, rule: ZScore | Window, seen: tuple[np.ndarray, ...]
    ) -> None:
        self.native = native
        self._of_volume, self._rule, self._seen = of_volume, rule, seen
        self._of_slices: dict[int, _Normalisation] = {}

    def plane(self, position: float) -> np.ndarray:
        """Normalised slice at a fractional slice position: float32 [rows, columns]."""
        below = int(np.floor(position))
        weight = position - below
        image = self._normalised(below)
        if weight > 1e-3:
            image = (1 - weight) * image + weight * self._normalised(below + 1)
        return image

    def _normalised(self, index: int) -> np.ndarray:
        scale, shift, low, high = self._normalisation(index)
        clipped = np.clip(self.native[index], low, high).astype(np.float32)
        return (clipped - np.float32(shift)) * np.float32(scale)

    def _normalisation(self, index: int) -> _Normalisation:
        if not isinstance(self._rule, ZScore) or self._rule.per == "volume":
            return self._of_volume
        if index not in self._of_slices:
            native = self.native[index]
            self._of_slices[index] = _of_slice(native[self._seen] if self._rule.per == "view" else native, self._rule)
        return self._of_slices[index]


def _require_modalities(volumes: tuple[Volume, ...], spec: ModelSpec) -> None:
    if len(volumes) != spec.num_modalities:
        named = f" ({', '.join(spec.modalities)})" if spec.modalities else ""
        raise InputError(f"{_count(len(volumes))} found, the model expects {_count(spec.num_modalities)}{named}")
    for name, volume in zip(spec.modalities[1:], volumes[1:], strict=True):
        if not volume.same_grid(volumes[0]):
            raise GeometryError(
                f"{name} has the grid {volume.shape}, {spec.modalities[0]} {volumes[0].shape}, or they lie apart; "
                "resample the modalities to one grid"
            )


def require_finite(voxels: np.ndarray) -> None:
    """Raise InputError for NaN and infinity. Here, since it holds for every engine: some answer NaN with background."""
    if voxels.dtype.kind != "f":
        return
    finite = [int(np.isfinite(each).sum()) for each in in_memory_order(voxels)]
    if missing := voxels.size - sum(finite):
        raise InputError(
            f"the image has voxels that are not finite numbers ({missing} of {voxels.size}); "
            "repair it before segmentation"
        )


def _normalisation(voxels: np.ndarray, rule: ZScore | Window) -> _Normalisation:
    """scale, shift, low and high of `(clip(x, low, high) - shift) * scale` for this volume.

    Raises InputError if it is constant, for rules of which each slice has its own as well.
    """
    if not isinstance(rule, ZScore):
        lowest, highest = rule.scaled_to
        scale = (highest - lowest) / (rule.high - rule.low)
        return scale, (rule.high + rule.low) / 2.0 - (highest + lowest) / 2.0 / scale, rule.low, rule.high
    percentiles = rule.low_percentile, rule.high_percentile
    few_values = voxels.dtype.kind in "iu" and voxels.dtype.itemsize <= 2
    low, high, mean, deviation = (_counted if few_values else _sorted)(voxels, *percentiles)
    if _is_constant(low, high, deviation):
        raise InputError(f"the image is constant (value {low:g}): there is nothing to segment")
    return 1.0 / deviation, mean, low, high


def _of_slice(native: np.ndarray, rule: ZScore) -> _Normalisation:
    """Like `_normalisation`, of one slice [rows, columns] alone; a constant one, which holds nothing, becomes 0."""
    flat = np.ascontiguousarray(native).reshape(1, 1, -1)
    low, high, mean, deviation = _sorted(flat, rule.low_percentile, rule.high_percentile)
    return 0.0 if _is_constant(low, high, deviation) else 1.0 / deviation, mean, low, high


def _is_constant(low: float, high: float, deviation: float) -> bool:
    """Whether values between `low` and `high` differ by no more than their storage rounds."""
    return deviation < 1e-6 * max(abs(low), abs(high), 1e-30)


def _sorted(voxels: np.ndarray, low_percentile: float, high_percentile: float) -> tuple[float, float, float, float]:
    """Two percentiles, and mean and standard deviation of the voxels clipped to them, in float64."""
    slices = in_memory_order(voxels)
    low, high = np.percentile(voxels, [low_percentile, high_percentile])
    mean = sum(float(np.clip(each, low, high).sum(dtype=np.float64)) for each in slices) / voxels.size
    squares = sum(float(np.square(np.clip(each, low, high).astype(np.float64) - mean).sum()) for each in slices)
    return float(low), float(high), mean, math.sqrt(squares / voxels.size)


def _counted(voxels: np.ndarray, low_percentile: float, high_percentile: float) -> tuple[float, float, float, float]:
    """The same of whole numbers of 8 or 16 bits, several times as fast: by how often there is each of them."""
    unsigned = np.dtype(f"u{voxels.dtype.itemsize}")
    patterns = np.arange(2 ** (8 * unsigned.itemsize), dtype=unsigned)
    counts = np.zeros(len(patterns), np.int64)
    for each in in_memory_order(voxels):
        found = np.bincount(each.ravel().view(unsigned))
        counts[: len(found)] += found
    in_order = np.argsort(patterns.view(voxels.dtype))
    values, counts = patterns.view(voxels.dtype)[in_order].astype(np.float64), counts[in_order]
    low, high = (_percentile(values, counts.cumsum(), each) for each in (low_percentile, high_percentile))
    clipped = np.clip(values, low, high)
    mean = float(clipped @ counts) / voxels.size
    return low, high, mean, math.sqrt(float(np.square(clipped - mean) @ counts) / voxels.size)


def _percentile(values: np.ndarray, up_to: np.ndarray, percentile: float) -> float:
    """numpy.percentile, to the bit, of `values` in their order, of which there are `up_to` so far: float64."""
    at = (up_to[-1] - 1) * (percentile / 100)
    below, share = int(at), at - int(at)
    a, b = values[np.searchsorted(up_to, [below, min(below + 1, up_to[-1] - 1)], side="right")]
    return float(b - (b - a) * (1 - share) if share >= 0.5 else a + (b - a) * share)


def _count(modalities: int) -> str:
    return f"{modalities} modality" if modalities == 1 else f"{modalities} modalities"
