"""Where pixels lie after resampling: SimpleITK's physical space is the oracle, never the AxisMap that is tested."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import SimpleITK
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_model import SMALL_SPEC

from swinunet.imaging import PlaneSlices, Volume, Window
from swinunet.imaging.resample import AxisMap

# Spacing and pixels of the native axis, spacing and pixels of the network's.
AXES = [(0.5, 40, 1.0, 30), (2.2, 13, 1.0, 31), (1.7, 17, 1.0, 40), (0.6, 33, 1.5, 21), (3.0, 9, 0.8, 48)]
AXIS_IDS = [f"{native} to {network} mm" for native, _, network, _ in AXES]


def itk_line(values: np.ndarray, spacing_mm: float, first_mm: float) -> SimpleITK.Image:
    """A line of pixels, the centre of the first at `first_mm`; SimpleITK has no image of one axis, so it is 3 wide."""
    image = SimpleITK.GetImageFromArray(np.repeat(values[None], 3, axis=0).astype(np.float64))
    image.SetSpacing((spacing_mm, 1.0))
    image.SetOrigin((first_mm, 0.0))
    return image


def resampled(image: SimpleITK.Image, count: int, spacing_mm: float, first_mm: float, how: int) -> np.ndarray:
    """The line on another grid, by SimpleITK; -1 outside."""
    grid = itk_line(np.zeros(count), spacing_mm, first_mm)
    return SimpleITK.GetArrayFromImage(SimpleITK.Resample(image, grid, SimpleITK.Transform(), how, -1.0))[1]


def first_mm_of(axis: tuple[float, int, float, int]) -> float:
    """Where the network's first pixel lies, seen from the centre of the native one: by the definition of `centre`.

    The native axis begins after a whole number of network pixels, half of what is left over, rounded down.
    """
    native_mm, n_in, network_mm, n_out = axis
    padding = np.floor((n_out - n_in * native_mm / network_mm) / 2)
    return -native_mm / 2 - padding * network_mm + network_mm / 2


@pytest.mark.parametrize("axis", AXES, ids=AXIS_IDS)
def test_labels_come_back_to_where_they_were(axis: tuple[float, int, float, int]) -> None:
    """Every network label, read at the place of each native pixel, as SimpleITK's nearest neighbour reads it."""
    native_mm, n_in, network_mm, n_out = axis
    labels = np.arange(1, n_out + 1)
    mapped = AxisMap.centre(n_in, native_mm, n_out, network_mm)
    line = itk_line(labels, network_mm, first_mm_of(axis))
    expected = resampled(line, n_in, native_mm, 0.0, SimpleITK.sitkNearestNeighbor)
    between = np.abs((np.arange(n_in) * native_mm - first_mm_of(axis)) / network_mm % 1 - 0.5) < 1e-6
    found = labels[mapped.inverse_nearest()]
    np.testing.assert_array_equal(found[~between], expected[~between])
    assert (~between).any()


@pytest.mark.parametrize("axis", AXES, ids=AXIS_IDS)
def test_nearest_reads_the_native_pixel_that_lies_there(axis: tuple[float, int, float, int]) -> None:
    native_mm, n_in, network_mm, n_out = axis
    mapped = AxisMap.centre(n_in, native_mm, n_out, network_mm)
    values = np.arange(1, n_in + 1)
    expected = resampled(
        itk_line(values, native_mm, 0.0), n_out, network_mm, first_mm_of(axis), SimpleITK.sitkNearestNeighbor
    )
    at = (first_mm_of(axis) + np.arange(n_out) * network_mm) / native_mm
    sure = np.abs(at % 1 - 0.5) > 1e-6
    inside = sure & (at > -0.5) & (at < n_in - 0.5)
    np.testing.assert_array_equal(mapped.inside()[sure], inside[sure])
    np.testing.assert_array_equal(values[mapped.nearest()][inside], expected[inside])


@pytest.mark.parametrize("axis", AXES, ids=AXIS_IDS)
def test_probabilities_come_back_to_where_they_were(axis: tuple[float, int, float, int]) -> None:
    """A ramp in mm, on the network's grid, is the same ramp in mm on the native grid; ends apart, which replicate."""
    native_mm, n_in, network_mm, n_out = axis
    first_mm = first_mm_of(axis)
    network_at_mm, native_at_mm = first_mm + np.arange(n_out) * network_mm, np.arange(n_in) * native_mm
    found = AxisMap.centre(n_in, native_mm, n_out, network_mm).inverse_linear() @ network_at_mm
    inner = (native_at_mm > network_at_mm[0] + native_mm) & (native_at_mm < network_at_mm[-1] - native_mm)
    assert inner.sum() > n_in / 2
    exact = native_mm <= network_mm  # a widened triangle holds a ramp to a tenth of a pixel
    tolerance_mm = 1e-4 if exact else 0.15 * network_mm
    np.testing.assert_allclose(found[inner], native_at_mm[inner], atol=tolerance_mm)
    assert abs(float((found - native_at_mm)[inner].mean())) < (1e-4 if exact else 0.02 * network_mm)


