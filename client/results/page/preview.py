"""An image and its mask, small enough for a browser: fewer voxels and fewer grey values, as NIfTI."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import nibabel
import numpy as np

from swinunet.imaging import Volume

MOST_VOXELS = 4_000_000  # of one preview: NiiVue holds some 13 bytes a voxel, 9 of them in the graphics memory
MOST_PHASED_VOXELS = 8_000_000  # of all phases of one preview: only one of them is in the graphics memory
_LEVELS = {"CT": 1024}  # grey values; windows of CT are narrow
_OTHER_LEVELS = 256
_RANGE_PERCENT = (0.02, 99.98)  # what lies beyond is shown as the nearest grey value
_MARGIN_MM = 15.0
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Preview:
    """An image and its mask on one grid.

    name: for people. factors: voxels of the original that one voxel stands for, along I, J and K. image, mask: gzipped
    NIfTI-1 files of the same grid, the image in its own units.
    """

    name: str
    factors: tuple[int, int, int]
    image: bytes
    mask: bytes


def previews(volume: Volume, mask: np.ndarray, modality: str, most_voxels: int = MOST_VOXELS) -> list[Preview]:
    """The whole volume and, where it has to be reduced, the surroundings of what was found in more detail.

    mask: uint8 [I, J, K] on the volume's grid. modality: as DICOM calls it. most_voxels: of one preview.
    """
    return _previews(volume, mask, [volume.voxels], [mask], modality, most_voxels)


def phased_previews(
    volume: Volume,
    phases: Iterable[np.ndarray],
    masks: Sequence[np.ndarray],
    modality: str,
    most_voxels: int = MOST_PHASED_VOXELS,
) -> list[Preview]:
    """The same of a series in time, all its phases in each preview.

    volume: the first phase. phases, masks: voxels [I, J, K] of each phase, and uint8 of the same shape. Phases are
    asked for one after another.
    """
    found = np.zeros(volume.shape, np.uint8)
    for mask in masks:
        np.maximum(found, mask, out=found)
    return _previews(volume, found, phases, masks, modality, most_voxels // len(masks))


def _previews(
    volume: Volume,
    found: np.ndarray,
    phases: Iterable[np.ndarray],
    masks: Sequence[np.ndarray],
    modality: str,
    most_voxels: int,
) -> list[Preview]:
    """found: where some phase has a structure. most_voxels: of one phase of one preview."""
    grids = _grids(volume, found, most_voxels)
    levels = _LEVELS.get(modality, _OTHER_LEVELS)
    reduced: list[list[np.ndarray]] = [[] for _ in grids]
    for voxels in phases:
        for grid, images in zip(grids, reduced, strict=True):
            images.append(reduced_image(voxels[grid.box], grid.factors))
    found_previews = []
    for grid, images in zip(grids, reduced, strict=True):
        low, high = _grey_span(images)
        grey = [_grey_values(image, (low, high), levels) for image in images]
        small = [reduced_mask(mask[grid.box], grid.factors) for mask in masks]
        image, mask = _nifti(grey, grid.affine, (high - low) / (levels - 1), low), _nifti(small, grid.affine, 1.0, 0.0)
        found_previews.append(Preview(grid.name, grid.factors, image, mask))
    return found_previews


@dataclass(frozen=True, eq=False)
class _Grid:
    """A part of the volume, reduced. affine: 4x4, index of its voxels to LPS mm."""

    name: str
    box: tuple[slice, slice, slice]
    factors: tuple[int, int, int]
    affine: np.ndarray


def _grids(volume: Volume, found: np.ndarray, most_voxels: int) -> list[_Grid]:
    """The whole, and the surroundings of what was found if these can be shown in more detail."""
    whole = reducing_factors(volume, most_voxels)
    i, j, k = (slice(0, n) for n in volume.shape)
    grids = [_grid("Whole volume", volume, (i, j, k), whole)]
    if whole != (1, 1, 1) and (box := _surroundings(volume, found)):
        near = reducing_factors(volume.crop(box), most_voxels)
        if near != whole:
            grids.append(_grid("Close-up", volume, box, near))
    return grids


def _grid(name: str, volume: Volume, box: tuple[slice, slice, slice], factors: tuple[int, int, int]) -> _Grid:
    part = volume.crop(box)
    affine = part.affine @ np.diag([*factors, 1.0])
    affine[:3, 3] = part.affine[:3, :3] @ ((np.array(factors) - 1) / 2) + part.affine[:3, 3]
    return _Grid(name, box, factors, affine)


def reducing_factors(volume: Volume, most_voxels: int) -> tuple[int, int, int]:
    """How many voxels along each axis one voxel of a preview stands for: the finest axis is reduced first."""
    factors = [1, 1, 1]
    while np.prod([-(-n // factor) for n, factor in zip(volume.shape, factors, strict=True)]) > most_voxels:
        sides_mm = [
            mm * factor if n > factor else np.inf
            for n, mm, factor in zip(volume.shape, volume.spacing_mm, factors, strict=True)
        ]
        factors[int(np.argmin(sides_mm))] += 1
    i, j, k = factors
    return i, j, k


def reduced_image(voxels: np.ndarray, factors: tuple[int, int, int]) -> np.ndarray:
    """Means of blocks of `factors` voxels, float32; blocks at the far ends may be smaller."""
    i, j, k = (np.arange(0, n, factor) for n, factor in zip(voxels.shape, factors, strict=True))
    counts = [np.diff([*starts, n]) for starts, n in zip((i, j, k), voxels.shape, strict=True)]
    means = np.empty((len(i), len(j), len(k)), np.float32)
    for at, start in enumerate(k):  # a slab at a time: the volume may be large
        slab = voxels[:, :, start : start + factors[2]].sum(axis=2, dtype=np.float32)
        sums = np.add.reduceat(np.add.reduceat(slab, i, axis=0), j, axis=1)
        means[:, :, at] = sums / (counts[0][:, None] * counts[1][None, :] * counts[2][at])
    return means


def reduced_mask(mask: np.ndarray, factors: tuple[int, int, int]) -> np.ndarray:
    """The most frequent structure of each block that is half filled by structures, uint8.

    A structure that would vanish is shown in every block that holds a voxel of it.
    """
    if factors == (1, 1, 1):
        return np.ascontiguousarray(mask)
    i, j, k = (np.arange(0, n, factor) for n, factor in zip(mask.shape, factors, strict=True))
    small = np.zeros((len(i), len(j), len(k)), np.uint8)
    held: dict[int, np.ndarray] = {}  # blocks that hold a voxel of a value
    half = np.prod(factors) / 2
    for at, start in enumerate(k):
        slab = mask[:, :, start : start + factors[2]]
        most = np.zeros((len(i), len(j)), np.int32)
        total, value_of = np.zeros_like(most), np.zeros(most.shape, np.uint8)
        for value in (int(each) for each in np.unique(slab) if each):
            counts = np.add.reduceat(np.add.reduceat((slab == value).sum(axis=2, dtype=np.int32), i, 0), j, 1)
            held.setdefault(value, np.zeros(small.shape, bool))[:, :, at] = counts > 0
            value_of[counts > most] = value
            np.maximum(most, counts, out=most)
            total += counts
        small[:, :, at] = np.where(total >= half, value_of, 0)
    for value in held.keys() - set(np.unique(small).tolist()):
        small[held[value]] = value
    return small


def _grey_span(images: Sequence[np.ndarray]) -> tuple[float, float]:
    """Lowest and highest value of all images that is shown as it is."""
    step = max(1, sum(image.size for image in images) // 1_000_000)
    sample = np.concatenate([image[np.isfinite(image)][::step] for image in images])
    low, high = (float(each) for each in np.percentile(sample, _RANGE_PERCENT)) if sample.size else (0.0, 1.0)
    return low, high if high > low else low + 1.0


def _grey_values(image: np.ndarray, span: tuple[float, float], levels: int) -> np.ndarray:
    """The image as whole numbers 0..levels - 1, in the smallest type that holds them."""
    low, high = span
    scaled = (np.clip(np.where(np.isfinite(image), image, low), low, high) - low) * ((levels - 1) / (high - low))
    return np.rint(scaled).astype(np.uint8 if levels <= 256 else np.int16)


def _nifti(phases: list[np.ndarray], affine: np.ndarray, slope: float, intercept: float) -> bytes:
    """A gzipped NIfTI-1 file. affine: voxel index to LPS mm. Values are slope * voxel + intercept."""
    voxels = phases[0] if len(phases) == 1 else np.stack(phases, axis=-1)
    file = nibabel.Nifti1Image(voxels, _LPS_TO_RAS @ affine)
    file.header.set_slope_inter(slope, intercept)
    file.header.set_xyzt_units("mm", "sec")
    file.set_qform(None, code=0)
    file.set_sform(_LPS_TO_RAS @ affine, code=1)
    return gzip.compress(file.to_bytes(), compresslevel=6, mtime=0)


def _surroundings(volume: Volume, mask: np.ndarray) -> tuple[slice, slice, slice] | None:
    """The box around all structures with a margin; None where nothing was found."""
    through = mask.max(axis=2)
    filled = through.max(axis=1) > 0, through.max(axis=0) > 0, mask.max(axis=(0, 1)) > 0
    if not filled[0].any():
        return None
    ranges = []
    for axis, mm in zip(filled, volume.spacing_mm, strict=True):
        at, margin = np.flatnonzero(axis), round(_MARGIN_MM / mm)
        ranges.append(slice(max(0, int(at[0]) - margin), int(at[-1]) + 1 + margin))
    i, j, k = ranges
    return i, j, k
