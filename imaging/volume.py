"""A volume: voxels and the affine that places them in the patient, and the patient-aligned views of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from swinunet.foundation.errors import GeometryError

PATIENT_AXES = "LPS"
VOXEL_MM = (1e-3, 1e3)  # smallest and largest side of a voxel that a file may claim
Space = Literal["scanner", "aligned", "talairach", "mni", "unknown"]


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels of one image in the DICOM patient coordinate system (PS3.3 C.7.6.2.1.1).

    voxels: [I, J, K], any real dtype. affine: float64 4x4, voxel index (i, j, k, 1) to LPS mm
    (x to the patient's left, y to the back, z to the head). space: what the millimetres count from, as NIfTI has it:
    the scanner, another image of the patient, or an atlas; "unknown" where the file does not say and it was assumed.
    """

    voxels: np.ndarray
    affine: np.ndarray
    space: Space = "scanner"

    def __post_init__(self) -> None:
        if self.voxels.ndim != 3 or 0 in self.voxels.shape:
            raise GeometryError(f"a volume has three axes, none empty; found shape {self.voxels.shape}")
        if self.affine.shape != (4, 4) or not np.isfinite(self.affine).all():
            raise GeometryError(
                "the affine must be a 4x4 matrix of finite numbers; check the image's orientation and spacing"
            )
        if abs(np.linalg.det(self.affine[:3, :3])) < 1e-9:
            raise GeometryError("the affine is singular: two image axes are parallel, or a voxel has no size")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along the three array axes."""
        i, j, k = self.voxels.shape
        return i, j, k

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along the three array axes, in mm."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in ml."""
        return float(abs(np.linalg.det(self.affine[:3, :3])) / 1000.0)

    def same_grid(self, other: Volume) -> bool:
        """Whether both have the same shape and their voxels lie at the same places (to a thousandth of a mm)."""
        return self.shape == other.shape and np.allclose(self.affine, other.affine, atol=1e-3)

    def extent_mm(self) -> np.ndarray:
        """Lowest and highest voxel centre along L, P and S: float64 [2, 3], mm."""
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape], indexing="ij")).reshape(3, -1)
        lps = self.affine[:3, :3] @ corners + self.affine[:3, 3:]
        return np.stack([lps.min(axis=1), lps.max(axis=1)])

    def box_slices(self, low_mm: np.ndarray, high_mm: np.ndarray) -> tuple[slice, slice, slice]:
        """Index ranges of the smallest sub-volume that holds the box `low_mm`..`high_mm` (LPS mm, [3] each).

        Of a box inside the ranges that `extent_mm` names, what lies beyond an oblique volume's corners is left out.
        Raises GeometryError if the box is inside out, reaches outside those ranges by more than half a voxel, or holds
        no voxel centre.
        """
        low_mm, high_mm = np.asarray(low_mm, float), np.asarray(high_mm, float)
        if (low_mm >= high_mm).any():
            raise GeometryError(f"box {_box(low_mm, high_mm)}: each lower bound must lie below its upper bound")
        corners = np.array(np.meshgrid(*zip(low_mm, high_mm, strict=True), indexing="ij")).reshape(3, -1)
        index = np.linalg.solve(self.affine[:3, :3], corners - self.affine[:3, 3:])
        first, last = index.min(axis=1), index.max(axis=1)
        beyond = bool((first < -0.5 - 1e-6).any() or (last > np.array(self.shape) - 0.5 + 1e-6).any())
        lowest, highest = self.extent_mm()
        margin_mm = np.abs(self.affine[:3, :3]).sum(axis=1) * (0.5 + 1e-6)
        if beyond and ((low_mm < lowest - margin_mm).any() or (high_mm > highest + margin_mm).any()):
            raise GeometryError(
                f"box {_box(low_mm, high_mm)} reaches outside the volume, which spans {_box(*self.extent_mm())}; "
                "give a box inside it (LPS: x to the patient's left, y to the back, z to the head)"
            )
        start = np.clip(np.ceil(first - 1e-6), 0, None).astype(int)
        stop = np.minimum(np.floor(last + 1e-6) + 1, self.shape).astype(int)
        if (stop <= start).any() or not self._holds_centre(low_mm - 1e-6, high_mm + 1e-6, start, stop):
            raise GeometryError(f"box {_box(low_mm, high_mm)} holds no voxel centre; spacing is {self.spacing_mm} mm")
        i, j, k = (slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
        return i, j, k

    def _holds_centre(self, low_mm: np.ndarray, high_mm: np.ndarray, start: np.ndarray, stop: np.ndarray) -> bool:
        """Whether the centre of a voxel with an index in `start`..`stop` lies in the box."""
        x, y = np.meshgrid(np.arange(start[0], stop[0]), np.arange(start[1], stop[1]), indexing="ij")
        for k in range(start[2], stop[2]):
            lps = self.affine[:3, :3] @ np.stack([x.ravel(), y.ravel(), np.full(x.size, k)]) + self.affine[:3, 3:]
            if ((lps >= low_mm[:, None]) & (lps <= high_mm[:, None])).all(axis=0).any():
                return True
        return False

    def crop(self, ranges: tuple[slice, slice, slice]) -> Volume:
        """The sub-volume at these index ranges, sharing memory, with its own affine."""
        affine = self.affine.copy()
        affine[:3, 3] = self.affine[:3, :3] @ [r.start for r in ranges] + self.affine[:3, 3]
        return Volume(self.voxels[ranges], affine, self.space)

    def with_voxels(self, voxels: np.ndarray) -> Volume:
        """Other voxels, a mask of these for one, at the same places."""
        return replace(self, voxels=voxels)

    def lps_view(self) -> Volume:
        """The same voxels with axes ordered and directed as near to L, P, S as flips and swaps allow (no copy)."""
        order, flip = closest_lps(self.affine)
        voxels = as_lps(self.voxels, self.affine)
        affine = self.affine[:, [*order, 3]].copy()
        for axis in range(3):
            if flip[axis]:
                affine[:3, 3] += affine[:3, axis] * (voxels.shape[axis] - 1)
                affine[:3, axis] *= -1
        return Volume(voxels, affine, self.space)


def closest_lps(affine: np.ndarray) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Which array axis runs nearest to L, to P and to S, and whether each must be flipped to point that way.

    affine: 4x4, voxel index to LPS mm. The three axes are distinct: the assignment with the greatest summed
    direction cosine wins, so oblique and tied orientations resolve the same way each time.
    """
    cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    permutations = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    order = max(permutations, key=lambda p: round(sum(abs(cosines[row, p[row]]) for row in range(3)), 9))
    x, y, z = (bool(cosines[row, order[row]] < 0) for row in range(3))
    return order, (x, y, z)


def as_lps(voxels: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """A view of `voxels` [I, J, K] with axes nearest to L, P, S; writing to the view writes to `voxels`."""
    order, flip = closest_lps(affine)
    return voxels.transpose(order)[tuple(slice(None, None, -1 if f else 1) for f in flip)]


def _box(low: np.ndarray, high: np.ndarray) -> str:
    return " ".join(f"{name} {a:.1f}..{b:.1f}" for name, a, b in zip("xyz", low, high, strict=True)) + " mm"