@pytest.mark.parametrize("axis", AXES, ids=AXIS_IDS)
def test_linear_is_what_simpleitk_interpolates(axis: tuple[float, int, float, int]) -> None:
    """Where the axis is enlarged; the shrinking one averages, and keeps the ramp in its place."""
    native_mm, n_in, network_mm, n_out = axis
    values = np.random.default_rng(0).normal(size=n_in) if native_mm >= network_mm else np.arange(n_in) * native_mm
    mapped = AxisMap.centre(n_in, native_mm, n_out, network_mm)
    first_mm = first_mm_of(axis)
    expected = resampled(itk_line(values, native_mm, 0.0), n_out, network_mm, first_mm, SimpleITK.sitkLinear)
    at_mm = first_mm + np.arange(n_out) * network_mm
    inner = (at_mm > max(native_mm, network_mm)) & (at_mm < (n_in - 1) * native_mm - max(native_mm, network_mm))
    assert inner.sum() >= 3
    tolerance = 1e-5 if native_mm >= network_mm else 0.15 * native_mm
    np.testing.assert_allclose((mapped.linear() @ values)[inner], expected[inner], atol=tolerance)


@given(
    native_mm=st.floats(0.3, 3.0),
    network_mm=st.floats(0.5, 2.0),
    n_in=st.integers(3, 40),
    margin=st.integers(0, 9),
)
@settings(max_examples=80, deadline=None)
def test_a_step_edge_moves_by_half_a_network_pixel_at_most(
    native_mm: float, network_mm: float, n_in: int, margin: int
) -> None:
    """A structure that ends at an mm, on any two spacings: its labels come back within half a network pixel of it."""
    n_out = int(np.ceil(n_in * native_mm / network_mm)) + margin
    mapped = AxisMap.centre(n_in, native_mm, n_out, network_mm)
    step_mm = network_mm if abs(network_mm / native_mm - 1) >= 1e-3 else native_mm
    first_mm = first_mm_of((native_mm, n_in, step_mm, n_out))
    assert mapped.fits
    left_over = (n_out - n_in * native_mm / step_mm) / 2
    assume(abs(left_over - round(left_over)) > 1e-9)  # where the last bit decides which way padding is rounded
    edge_mm = (n_in - 1) * native_mm * 0.6
    labels = (first_mm + np.arange(n_out) * step_mm < edge_mm).astype(np.uint8)
    native_at_mm = np.arange(n_in) * native_mm
    found = labels[mapped.inverse_nearest()]
    clear = np.abs(native_at_mm - edge_mm) > step_mm / 2 + 1e-6
    covered = (native_at_mm > first_mm - step_mm / 2) & (native_at_mm < first_mm + (n_out - 0.5) * step_mm)
    np.testing.assert_array_equal(found[clear & covered], (native_at_mm < edge_mm)[clear & covered])


def test_a_spacing_that_only_rounding_sets_apart_is_the_same() -> None:
    """A thousandth is rounding, two are another spacing; padding is then a fraction, and is rounded down."""
    assert AxisMap.centre(10, 1.0005, 20, 1.0).step == 1.0
    assert AxisMap.centre(10, 0.9995, 20, 1.0).step == 1.0
    assert AxisMap.centre(10, 1.002, 20, 1.0).step == pytest.approx(1 / 1.002)
    assert AxisMap.centre(10, 0.998, 20, 1.0).step == pytest.approx(1 / 0.998)
    assert AxisMap.centre(9, 1.0, 20, 1.0).offset == 5
    assert AxisMap.centre(11, 1.0, 11, 1.0).offset == 0
    assert AxisMap.centre(11, 1.0, 11, 1.0).fits
    assert not AxisMap.centre(12, 1.0, 11, 1.0).fits


def test_padding_gets_nothing_and_the_rest_sums_to_one() -> None:
    axis = AxisMap.centre(6, 1.0, 10, 1.0)
    np.testing.assert_array_equal(axis.inside(), [False] * 2 + [True] * 6 + [False] * 2)
    np.testing.assert_array_equal(axis.linear().sum(axis=1), [0, 0, 1, 1, 1, 1, 1, 1, 0, 0])
    np.testing.assert_array_equal(axis.nearest(), [0, 0, 0, 1, 2, 3, 4, 5, 5, 5])
    assert axis.linear().dtype == axis.inverse_linear().dtype == np.float32
    assert axis.nearest().dtype == axis.inverse_nearest().dtype == np.int64


