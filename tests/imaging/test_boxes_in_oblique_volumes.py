"""Boxes along the patient's axes in stacks that lie across them: inside every printed range is inside."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swinunet.foundation.errors import GeometryError
from swinunet.imaging import Volume


def oblique(angle_deg: float, slices: int = 6) -> Volume:
    """A thin stack of 2 mm slices of 60 x 60 pixels of 1 mm, turned about the patient's x axis."""
    angle = np.radians(angle_deg)
    affine = np.eye(4)
    affine[:3, :3] = [
        [1, 0, 0],
        [0, np.cos(angle), -np.sin(angle)],
        [0, np.sin(angle), np.cos(angle)],
    ] @ np.diag([1.0, 1.0, 2.0])
    affine[:3, 3] = [-30, 5, 10]
    return Volume(np.zeros((60, 60, slices), np.uint8), affine)


def centres(volume: Volume) -> np.ndarray:
    """LPS mm of every voxel centre: float64 [I, J, K, 3]."""
    index = np.stack(np.meshgrid(*map(np.arange, volume.shape), indexing="ij"), axis=-1)
    return index @ volume.affine[:3, :3].T + volume.affine[:3, 3]


def test_the_printed_ranges_themselves_are_a_box_that_holds_all() -> None:
    volume = oblique(30)
    assert volume.box_slices(*volume.extent_mm()) == (slice(0, 60), slice(0, 60), slice(0, 6))


@given(
    angle=st.floats(-80, 80),
    ends=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=3),
)
@settings(max_examples=150, deadline=None)
def test_a_box_inside_every_printed_range_gives_every_voxel_in_it(
    angle: float, ends: list[tuple[float, float]]
) -> None:
    volume = oblique(angle)
    lowest, highest = volume.extent_mm()
    shares = np.sort(np.array(ends), axis=1)
    low, high = lowest + shares[:, 0] * (highest - lowest), lowest + shares[:, 1] * (highest - lowest)
    if (high - low).min() < 1e-3:
        return
    places = centres(volume)
    sure = ((places > low + 1e-4) & (places < high - 1e-4)).all(axis=-1)
    possible = ((places > low - 1e-4) & (places < high + 1e-4)).all(axis=-1)
    if not possible.any():
        with pytest.raises(GeometryError, match="holds no voxel centre"):
            volume.box_slices(low, high)
    if not sure.any():
        return
    ranges = volume.box_slices(low, high)
    outside = sure.copy()
    outside[ranges] = False
    assert not outside.any()


def test_a_box_in_an_empty_corner_of_the_ranges_holds_nothing() -> None:
    volume = oblique(45)
    lowest, highest = volume.extent_mm()
    corner = np.array([0, highest[1] - 4, lowest[2]])  # behind and below: the stack runs up as it runs back
    with pytest.raises(GeometryError, match="holds no voxel centre"):
        volume.box_slices(corner, corner + np.array([10, 3, 3]))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("end", [0, 1])
def test_a_box_beyond_a_printed_range_is_refused(axis: int, end: int) -> None:
    volume = oblique(30)
    box = volume.extent_mm()
    box[end, axis] += (-3, 3)[end]
    with pytest.raises(GeometryError, match="reaches outside the volume, which spans"):
        volume.box_slices(*box)
