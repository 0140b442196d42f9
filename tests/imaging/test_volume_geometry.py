"""Spacing, extent, grids, boxes and orientations of volumes against nibabel, SimpleITK and hand-made numbers."""

from __future__ import annotations

import itertools

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from placed_volumes import axis_orders, place

from swinunet.foundation.errors import GeometryError
from swinunet.imaging import Volume
from swinunet.imaging.volume import as_lps, closest_lps

UNIT = Volume(np.arange(1000.0).reshape(10, 10, 10), np.eye(4))


def turned(seed: int) -> np.ndarray:
    """A random rotation, by QR."""
    found, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return found


@given(seed=st.integers(0, 10**6), spacing=st.tuples(*[st.floats(0.3, 5)] * 3))
@settings(max_examples=40, deadline=None)
def test_places_are_those_of_simpleitk(seed: int, spacing: tuple[float, float, float]) -> None:
    """Extent, spacing and voxel volume, of any orientation. ITK's world is LPS mm as ours."""
    shape, origin = (4, 6, 5), (10.0, -20.0, 30.0)
    rotation = turned(seed)
    image = SimpleITK.Image(*shape, SimpleITK.sitkUInt8)
    image.SetOrigin(origin)
    image.SetSpacing(spacing)
    image.SetDirection(rotation.ravel())
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = rotation * spacing, origin
    volume = Volume(np.zeros(shape), affine)
    corners = [image.TransformIndexToPhysicalPoint(at) for at in itertools.product((0, 3), (0, 5), (0, 4))]
    np.testing.assert_allclose(volume.extent_mm(), [np.min(corners, axis=0), np.max(corners, axis=0)], atol=1e-9)
    np.testing.assert_allclose(volume.spacing_mm, spacing, rtol=1e-9)
    assert volume.voxel_ml == pytest.approx(np.prod(spacing) / 1000)


@given(seed=st.integers(0, 10**6), spacing=st.tuples(*[st.floats(0.3, 5)] * 3))
@settings(max_examples=80, deadline=None)
def test_the_closest_axes_of_a_slight_turn_are_nibabels(seed: int, spacing: tuple[float, float, float]) -> None:
    """nibabel decides otherwise far from any axis; near one, up to 20 degrees, all agree."""
    rng = np.random.default_rng(seed)
    order = axis_orders()[rng.integers(48)]
    tilt = np.linalg.qr(np.eye(3) + rng.uniform(-0.15, 0.15, (3, 3)))[0]
    tilt *= np.sign(np.diag(tilt))
    affine = np.eye(4)
    affine[:3, :3] = tilt @ np.sign(order) * spacing
    expected = nib.orientations.io_orientation(np.diag([1.0, 1.0, 1.0, 1.0]) @ affine)
    found_order, flip = closest_lps(affine)
    for lps, (axis, flipped) in enumerate(zip(found_order, flip, strict=True)):
        assert expected[axis, 0] == lps
        assert (expected[axis, 1] < 0) == flipped


def test_the_assignment_with_the_greatest_sum_wins_where_axes_compete() -> None:
    """About 45 degrees in the plane of L and P; in a tie the first assignment."""
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0.72, 0.69, 0.0], [0.69, -0.72, 0.0], [0.0, 0.0, 1.0]])
    assert closest_lps(affine) == ((0, 1, 2), (False, True, False))
    affine[:3, :3] = np.array([[0.69, 0.72, 0.0], [-0.72, 0.69, 0.0], [0.0, 0.0, -2.0]])
    assert closest_lps(affine) == ((1, 0, 2), (False, True, True))
    tie = np.eye(4)
    tie[:3, :3] = np.array([[1, -1, 0], [1, 1, 0], [0, 0, 1]]) / np.sqrt(2)
    assert closest_lps(tie)[0] == (0, 1, 2)


@pytest.mark.parametrize("matrix", axis_orders())
def test_a_view_writes_through_and_the_third_axis_is_the_head(matrix: np.ndarray) -> None:
    volume = place(matrix)
    lps = as_lps(volume.voxels, volume.affine)
    assert np.shares_memory(lps, volume.voxels)
    for axis in range(3):
        assert (np.diff(lps, axis=axis) > 0).all()


def test_spacing_of_one_axis_does_not_change_the_orientation() -> None:
    """Cosines decide, not lengths: a thick slice axis that leans towards L does not become L."""
    affine = np.eye(4)
    affine[:3, 2] = np.array([0.5, 0.0, 0.87]) * 50
    assert closest_lps(affine) == ((0, 1, 2), (False, False, False))


