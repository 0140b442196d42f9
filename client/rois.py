"""Boxes in the patient: where to segment, and on which side that is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from swinunet.client.segments import Side
from swinunet.foundation.errors import GeometryError, InputError
from swinunet.imaging import Volume

_FORM = "[left=|right=]XMIN,XMAX,YMIN,YMAX,ZMIN,ZMAX in patient millimetres (LPS)"


@dataclass(frozen=True)
class Roi:
    """A box, LPS mm: (x_min, x_max, y_min, y_max, z_min, z_max). side: what it is to be called, if anything.

    voxels: (first, behind the last) along each axis of the volume that it was found in, for a box along that volume's
    own axes; `bounds_mm` are then of its outermost voxel centres. None for a box along the patient's axes.
    """

    bounds_mm: tuple[float, float, float, float, float, float]
    side: Side | None = None
    voxels: tuple[tuple[int, int], ...] | None = None

    @staticmethod
    def of_ranges(volume: Volume, ranges: tuple[slice, slice, slice], side: Side | None) -> Roi:
        """The box of these index ranges of a volume."""
        low, high = (tuple(round(float(mm), 3) for mm in corner) for corner in volume.crop(ranges).extent_mm())
        voxels = tuple((each.start, each.stop) for each in ranges)
        return Roi((low[0], high[0], low[1], high[1], low[2], high[2]), side, voxels)

    def ranges(self, volume: Volume) -> tuple[slice, slice, slice]:
        """Index ranges of `volume` that the box takes. Raises GeometryError as `Volume.box_slices` does."""
        if self.voxels is None:
            return volume.box_slices(self.low_mm, self.high_mm)
        i, j, k = (slice(first, behind) for first, behind in self.voxels)
        return i, j, k

    @property
    def low_mm(self) -> np.ndarray:
        """Lower corner, float64 [3]."""
        return np.array(self.bounds_mm[0::2], float)

    @property
    def high_mm(self) -> np.ndarray:
        """Upper corner, float64 [3]."""
        return np.array(self.bounds_mm[1::2], float)


def parse_roi(text: str) -> Roi:
    """A box as written on the command line. Raises InputError if it is not of that form."""
    name, _, numbers = text.rpartition("=")
    side: Side | None = None
    if name == "left":
        side = "left"
    elif name == "right":
        side = "right"
    elif name:
        raise InputError(f"--roi {text}: the side is {name!r}; expected {_FORM}")
    try:
        x0, x1, y0, y1, z0, z1 = (float(number) for number in numbers.split(","))
    except ValueError:
        raise InputError(f"--roi {text}: expected {_FORM}") from None
    bounds = (x0, x1, y0, y1, z0, z1)
    if not all(math.isfinite(value) for value in bounds):
        raise InputError(f"--roi {text}: expected {_FORM}, each a finite number")
    return Roi(bounds, side)


def require_apart(rois: tuple[Roi, ...]) -> None:
    """Raise GeometryError if two boxes overlap: a voxel can be in one result only."""
    for index, one in enumerate(rois):
        for other in rois[:index]:
            if one.voxels and other.voxels:
                continue  # made apart along the volume's axes
            if (one.low_mm <= other.high_mm).all() and (other.low_mm <= one.high_mm).all():
                raise GeometryError(f"boxes {other.bounds_mm} and {one.bounds_mm} overlap; make them separate")
