"""swinunet.client.dicom.geometry on frames made by hand: normals, planes, order, thickness and affine."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from swinunet.client.dicom.files import Frame, ImageFile
from swinunet.client.dicom.geometry import (
    affine_of,
    normal_of,
    order_along_normal,
    plane_of,
    positions_of,
    thickness_of,
)
from swinunet.client.dicom.sources import Source

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
FILE = ImageFile(Source(Path("slice.dcm")))


def frame(
    position: tuple[float, ...] = (0.0, 0.0, 0.0), orientation: tuple[float, ...] = AXIAL, **said: object
) -> Frame:
    """A frame of pixels 2 mm between rows, 0.5 mm between columns; no thickness unless said."""
    plain = Frame(FILE, None, position, orientation, (2.0, 0.5), None, None, 1.0, 0.0)
    return dataclasses.replace(plain, **said)


def stack(orientation: np.ndarray, step: np.ndarray, count: int, origin: tuple[float, ...] = (7, -8, 9)) -> list[Frame]:
    """`count` frames, `step` mm apart."""
    return [frame(tuple(np.array(origin) + k * step), tuple(orientation.ravel())) for k in range(count)]


def turned(seed: int) -> np.ndarray:
    """A random rotation: columns are the row direction, the column direction and their cross product."""
    found, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return found * np.sign(np.linalg.det(found))


@given(seed=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_the_normal_is_perpendicular_and_of_unit_length(seed: int) -> None:
    rotation = turned(seed)
    scaled = rotation[:, :2].T * np.array([[1.0], [3.0]])  # cosines that a header states badly
    normal = normal_of(frame(orientation=tuple(scaled.ravel())))
    np.testing.assert_allclose(normal, rotation[:, 2], atol=1e-9)


@pytest.mark.parametrize(
    ("orientation", "normal", "plane"),
    [
        (AXIAL, (0, 0, 1), "axial"),
        ((0, 1, 0, 0, 0, -1), (-1, 0, 0), "sagittal"),
        ((1, 0, 0, 0, 0, -1), (0, 1, 0), "coronal"),
        ((0, 1, 0, 1, 0, 0), (0, 0, -1), "axial"),
        ((1, 0, 0, 0, 0.6, 0.8), (0, -0.8, 0.6), "coronal"),
        ((1, 0, 0, 0, 0.8, 0.6), (0, -0.6, 0.8), "axial"),
    ],
)
def test_normal_and_plane(orientation: tuple[float, ...], normal: tuple[float, ...], plane: str) -> None:
    np.testing.assert_allclose(normal_of(frame(orientation=orientation)), normal, atol=1e-12)
    assert plane_of(frame(orientation=orientation)) == plane


def test_cosines_that_span_no_plane_have_no_normal() -> None:
    np.testing.assert_array_equal(normal_of(frame(orientation=(1, 0, 0, 1, 0, 0))), [0, 0, 0])


@given(seed=st.integers(0, 10**6), order=st.permutations(range(6)), mm=st.floats(0.2, 9))
@settings(max_examples=40, deadline=None)
def test_slices_come_in_the_order_of_the_normal(seed: int, order: list[int], mm: float) -> None:
    rotation = turned(seed)
    frames = stack(rotation[:, :2].T, rotation[:, 2] * mm, 6)
    assert order_along_normal([frames[k] for k in order]) == tuple(frames)


def test_the_first_frames_normal_decides_and_ties_keep_their_order() -> None:
    low, high = frame((0, 0, 1)), frame((5, 5, 4))
    other = frame((9, 9, 1))  # as far along the normal as `low`
    assert order_along_normal([high, low, other]) == (low, other, high)
    assert order_along_normal([other, high, low]) == (other, low, high)
    reverse = (0.0, 1.0, 0.0, 1.0, 0.0, 0.0)  # its normal points to the feet
    backwards = [dataclasses.replace(each, orientation=reverse) for each in (low, high)]
    assert order_along_normal(backwards) == tuple(backwards[::-1])


@pytest.mark.parametrize(
    ("thickness", "spacing", "expected"),
    [
        (3.0, 4.0, (3.0, "SliceThickness")),
        (None, 4.0, (4.0, "SpacingBetweenSlices")),
        (0.0, 4.0, (4.0, "SpacingBetweenSlices")),
        (-1.0, 0.25, (0.25, "SpacingBetweenSlices")),
        (0.5, None, (0.5, "SliceThickness")),
        (None, None, (1.0, "assumed, the header gives none")),
        (0.0, 0.0, (1.0, "assumed, the header gives none")),
        (None, -2.0, (1.0, "assumed, the header gives none")),
    ],
)
def test_the_thickness_of_a_single_slice_and_where_it_comes_from(
    thickness: float | None, spacing: float | None, expected: tuple[float, str]
) -> None:
    only = frame(thickness_mm=thickness, slice_spacing_mm=spacing)
    assert thickness_of(only) == expected
    np.testing.assert_allclose(affine_of([only])[:3, 2], [0, 0, expected[0]])


@given(seed=st.integers(0, 10**6), mm=st.floats(0.3, 8), count=st.integers(1, 7))
@settings(max_examples=40, deadline=None)
def test_the_affine_is_simpleitks(seed: int, mm: float, count: int) -> None:
    """Any orientation and number of slices; columns are 0.5 mm apart, rows 2 mm."""
    rotation = turned(seed)
    frames = stack(rotation[:, :2].T, rotation[:, 2] * mm, count)
    frames[0] = dataclasses.replace(frames[0], thickness_mm=mm)
    image = SimpleITK.Image(5, 6, count, SimpleITK.sitkUInt8)
    image.SetOrigin((7.0, -8.0, 9.0))
    image.SetSpacing((0.5, 2.0, mm))
    image.SetDirection(rotation.ravel())
    affine = affine_of(frames)
    for index in ((0, 0, 0), (4, 0, 0), (0, 5, 0), (4, 5, count - 1)):
        expected = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(affine @ [*index, 1], [*expected, 1], atol=1e-9)


def test_where_frames_differ_the_first_says_how_they_lie() -> None:
    """Cosines of a series may differ by header rounding, and would by far in a stack that is refused elsewhere."""
    other = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
    first, second = frame((0, 0, 5)), frame((-9, 0, 0), other, pixel_spacing_mm=(7.0, 7.0))
    assert order_along_normal([first, second]) == (second, first)
    assert order_along_normal([second, first]) == (first, second)
    np.testing.assert_array_equal(affine_of([first, second])[:, :2], [[0.5, 0], [0, 2], [0, 0], [0, 0]])
    np.testing.assert_array_equal(affine_of([first, second])[:3, 2], [-9, 0, -5])
    np.testing.assert_array_equal(affine_of([first, second])[:3, 3], [0, 0, 5])


def test_a_tilt_stays_in_the_affine_and_the_step_is_the_mean() -> None:
    frames = [frame((0, 0, 0)), frame((0, 1, 3)), frame((0, 1, 5)), frame((0, 3, 9))]
    np.testing.assert_allclose(affine_of(frames)[:, 2], [0, 1, 3, 0])
    np.testing.assert_array_equal(affine_of(frames)[:, 3], [0, 0, 0, 1])
    np.testing.assert_array_equal(affine_of(frames)[:, :2], [[0.5, 0], [0, 2], [0, 0], [0, 0]])
    np.testing.assert_array_equal(positions_of(frames)[2], [0, 1, 5])
    assert affine_of(frames).dtype == positions_of(frames).dtype == np.float64
