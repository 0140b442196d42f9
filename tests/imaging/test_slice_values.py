"""What the network is given, voxel by voxel, worked out with numpy alone; and what StudySlices makes of answers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_model import SMALL_SPEC

from swinunet.foundation.errors import GeometryError, InputError
from swinunet.imaging import ModelSpec, PlaneSlices, StudySlices, Volume, Window, ZScore
from swinunet.imaging.slices import in_memory_order, plane_axes

RNG = np.random.default_rng(0)
VOXELS = RNG.normal(100, 30, (6, 7, 8))


def make_spec(**changes: object) -> ModelSpec:
    """Slices of 8 x 8 pixels of 1 mm, one of context."""
    return dataclasses.replace(SMALL_SPEC, **({"input_size": (8, 8)} | changes))


def unit(voxels: np.ndarray) -> Volume:
    return Volume(voxels, np.eye(4))


def laid_out(voxels: np.ndarray, plane: str) -> np.ndarray:
    """[slices, rows, columns] of an LPS volume as radiologists look at it, by hand."""
    if plane == "axial":
        return voxels.transpose(2, 1, 0)
    return (voxels.transpose(0, 2, 1) if plane == "sagittal" else voxels.transpose(1, 2, 0))[:, ::-1]


def padded(image: np.ndarray, size: int = 8) -> np.ndarray:
    """Centred, the smaller half of the padding first, as `AxisMap.centre` documents."""
    before = [(size - n) // 2 for n in image.shape]
    return np.pad(image, [(a, size - n - a) for a, n in zip(before, image.shape, strict=True)])


@pytest.mark.parametrize("plane", ["sagittal", "coronal", "axial"])
def test_a_window_maps_its_bounds_to_minus_one_and_one(plane: str) -> None:
    spec = make_spec(plane=plane, intensity=Window(60.0, 140.0))
    sampler = PlaneSlices(unit(VOXELS), spec)
    expected = (np.clip(VOXELS, 60, 140) - 100) / 40
    for index, native in enumerate(laid_out(expected, plane)):
        np.testing.assert_allclose(sampler.image(index)[0], padded(native), atol=1e-5)
    assert len(sampler) == len(laid_out(VOXELS, plane))
    assert plane_axes(plane) == {"sagittal": (0, 2, 1), "coronal": (1, 2, 0), "axial": (2, 1, 0)}[plane]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scaled_to", "around"), [((0.0, 1.0), (0.5, 80)), ((-3.0, 5.0), (1.0, 10)), ((2, 3), (2.5, 80))]
)
def test_a_window_maps_its_bounds_to_what_it_is_scaled_to(
    scaled_to: tuple[float, float], around: tuple[float, float]
) -> None:
    sampler = PlaneSlices(unit(VOXELS), make_spec(plane="axial", intensity=Window(60.0, 140.0, scaled_to=scaled_to)))
    expected = around[0] + (np.clip(VOXELS, 60, 140) - 100) / around[1]
    for index, native in enumerate(laid_out(expected, "axial")):
        np.testing.assert_allclose(sampler.image(index)[0], padded(native), atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int16, np.uint8])
@pytest.mark.parametrize("percentiles", [(0.5, 99.5), (0.0, 100.0), (10.0, 70.0)])
def test_a_zscore_is_numpys(dtype: type, percentiles: tuple[float, float]) -> None:
    voxels = VOXELS.astype(dtype)
    sampler = PlaneSlices(unit(voxels), make_spec(plane="axial", intensity=ZScore("zscore", *percentiles)))
    clipped = np.clip(voxels.astype(np.float64), *np.percentile(voxels.astype(np.float64), percentiles))
    expected = laid_out((clipped - clipped.mean()) / clipped.std(), "axial")
    for index in range(len(sampler)):
        np.testing.assert_allclose(sampler.image(index)[0], padded(expected[index]), atol=2e-4)


@pytest.mark.parametrize("stored", [np.float32, np.int16])
def test_how_near_to_constant_an_image_may_be(stored: type) -> None:
    """A deviation of a millionth of the largest value is noise of the storage; ten times that is an image."""
    flat = np.full((8, 8, 8), 20000, stored)
    with pytest.raises(InputError, match=r"constant \(value 20000\)"):
        PlaneSlices(unit(flat), make_spec())
    flat[4:] += stored(1)
    PlaneSlices(unit(flat), make_spec())
    large = np.full((8, 8, 8), 20000.0)
    large[4:] += 0.01  # a deviation of 0.005, allowed 0.02
    with pytest.raises(InputError, match="constant"):
        PlaneSlices(unit(large), make_spec())
    large[4:] += 0.09
    PlaneSlices(unit(large), make_spec())
    tiny = np.full((8, 8, 8), 1.0)
    tiny[4:] += 1e-6  # a deviation of 5e-7
    with pytest.raises(InputError, match="constant"):
        PlaneSlices(unit(tiny), make_spec())
    tiny[4:] += 4e-6
    PlaneSlices(unit(tiny), make_spec())
    with pytest.raises(InputError, match=r"constant \(value 0\)"):
        PlaneSlices(unit(np.zeros((8, 8, 8))), make_spec())
    PlaneSlices(unit(-1e-3 * np.arange(512.0).reshape(8, 8, 8)), make_spec())


@pytest.mark.parametrize(("slices", "step_mm"), [(3, 1.0), (3, 0.5), (5, 2.5), (7, 1.3)])
def test_context_slices_lie_where_their_mm_say(slices: int, step_mm: float) -> None:
    """np.interp between slices 2 mm apart; the first and last repeat."""
    values = RNG.normal(size=9)
    volume = Volume(values[:, None, None] * np.ones((1, 8, 8)), np.diag([2.0, 1.0, 1.0, 1.0]))
    spec = make_spec(plane="sagittal", context_slices=slices, context_step_mm=step_mm, intensity=Window(-9.0, 9.0))
    sampler = PlaneSlices(volume, spec)
    for index in range(9):
        at_mm = 2 * index + step_mm * (np.arange(slices) - slices // 2)
        expected = np.interp(at_mm, 2.0 * np.arange(9), values) / 9
        np.testing.assert_allclose(sampler.image(index)[:, 4, 4], expected, atol=2e-3 * 2)


def test_a_neighbour_that_is_hardly_off_a_slice_is_that_slice() -> None:
    volume = Volume(np.arange(5.0)[:, None, None] * np.ones((1, 8, 8)), np.diag([1.0, 1.0, 1.0, 1.0]))
    spec = make_spec(plane="sagittal", context_slices=3, intensity=Window(-4.0, 4.0))
    off = PlaneSlices(volume, dataclasses.replace(spec, context_step_mm=1.0005)).image(2)[2, 0, 0]
    beyond = PlaneSlices(volume, dataclasses.replace(spec, context_step_mm=1.01)).image(2)[2, 0, 0]
    assert off * 4 == 3.0
    assert beyond * 4 == pytest.approx(3.01)


def test_modalities_are_channels_each_with_its_own_normalisation() -> None:
    first, second = VOXELS, 5 - 3 * VOXELS**2
    spec = make_spec(plane="axial", modalities=("one", "two"), context_slices=3, intensity=ZScore("zscore", 0, 100))
    image = PlaneSlices((unit(first), unit(second)), spec).image(4)
    assert image.shape == (6, 8, 8)
    for number, voxels in enumerate((first, second)):
        normal = laid_out((voxels - voxels.mean()) / voxels.std(), "axial")
        for context in range(3):
            np.testing.assert_allclose(image[3 * number + context], padded(normal[3 + context]), atol=1e-4)


def test_modalities_must_be_as_many_and_on_one_grid() -> None:
    two = make_spec(modalities=("one", "two"))
    with pytest.raises(InputError, match=r"^1 modality found, the model expects 2 modalities \(one, two\)$"):
        PlaneSlices(unit(VOXELS), two)
    with pytest.raises(InputError, match=r"^2 modalities found, the model expects 1 modality$"):
        PlaneSlices((unit(VOXELS), unit(VOXELS)), make_spec())
    with pytest.raises(GeometryError, match=r"^two has the grid \(6, 7, 7\), one \(6, 7, 8\), or they lie apart"):
        PlaneSlices((unit(VOXELS), unit(VOXELS[..., :7])), two)
    moved = Volume(VOXELS, np.diag([1.0, 1.0, 1.1, 1.0]))
    with pytest.raises(GeometryError, match="two has the grid"):
        PlaneSlices((unit(VOXELS), moved), two)


@pytest.mark.parametrize(
    ("shape", "spacing", "says"),
    [
        ((3, 8, 9), (1.0, 1.0, 1.0), "9 x 8 mm do not fit the model's field of view of 8 x 12 mm"),
        ((3, 9, 8), (1.0, 2.0, 1.0), "8 x 18 mm do not fit the model's field of view of 8 x 12 mm"),
        ((3, 12, 8), (1.0, 1.0, 1.0), None),
    ],
)
def test_the_field_of_view_is_pixels_times_spacing(
    shape: tuple[int, int, int], spacing: tuple[float, ...], says: str | None
) -> None:
    """8 rows of 1 mm and 8 columns of 1.5 mm; rows of a sagittal slice run along S, columns along P."""
    volume = Volume(RNG.normal(size=shape), np.diag([*spacing, 1.0]))
    spec = make_spec(plane="sagittal", spacing_mm=(1.0, 1.5))
    if says is None:
        assert PlaneSlices(volume, spec).image(0).shape == (1, 8, 8)
    else:
        with pytest.raises(GeometryError, match=f"sagittal slices of {says}"):
            PlaneSlices(volume, spec)


def test_stretching_ignores_mm() -> None:
    volume = Volume(RNG.normal(size=(3, 4, 16)), np.diag([1.0, 70.0, 9.0, 1.0]))
    sampler = PlaneSlices(volume, make_spec(plane="sagittal", spacing_mm=None))
    assert sampler.image(1).shape == (1, 8, 8)
    assert (sampler.image(1) != 0).all()
    labels = RNG.integers(0, 3, (3, 4, 16)).astype(np.uint8)
    found = sampler.network_labels(labels, 1)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[:, 0::2], found[:, 1::2])  # 4 columns on 8


@given(shape=st.permutations([3, 4, 5]), order=st.permutations(range(3)))
@settings(max_examples=12, deadline=None)
def test_memory_order_turns_the_slowest_axis_first(shape: list[int], order: list[int]) -> None:
    voxels = np.arange(60).reshape(shape).transpose(order)
    found = in_memory_order(voxels)
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found.ravel(), np.arange(60))
    assert in_memory_order(voxels[::-1]).shape == found.shape


def test_a_batch_stops_where_it_is_told() -> None:
    sampler = PlaneSlices(unit(VOXELS), make_spec(plane="axial"))
    batch = sampler.batch(2, 5)
    assert (batch.shape, batch.dtype) == ((3, 1, 8, 8), np.float16)
    for offset in range(3):
        np.testing.assert_array_equal(batch[offset], sampler.image(2 + offset).astype(np.float16))


def test_batches_number_the_slices_of_all_readings_through() -> None:
    spec = make_spec(plane="axial", further_planes=("coronal",), mirrored=True)
    sampler = StudySlices(unit(VOXELS), spec)
    starts = [(start, len(image)) for start, image in sampler.batches(5)]
    assert starts == [(0, 5), (5, 3), (8, 5), (13, 2), (15, 5), (20, 3), (23, 5), (28, 2)]
    assert len(sampler) == 30
    assert [sampler.locate(at)[1] for at in (0, 7, 8, 14, 15, 29)] == [0, 7, 0, 6, 0, 6]
    assert [sampler.locate(at)[0].plane for at in (7, 8, 22, 23)] == ["axial", "coronal", "axial", "coronal"]
    with pytest.raises(IndexError):
        sampler.locate(30)


def test_one_reading_gives_labels_as_they_are_asked_for() -> None:
    plain, smooth = (StudySlices(unit(VOXELS), make_spec(), how) for how in ("labels", "probabilities"))  # type: ignore[arg-type]
    assert (plain.output, plain.confidence) == ("labels", None)
    assert smooth.output == "probabilities"
    assert StudySlices(unit(VOXELS), make_spec(further_planes=("axial",)), "labels").output == "probabilities"
    assert plain.mask().dtype == smooth.mask().dtype == np.uint8
    assert plain.mask().shape == VOXELS.shape


@pytest.mark.parametrize("further", [(), ("coronal",)])
@pytest.mark.parametrize(("probability", "byte"), [(1.0, 255), (0.75, 191), (0.5, 128)])
def test_confidence_is_the_winner_of_255(further: tuple[str, ...], probability: float, byte: int) -> None:
    """rint(0.75 * 255) = 191; the mean of readings that agree is what each says."""
    spec = make_spec(plane="axial", further_planes=further)
    sampler = StudySlices(unit(VOXELS), spec, "probabilities")
    for start, image in sampler.batches(4):
        said = np.zeros((len(image), 3, 8, 8), np.float16)
        said[:, 2], said[:, 0] = probability, 1 - probability
        sampler.add(start, said)
    assert (sampler.mask() == (2 if probability > 0.5 else 0)).all()
    assert sampler.confidence is not None
    assert (np.abs(sampler.confidence.astype(int) - byte) <= 1).all()
    if probability == 1.0:
        assert (sampler.confidence == 255).all()


def test_labels_land_in_the_slice_they_were_asked_for() -> None:
    spec = make_spec(plane="coronal")
    sampler = StudySlices(unit(VOXELS), spec)
    answer = np.zeros((2, 8, 8), np.uint8)
    answer[0], answer[1] = 1, 2
    sampler.add(3, answer)
    mask = sampler.mask()
    np.testing.assert_array_equal(mask.max(axis=(0, 2)), [0, 0, 0, 1, 2, 0, 0])
    np.testing.assert_array_equal(mask.min(axis=(0, 2)), [0, 0, 0, 1, 2, 0, 0])


def test_two_readings_are_averaged() -> None:
    """The first says foreground with 0.25, the second with 1: 0.625, which is 159 of 255."""
    sampler = StudySlices(unit(VOXELS), make_spec(plane="axial", further_planes=("coronal",)))
    for start, image in sampler.batches(4):
        answer = np.zeros((len(image), 3, 8, 8), np.float16)
        answer[:, 1] = 0.25 if start < 8 else 1.0
        answer[:, 0] = 1 - answer[:, 1]
        sampler.add(start, answer)
    assert (sampler.mask() == 1).all()
    assert sampler.confidence is not None
    assert (np.abs(sampler.confidence.astype(int) - 159) <= 1).all()


@pytest.mark.parametrize(("probability", "byte"), [(0.0, 0), (1.004, 255)])
def test_confidence_stays_a_byte_where_rounding_leaves_the_range(probability: float, byte: int) -> None:
    """1.004 * 255 would be 256, which a byte holds as 0."""
    sampler = StudySlices(unit(VOXELS), make_spec(plane="axial"), "probabilities")
    for start, image in sampler.batches(4):
        sampler.add(start, np.full((len(image), 3, 8, 8), probability, np.float16))
    assert sampler.confidence is not None
    assert (sampler.confidence == byte).all()


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_per_slice_a_volume_is_read_as_each_of_its_slices_alone(dtype: type) -> None:
    """Slices of a gain that triples: statistics of the volume would bring each of them elsewhere."""
    gains = np.linspace(1, 3, 8)
    voxels = (VOXELS * gains).astype(dtype)
    spec = make_spec(plane="axial", context_slices=3, intensity=ZScore("zscore", 5.0, 90.0, per="slice"))
    image = PlaneSlices(unit(voxels), spec).image(4)
    for at, index in enumerate((3, 4, 5)):
        alone = voxels[:, :, index].astype(np.float64)
        clipped = np.clip(alone, *np.percentile(alone, (5.0, 90.0)))
        expected = ((clipped - clipped.mean()) / clipped.std()).T
        np.testing.assert_allclose(image[at], padded(expected), atol=2e-4)
        single = PlaneSlices(unit(voxels[:, :, index : index + 1]), spec).image(0)[1]
        np.testing.assert_allclose(single, image[at], atol=1e-5)
    of_volume = dataclasses.replace(spec, intensity=ZScore("zscore", 5.0, 90.0))
    assert np.abs(PlaneSlices(unit(voxels), of_volume).image(4) - image).max() > 0.1


def test_per_slice_a_constant_slice_is_0_and_a_constant_image_refused() -> None:
    spec = make_spec(plane="axial", intensity=ZScore(per="slice"))
    voxels = VOXELS.copy()
    voxels[:, :, 2] = 70
    sampler = PlaneSlices(unit(voxels), spec)
    assert not sampler.image(2).any()
    assert sampler.image(3).any()
    with pytest.raises(InputError, match="constant"):
        PlaneSlices(unit(np.full((6, 7, 8), 70.0)), spec)


def test_per_slice_holds_for_further_planes() -> None:
    """Each plane's own slices: those of the coronal reading do not take over the axial ones' statistics."""
    spec = make_spec(plane="axial", further_planes=("coronal",), intensity=ZScore("zscore", 0, 100, per="slice"))
    sampler = StudySlices(unit(VOXELS * np.arange(1, 8)[:, None]), spec)
    for view, axis in zip(sampler.views, (2, 1), strict=True):
        for index in range(len(view)):
            inner = view.image(index)[0]
            filled = inner[inner != 0]
            assert filled.mean() == pytest.approx(0, abs=1e-4)
            assert filled.std() == pytest.approx(1, abs=1e-4)
        assert len(view) == VOXELS.shape[axis]


def test_per_view_only_what_the_network_sees_counts() -> None:
    """A bright rim outside the field of view changes nothing; inside it, the slice is z-scored as it is seen."""
    spec = make_spec(
        plane="axial", input_size=(4, 4), larger_slices="middle", intensity=ZScore("zscore", 0, 100, per="view")
    )
    voxels = np.random.default_rng(0).normal(100, 10, (8, 8, 3))
    seen = voxels[2:6, 2:6, 1]
    expected = ((seen - seen.mean()) / seen.std()).T
    for rim in (100.0, 5000.0):
        voxels[:2], voxels[6:], voxels[:, :2], voxels[:, 6:] = rim, rim, rim, rim
        np.testing.assert_allclose(PlaneSlices(unit(voxels), spec).image(1)[0], expected, atol=1e-4)
