"""swinunet.imaging.volume: where voxels lie, boxes in mm, and what is no volume."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from placed_volumes import axis_orders, place

from swinunet.foundation.errors import GeometryError
from swinunet.imaging import Volume


@pytest.mark.parametrize("matrix", axis_orders())
def test_lps_view_points_the_right_way(matrix: np.ndarray) -> None:
    view = place(matrix).lps_view()
    assert (np.diag(view.affine)[:3] > 0).all()
    assert np.abs(view.affine[:3, :3] - np.diag(np.diag(view.affine)[:3])).max() == 0
    for axis, factor in enumerate((1.0, 100.0, 10000.0)):
        steps = np.diff(view.voxels, axis=axis)
        np.testing.assert_allclose(steps, factor * view.spacing_mm[axis], rtol=1e-12)
    assert view.voxels[0, 0, 0] == pytest.approx(view.affine[:3, 3] @ [1.0, 100.0, 10000.0])


@given(angles=st.tuples(*[st.floats(-0.6, 0.6)] * 3), spacing=st.tuples(*[st.floats(0.3, 5)] * 3))
@settings(max_examples=40, deadline=None)
def test_crop_keeps_voxels_where_they_are(angles: tuple[float, ...], spacing: tuple[float, ...]) -> None:
    rotation = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = [other for other in range(3) if other != axis]
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        rotation = rotation @ turn
    volume = place(rotation * spacing, shape=(20, 22, 24))
    centre = volume.extent_mm().mean(axis=0)
    half = 0.25 * min(n * mm for n, mm in zip(volume.shape, volume.spacing_mm, strict=True))
    if half < max(spacing):
        return  # a box thinner than a voxel may hold no voxel centre
    crop = volume.crop(volume.box_slices(centre - half, centre + half))
    again = place(crop.affine[:3, :3], crop.shape, tuple(crop.affine[:3, 3]))
    np.testing.assert_allclose(crop.voxels, again.voxels, atol=1e-6)
    inside = np.linalg.inv(crop.affine)[:3] @ [*centre, 1]
    assert ((inside > -0.5) & (inside < np.array(crop.shape) - 0.5)).all()


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        ((0, 0, 0), (99, 5, 5), "reaches outside the volume, which spans x 0.0..9.0"),
        ((-3, 0, 0), (5, 5, 5), "reaches outside"),
        ((5, 0, 0), (4, 5, 5), "lower bound must lie below"),
        ((0.2, 0, 0), (0.8, 5, 5), "holds no voxel centre"),
    ],
)
def test_boxes_that_cannot_be_are_refused(low: tuple[float, ...], high: tuple[float, ...], says: str) -> None:
    volume = Volume(np.zeros((10, 10, 10)), np.eye(4))
    with pytest.raises(GeometryError, match=says):
        volume.box_slices(np.array(low), np.array(high))


@pytest.mark.parametrize(
    ("voxels", "affine"),
    [
        (np.zeros((2, 2)), np.eye(4)),
        (np.zeros((2, 0, 2)), np.eye(4)),
        (np.zeros((2, 2, 2)), np.full((4, 4), np.nan)),
        (np.zeros((2, 2, 2)), np.diag([1.0, 1.0, 0.0, 1.0])),
    ],
)
def test_what_is_no_volume_is_refused(voxels: np.ndarray, affine: np.ndarray) -> None:
    with pytest.raises(GeometryError):
        Volume(voxels, affine)