@pytest.mark.parametrize(("apart_mm", "same"), [(0.0, True), (9e-4, True), (2e-3, False)])
@pytest.mark.parametrize("at", [(0, 0), (1, 2), (0, 3), (2, 3)])
def test_one_grid_is_the_same_to_a_thousandth_of_a_mm(apart_mm: float, same: bool, at: tuple[int, int]) -> None:
    affine = np.eye(4)
    affine[at] += apart_mm
    assert UNIT.same_grid(Volume(UNIT.voxels, affine)) == same
    assert not UNIT.same_grid(Volume(UNIT.voxels[:9], np.eye(4)))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        ((2, 3, 4), (5, 6, 7), ((2, 6), (3, 7), (4, 8))),
        ((1.5, 1.5, 1.5), (4.5, 4.5, 4.5), ((2, 5), (2, 5), (2, 5))),
        ((-0.5, -0.5, -0.5), (9.5, 9.5, 9.5), ((0, 10), (0, 10), (0, 10))),
        ((0, 0, 0), (9, 9, 9), ((0, 10), (0, 10), (0, 10))),
        ((2.9999999, 0, 0), (5.0000001, 9, 9), ((3, 6), (0, 10), (0, 10))),
        ((3.0000001, 0, 0), (4.9999999, 9, 9), ((3, 6), (0, 10), (0, 10))),
        ((3.9, 3.9, 3.9), (4.1, 4.1, 4.1), ((4, 5), (4, 5), (4, 5))),
    ],
)
def test_a_box_holds_the_voxel_centres_inside(
    low: tuple[float, ...], high: tuple[float, ...], expected: tuple[tuple[int, int], ...]
) -> None:
    found = UNIT.box_slices(np.array(low), np.array(high))
    assert tuple((each.start, each.stop) for each in found) == expected


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("side", ["low", "high"])
def test_a_box_may_reach_half_a_voxel_outside_and_no_more(axis: int, side: str) -> None:
    for beyond, fits in ((0.49, True), (0.51, False)):
        low, high = np.full(3, 2.0), np.full(3, 7.0)
        if side == "low":
            low[axis] = -beyond
        else:
            high[axis] = 9 + beyond
        if fits:
            assert UNIT.box_slices(low, high)[axis] == (slice(0, 8) if side == "low" else slice(2, 10))
        else:
            with pytest.raises(GeometryError, match=r"reaches outside the volume, which spans x 0\.0\.\.9\.0"):
                UNIT.box_slices(low, high)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_box_between_two_centres_or_without_extent_is_refused(axis: int) -> None:
    low, high = np.full(3, 2.0), np.full(3, 7.0)
    low[axis], high[axis] = 4.2, 4.8
    with pytest.raises(GeometryError, match="holds no voxel centre"):
        UNIT.box_slices(low, high)
    low[axis] = high[axis] = 4.0
    with pytest.raises(GeometryError, match="each lower bound must lie below"):
        UNIT.box_slices(low, high)


@pytest.mark.parametrize("matrix", axis_orders()[::5])
def test_a_crop_in_any_orientation_holds_its_box_and_nothing_beyond(matrix: np.ndarray) -> None:
    """Where each voxel lies is in its value: those of the crop are just those whose centre is in the box."""
    volume = place(matrix, shape=(8, 9, 10))
    low, high = volume.extent_mm()
    low, high = low + 0.3 * (high - low), low + 0.8 * (high - low)
    crop = volume.crop(volume.box_slices(low, high))
    index = np.stack(np.meshgrid(*map(np.arange, volume.shape), indexing="ij"), axis=-1)
    lps = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    inside = ((lps >= low - 1e-6) & (lps <= high + 1e-6)).all(axis=-1)
    np.testing.assert_array_equal(np.sort(crop.voxels.ravel()), np.sort(volume.voxels[inside]))
    assert np.shares_memory(crop.voxels, volume.voxels)
    first = volume.affine[:3, :3] @ np.argwhere(inside)[0] + volume.affine[:3, 3]
    np.testing.assert_allclose(crop.affine[:3, 3], first, atol=1e-9)


def test_what_is_too_flat_is_refused_and_what_is_tiny_is_not() -> None:
    Volume(np.zeros((1, 1, 1)), np.diag([1e-3, 1e-3, 1.1e-3, 1.0]))
    with pytest.raises(GeometryError, match="singular"):
        Volume(np.zeros((1, 1, 1)), np.diag([1e-3, 1e-3, 0.9e-3, 1.0]))
    with pytest.raises(GeometryError, match=r"three axes, none empty; found shape \(2, 2, 2, 2\)"):
        Volume(np.zeros((2, 2, 2, 2)), np.eye(4))
    with pytest.raises(GeometryError, match="4x4 matrix"):
        Volume(np.zeros((2, 2, 2)), np.eye(3))
    Volume(np.zeros((2, 2, 2)), np.diag([-1.0, 1.0, 1.0, 1.0]))  # a mirrored grid is a grid
