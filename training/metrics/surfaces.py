"""Surfaces of voxel masks and the distances between them, in mm: what HD95 and NSD are made of.

The definition is that of DeepMind's surface-distance (Nikolov et al. 2018, arXiv 1809.04430, section "Surface DSC"):
a surface element (surfel) sits on each corner of the voxel grid whose eight voxels are not all alike; its area is that
of marching cubes (Lorensen and Cline 1987) with vertices halfway along the edges; its distance is to the nearest
surfel of the other mask. An axis of one voxel makes the image two-dimensional: contours instead of surfaces.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.spatial import cKDTree

# Area vectors (absolute, in eighths of a voxel's faces) of the 13 ways to fill a 2 x 2 x 2 neighbourhood that differ
# under turning, mirroring and swapping inside with outside. Voxel (x, y, z) of the neighbourhood is bit
# 128 >> (4 x + 2 y + z) of the code. Parallel vectors are summed.
_PATTERNS: dict[int, tuple[tuple[int, int, int], ...]] = {
    0b00000001: ((1, 1, 1),),
    0b00000011: ((4, 4, 0),),
    0b00000110: ((2, 2, 2),),
    0b00000111: ((4, 0, 0), (3, 3, 3)),
    0b00001111: ((8, 0, 0),),
    0b00010110: ((3, 3, 3),),
    0b00010111: ((6, 6, 6),),
    0b00011000: ((2, 2, 2),),
    0b00011001: ((0, 4, 4), (1, 1, 1)),
    0b00011011: ((0, 2, 2), (2, 0, 2), (4, 4, 4)),
    0b00011110: ((4, 0, 0), (4, 4, 4)),
    0b00111100: ((8, 8, 0),),
    0b01101001: ((4, 4, 4),),
}
_BITS = (128 >> np.arange(8)).reshape(2, 2, 2)


@dataclass(frozen=True, eq=False)
class Surface:
    """Surfels of one mask. corners: int64 [N, 3], grid corners in voxels; areas_mm2: float64 [N].

    In two dimensions areas are contour lengths times twice the thickness of the slice; only their ratios are used.
    """

    corners: np.ndarray
    areas_mm2: np.ndarray


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distances of each mask's surfels to the other mask, ascending, and the areas of those surfels: float64 [N], [M].

    Both in mm (mm2); `there` from the first mask to the second, `back` from the second to the first.
    """

    there_mm: np.ndarray
    there_mm2: np.ndarray
    back_mm: np.ndarray
    back_mm2: np.ndarray

    def hausdorff_mm(self, quantile: float = 0.95) -> float:
        """Robust Hausdorff distance: the larger of both directions' area-weighted quantiles of distance, in mm."""
        return max(_quantile(self.there_mm, self.there_mm2, quantile), _quantile(self.back_mm, self.back_mm2, quantile))

    def surface_dice(self, tolerance_mm: float) -> float:
        """Normalised surface Dice (NSD): the share of both surfaces within `tolerance_mm` of the other one, 0..1."""
        limit = tolerance_mm + 1e-6  # spacings come from float32 headers: 0.99999998 mm is meant as 1
        near = self.there_mm2[self.there_mm <= limit].sum() + self.back_mm2[self.back_mm <= limit].sum()
        return float(near / (self.there_mm2.sum() + self.back_mm2.sum()))


def surface(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> Surface:
    """Surfels of a mask, bool [I, J, K], outside of which everything is background.

    An axis of length 1 is taken as that of a two-dimensional image: a crop of a longer one must be longer, too.
    """
    codes = _codes(mask)
    corners = np.argwhere((codes != 0) & (codes != 255))
    areas = _areas_mm2(spacing_mm)[codes[tuple(corners.T)]]
    return Surface(corners, areas)


def surface_distances(first: Surface, second: Surface, spacing_mm: tuple[float, float, float]) -> SurfaceDistances:
    """Distances between two surfaces, neither of them empty; `spacing_mm` of the three axes."""
    there = _nearest_mm(first, second, spacing_mm)
    back = _nearest_mm(second, first, spacing_mm)
    return SurfaceDistances(*_ascending(there, first.areas_mm2), *_ascending(back, second.areas_mm2))


def _codes(mask: np.ndarray) -> np.ndarray:
    """Which of the eight voxels around each grid corner are inside: uint8 [I+1, J+1, K+1]."""
    padded = mask.astype(np.uint8)
    for axis, length in enumerate(mask.shape):
        width = [(1, 1) if axis == other else (0, 0) for other in range(3)]
        padded = np.pad(padded, width, mode="edge" if length == 1 else "constant")
    codes = np.zeros([length + 1 for length in mask.shape], np.uint8)
    for at in itertools.product((0, 1), repeat=3):
        window = tuple(slice(start, start + length + 1) for start, length in zip(at, mask.shape, strict=True))
        codes += padded[window] * np.uint8(_BITS[at])
    return codes


def _areas_mm2(spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Surfel area of each code: float64 [256]."""
    a, b, c = spacing_mm
    faces_mm2 = np.array([b * c, a * c, a * b])
    areas: np.ndarray = np.linalg.norm(_area_vectors() / 8 * faces_mm2, axis=2).sum(axis=1)
    return areas


@cache
def _area_vectors() -> np.ndarray:
    """_PATTERNS turned, mirrored and swapped into all 256 codes: float64 [256, 3 vectors, 3], zeros where none."""
    found = np.zeros((256, 3, 3))
    for code, vectors in _PATTERNS.items():
        inside = (code & _BITS) != 0
        for order in itertools.permutations(range(3)):
            for steps in itertools.product((1, -1), repeat=3):
                turned = inside.transpose(order)[tuple(slice(None, None, step) for step in steps)]
                same = int(_BITS[turned].sum())
                for each in (same, 255 - same):
                    found[each, : len(vectors)] = np.array(vectors)[:, order]
    return found


def _nearest_mm(source: Surface, target: Surface, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Distance of each surfel of `source` to the nearest of `target`: float64 [N], mm."""
    spacing = np.array(spacing_mm)
    _, nearest = cKDTree(target.corners * spacing).query(source.corners * spacing)
    # From whole voxels, not from rounded positions: surfels one millimetre apart are exactly one millimetre apart.
    return np.linalg.norm((source.corners - target.corners[nearest]) * spacing, axis=1)


def _ascending(distances: np.ndarray, areas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.lexsort((areas, distances))
    return distances[order], areas[order]


def _quantile(distances: np.ndarray, areas: np.ndarray, quantile: float) -> float:
    """The distance within which `quantile` of the area lies; `distances` ascending."""
    share = np.cumsum(areas) / areas.sum()
    return float(distances[min(int(np.searchsorted(share, quantile)), len(distances) - 1)])
