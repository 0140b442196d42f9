"""Whether the side that a box is given agrees with where it lies.

Patient coordinates grow to the patient's left, but their origin is the scanner's, or an atlas's: x = 0 is no midline,
and a box at x = -30 mm may well be on the left of a patient who lay to the right. So a name is judged by two things
only, and never refused where neither can tell.

Another box: what is called left cannot lie wholly to the right of what is called right in the same patient.

The head: one that is seen whole, with air on either side and at least 100 mm between, shows its own middle. A box
called left that lies wholly on the right of that, by more than the middle is uncertain, is on the other side. A crop
of one hippocampus shows no air, half a head is not that wide, and the trunk and the limbs are left alone: a left atrium
lies in the middle, and a knee shows air on both sides of one leg.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from swinunet.client.rois import Roi
from swinunet.foundation.errors import GeometryError
from swinunet.imaging import Volume

_HEADS = ("BRAIN", "HEAD", "SKULL", "HEADNECK")  # PS3.16 Annex L: their middle is the patient's
_NARROWEST_MM = 100.0  # a head; one half of the widest has less
_UNCERTAIN_MM = 5.0  # the middle: a head turned a little, an ear pressed to its side
_AIR = 0.1  # share of the fullest sagittal slice's tissue that one through air may have
_STEP = 3  # voxels from one that is looked at to the next


def require_sides(rois: Sequence[Roi], volume: Volume, body_part: str) -> None:
    """Raise GeometryError if a box named left or right is on the other side; see above for what can tell.

    body_part: of the model, as DICOM names it.
    """
    for left in (roi for roi in rois if roi.side == "left"):
        for right in (roi for roi in rois if roi.side == "right"):
            if left.high_mm[0] <= right.low_mm[0]:
                raise GeometryError(
                    f"the box named left (x up to {left.high_mm[0]:g} mm) lies to the patient's right of the one named "
                    f"right (x from {right.low_mm[0]:g} mm); x grows to the patient's left: exchange the names"
                )
    named = [roi for roi in rois if roi.side]
    middle = _middle_of_head(volume) if named and body_part in _HEADS else None
    for roi in named if middle is not None else ():
        assert middle is not None
        distances_mm = _beyond(roi, volume, middle)
        wrong = distances_mm.max() < -_UNCERTAIN_MM if roi.side == "left" else distances_mm.min() > _UNCERTAIN_MM
        if wrong:
            other = "right" if roi.side == "left" else "left"
            raise GeometryError(
                f"the box named {roi.side} (x {roi.low_mm[0]:g}..{roi.high_mm[0]:g} mm) lies wholly in the {other} "
                f"half of the head, {np.abs(distances_mm).min():.0f} mm from its middle; name it {other}, or leave "
                "the name away"
            )


def _middle_of_head(volume: Volume) -> float | None:
    """Where the middle of the head is along the axis nearest to L of `volume.lps_view()`, as an index; None if unknown.

    The sagittal slices with tissue, voxels above the mean, run from one ear to the other; None unless both ends of the
    volume are air, and those slices at least 100 mm.
    """
    view = volume.lps_view()
    seen = view.voxels[:, ::_STEP, ::_STEP]
    threshold = float(seen.mean(dtype=np.float64))
    tissue = np.array([np.count_nonzero(plane > threshold) for plane in seen])
    filled = np.flatnonzero(tissue > _AIR * tissue.max())
    if not len(filled) or filled[0] == 0 or filled[-1] == len(tissue) - 1:
        return None
    first, last = int(filled[0]), int(filled[-1])
    wide_enough = (last - first + 1) * view.spacing_mm[0] >= _NARROWEST_MM
    return (first + last) / 2 if wide_enough else None


def _beyond(roi: Roi, volume: Volume, middle: float) -> np.ndarray:
    """How far to the left of the sagittal slice `middle` each corner of the box lies, in mm: float64 [8]."""
    view = volume.lps_view()
    ends = zip(roi.low_mm, roi.high_mm, strict=True)
    corners = np.array(np.meshgrid(*ends, indexing="ij")).reshape(3, -1)
    index = np.linalg.solve(view.affine[:3, :3], corners - view.affine[:3, 3:])
    return (index[0] - middle) * view.spacing_mm[0]