@pytest.mark.parametrize(("n_in", "n_out"), [(8, 4), (4, 8), (6, 4), (5, 5)])
def test_stretching_is_the_average_of_what_lies_below(n_in: int, n_out: int) -> None:
    """Both axes begin and end together: a constant stays, and a ramp's ends lie where the edges say."""
    axis = AxisMap.stretch(n_in, n_out)
    centres = (np.arange(n_out) + 0.5) * n_in / n_out - 0.5
    np.testing.assert_allclose(axis.positions(), centres, atol=1e-12)
    np.testing.assert_allclose(axis.linear().sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(axis.inverse_linear().sum(axis=1), 1, rtol=1e-6)
    back = (np.arange(n_in) + 0.5) * n_out / n_in - 0.5
    sure = np.abs(back % 1 - 0.5) > 1e-9
    np.testing.assert_array_equal(axis.inverse_nearest()[sure], np.clip(np.rint(back), 0, n_out - 1)[sure])


def test_the_shrinking_triangle_by_hand() -> None:
    """8 pixels on 4: each centre lies between two, 2 wide: weights 3/4 : 1/4 on either side, scaled to one."""
    rows = AxisMap.stretch(8, 4).linear()
    np.testing.assert_allclose(rows[1], np.array([0, 0.25, 0.75, 0.75, 0.25, 0, 0, 0]) / 2, atol=1e-6)
    np.testing.assert_allclose(rows[0], np.array([0.75, 0.75, 0.25, 0, 0, 0, 0, 0]) / 1.75, atol=1e-6)
    np.testing.assert_allclose(AxisMap.stretch(4, 8).inverse_linear()[1], rows[1], atol=1e-6)


def test_a_pixel_that_reaches_over_the_end_sees_the_last_one_repeated() -> None:
    """5 pixels of 1 mm on pixels of 2 mm: the third is centred on the very edge, so it is read at the last centre."""
    rows = AxisMap.centre(5, 1.0, 4, 2.0).linear()
    np.testing.assert_allclose(rows[2], [0, 0, 0, 1 / 3, 2 / 3], atol=1e-6)
    np.testing.assert_array_equal(rows[3], np.zeros(5))


@pytest.mark.parametrize("restore", ["labels", "probabilities"])
@pytest.mark.parametrize("spacing_mm", [(0.5, 0.8), (2.0, 1.6), (1.3, 0.7)], ids=str)
@pytest.mark.parametrize("plane", ["sagittal", "coronal", "axial"])
def test_a_box_comes_back_to_its_place_in_the_patient(
    plane: str, restore: str, spacing_mm: tuple[float, float]
) -> None:
    """Through the whole sampler, on voxels unlike the network's: the box's mean place in mm, to 0.3 of its pixel.

    The network's picture is drawn from mm alone: its pixel (r, c) lies where the field of view, centred on the slice
    to a whole pixel, puts it.
    """
    stack = {"sagittal": 0, "coronal": 1, "axial": 2}[plane]
    row_axis, column_axis = {"sagittal": (2, 1), "coronal": (2, 0), "axial": (1, 0)}[plane]
    flipped = plane != "axial"
    shape, spacing = np.array([20, 20, 20]), np.ones(3)
    spacing[[row_axis, column_axis]] = spacing_mm
    shape[stack] = 3
    spec = dataclasses.replace(SMALL_SPEC, plane=plane, intensity=Window(0, 1), input_size=(64, 64))
    volume = Volume(np.zeros(tuple(shape), np.float32), np.diag([*spacing, 1.0]))
    sampler = PlaneSlices(volume, spec)
    places = []
    for axis in (row_axis, column_axis):
        first_mm = first_mm_of((spacing[axis], int(shape[axis]), 1.0, 64))
        at = first_mm + np.arange(64.0)
        places.append((shape[axis] - 1) * spacing[axis] - at if flipped and axis == row_axis else at)
    low, high = 0.35 * (shape - 1) * spacing, 0.75 * (shape - 1) * spacing
    inside = [(at > low[axis]) & (at < high[axis]) for at, axis in zip(places, (row_axis, column_axis), strict=True)]
    picture = np.outer(*inside)
    expected = [float(at[each].mean()) for at, each in zip(places, inside, strict=True)]
    out = np.zeros(tuple(shape), np.float32)
    if restore == "labels":
        sampler.restore(out, 1, picture.astype(np.uint8))
    else:
        restored = sampler.restore_probabilities(picture[None].astype(np.float16))[0]
        np.moveaxis(out, (stack, row_axis, column_axis), (0, 1, 2))[1] = restored[::-1] if flipped else restored
    weight = np.moveaxis(out, (stack, row_axis, column_axis), (0, 1, 2))[1]
    native = [np.arange(shape[axis]) * spacing[axis] for axis in (row_axis, column_axis)]
    found = [float((weight.sum(axis=1 - axis) * at).sum() / weight.sum()) for axis, at in enumerate(native)]
    # Nearest neighbour moves each edge by half a native or network pixel at most, linear by far less.
    bound = [0.3 * max(1.0, mm) if restore == "labels" else 0.1 for mm in spacing_mm]
    assert np.abs(np.subtract(found, expected)).max() < max(bound), (found, expected)
    for each, wanted, most in zip(found, expected, bound, strict=True):
        assert abs(each - wanted) < most
