"""Boxes in the patient: where to segment, and on which side that is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from swinunet.client.segments import Side
from swinunet.foundation.errors import GeometryError, InputError

_FORM = "[left=|right=]XMIN,XMAX,YMIN,YMAX,ZMIN,ZMAX in patient millimetres (LPS)"


@dataclass(frozen=True)
class Roi:
    """A box, LPS mm: (x_min, x_max, y_min, y_max, z_min, z_max). side: what it is to be called, if anything."""

    bounds_mm: tuple[float, float, float, float, float, float]
    side: Side | None = None

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
            if (one.low_mm <= other.high_mm).all() and (other.low_mm <= one.high_mm).all():
                raise GeometryError(f"boxes {other.bounds_mm} and {one.bounds_mm} overlap; make them separate")
