"""Where frames lie in the patient: order along the normal, and the affine (PS3.3 C.7.6.2.1.1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from swinunet.client.dicom.files import Frame

ASSUMED_THICKNESS_MM = 1.0  # of a single slice that states neither its thickness nor its spacing
COSINE_TOLERANCE = 1e-3  # difference of direction cosines within a series
SPACING_TOLERANCE = 1e-3  # relative difference of pixel spacing within a series
DUPLICATE_TOLERANCE_MM = 1e-2  # frames closer than this along the normal lie at one position
_PLANES = ("sagittal", "coronal", "axial")  # by the LPS axis nearest to the normal


def normal_of(frame: Frame) -> np.ndarray:
    """Unit normal of the frame's plane, row direction x column direction: float64 [3], LPS.

    Cosines that span no plane have the normal 0: `verdict.judge` refuses them.
    """
    cosines = np.array(frame.orientation, float)
    normal = np.cross(cosines[:3], cosines[3:])
    return normal / max(float(np.linalg.norm(normal)), np.finfo(float).tiny)


def plane_of(frame: Frame) -> str:
    """The anatomical plane nearest to the frame's."""
    return _PLANES[int(np.abs(normal_of(frame)).argmax())]


def positions_of(frames: Sequence[Frame]) -> np.ndarray:
    """Centres of the frames' first pixels: float64 [K, 3], LPS mm."""
    return np.array([frame.position_mm for frame in frames], float)


def order_along_normal(frames: Sequence[Frame]) -> tuple[Frame, ...]:
    """The frames sorted by their distance along the first one's normal; InstanceNumber has no say.

    Frames at one distance keep the order of their file and frame numbers.
    """
    distance_mm = positions_of(frames) @ normal_of(frames[0])
    return tuple(frames[index] for index in np.argsort(distance_mm, kind="stable"))


def thickness_of(frame: Frame) -> tuple[float, str]:
    """Extent of a single slice along its normal in mm, and where the number comes from."""
    for value, source in ((frame.thickness_mm, "SliceThickness"), (frame.slice_spacing_mm, "SpacingBetweenSlices")):
        if value is not None and value > 0:
            return value, source
    return ASSUMED_THICKNESS_MM, "assumed, the header gives none"


def affine_of(frames: Sequence[Frame]) -> np.ndarray:
    """Index (i, j, k, 1) to LPS mm of frames in the order of their slices: float64 4x4.

    i counts columns, j rows, k slices. The third axis is the mean step between positions, so a tilt is kept: the
    affine of a tilted stack is sheared.
    """
    first = frames[0]
    assert first.orientation is not None
    assert first.pixel_spacing_mm is not None
    cosines = np.array(first.orientation, float)
    row_spacing_mm, column_spacing_mm = first.pixel_spacing_mm
    positions = positions_of(frames)
    affine = np.eye(4)
    affine[:3, 0] = cosines[:3] * column_spacing_mm
    affine[:3, 1] = cosines[3:] * row_spacing_mm
    if len(frames) == 1:
        affine[:3, 2] = normal_of(first) * thickness_of(first)[0]
    else:
        affine[:3, 2] = (positions[-1] - positions[0]) / (len(frames) - 1)
    affine[:3, 3] = positions[0]
    return affine
