"""imaging/: how slices reach the network, and how labels come back."""

from __future__ import annotations

import dataclasses
import itertools
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from placed_volumes import axis_orders, place
from small_model import SMALL_SPEC

from swinunet.foundation.errors import GeometryError, InputError, OutputError
from swinunet.imaging import ModelSpec, PlaneSlices, StudySlices, Volume, Window, ZScore, probability_sums
from swinunet.imaging.slices import plane_spacing_mm, plane_view


def make_spec(**changes: object) -> ModelSpec:
    """A spec to vary."""
    return dataclasses.replace(SMALL_SPEC, **({"context_slices": 3} | changes))


@pytest.mark.parametrize("matrix", axis_orders())
@pytest.mark.parametrize("plane", ["sagittal", "coronal", "axial"])
def test_plane_view_is_laid_out_for_radiologists(matrix: np.ndarray, plane: str) -> None:
    volume = place(matrix)
    view = plane_view(volume.voxels, volume.affine, plane)
    direction = {"sagittal": (1, -10000, 100), "coronal": (100, -10000, 1), "axial": (10000, 100, 1)}[plane]
    spacing = plane_spacing_mm(volume, plane)
    for axis in range(3):
        np.testing.assert_allclose(np.diff(view, axis=axis), direction[axis] * spacing[axis], rtol=1e-9)


def answers(sampler: StudySlices, mask: np.ndarray, classes: int) -> Iterator[tuple[int, np.ndarray]]:
    """What a network that knows `mask` would say, five slices at a time."""
    for start, image in sampler.batches(5):
        labels = np.stack([sampler.network_labels(mask, start + offset) for offset in range(len(image))])
        one_hot = np.moveaxis(np.eye(classes, dtype=np.float16)[labels], -1, 1)
        yield start, labels if sampler.output == "labels" else one_hot


@pytest.mark.parametrize("matrix", axis_orders()[::5])
@pytest.mark.parametrize("restore", ["labels", "probabilities"])
@pytest.mark.parametrize("planes", [("sagittal",), ("coronal",), ("axial",), ("coronal", "axial", "sagittal")], ids=str)
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_mask_comes_back_to_the_grid_it_was_made_on(
    matrix: np.ndarray, restore: Any, planes: Any, mirrored: bool
) -> None:
    """Isotropic voxels at the network's spacing: network labels restored give the very mask."""
    volume = place(np.sign(matrix), shape=(11, 12, 13))
    spec = make_spec(plane=planes[0], further_planes=planes[1:], mirrored=mirrored)
    mask = np.random.default_rng(0).integers(0, spec.num_classes, volume.shape).astype(np.uint8)
    sampler = StudySlices(volume, spec, restore)
    assert sum(len(image) for _, image in sampler.batches(5)) == len(sampler)
    for start, answer in answers(sampler, mask, spec.num_classes):
        sampler.add(start, answer)
    np.testing.assert_array_equal(sampler.mask(), mask)


@pytest.mark.parametrize("plane", ["sagittal", "coronal", "axial"])
def test_a_mirrored_reading_is_that_of_the_mirrored_patient(plane: Any) -> None:
    """Its slices are those of the volume turned left for right, in the other order where they are sagittal."""
    voxels = np.random.default_rng(0).random((8, 8, 8))
    spec = make_spec(plane=plane)
    mirror = PlaneSlices(Volume(voxels, np.eye(4)), spec, mirrored=True)
    turned = PlaneSlices(Volume(voxels[::-1].copy(), np.eye(4)), spec)
    for index in range(8):
        other = 7 - index if plane == "sagittal" else index
        np.testing.assert_allclose(mirror.image(index), turned.image(other), atol=1e-5)


def test_several_planes_are_averaged() -> None:
    """Two planes say foreground with 0.45 each, the third with 0.8: the mean, 0.57, decides."""
    spec = make_spec(further_planes=("coronal", "axial"))
    sampler = StudySlices(Volume(np.random.rand(8, 9, 10), np.eye(4)), spec)
    assert (len(sampler), sampler.output) == (8 + 9 + 10, "probabilities")
    for start, image in sampler.batches(4):
        said = np.zeros((len(image), spec.num_classes, 32, 32), np.float16)
        said[:, 1] = 0.8 if sampler.locate(start)[0].plane == "axial" else 0.45
        said[:, 0] = 1 - said[:, 1]
        sampler.add(start, said)
    assert (sampler.mask() == 1).all()
    with pytest.raises(IndexError):
        sampler.locate(len(sampler))


@pytest.mark.parametrize("matrix", axis_orders()[::5])
@pytest.mark.parametrize("most_bytes", [1, 3000])
def test_sums_that_do_not_fit_memory_give_the_same_mask(
    matrix: np.ndarray, most_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All planes, mirrored or not; cut into slabs of one voxel or a few along the first axis."""
    volume = place(np.sign(matrix), shape=(11, 12, 13))
    spec = make_spec(further_planes=("coronal", "axial"), mirrored=True)
    rng = np.random.default_rng(0)
    masks, confidences = [], []
    said = rng.dirichlet(np.ones(spec.num_classes), (2 * 36, 32, 32)).transpose(0, 3, 1, 2).astype(np.float16)
    for bound in (2**26, most_bytes):
        monkeypatch.setattr(probability_sums, "_MOST_BYTES", bound)
        sampler = StudySlices(volume, spec)
        for start in range(0, len(sampler), 5):
            sampler.add(start, said[start : start + 5])
        masks.append(sampler.mask())
        confidences.append(sampler.confidence)
    np.testing.assert_array_equal(*masks)
    np.testing.assert_array_equal(*confidences)


def test_a_disk_that_is_full_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probability_sums, "_MOST_BYTES", 1)
    with Path("/dev/full").open("r+b", buffering=0) as full:
        monkeypatch.setattr(probability_sums.tempfile, "TemporaryFile", lambda: full)
        sums = probability_sums.ProbabilitySums(2, (4, 5, 6), np.eye(4))
        with pytest.raises(OutputError, match=r"cannot write \(No space left on device\); .* set TMPDIR"):
            sums.add("axial", 0, np.zeros((2, 5, 4), np.float32))


def test_sums_are_bounded_whatever_the_number_of_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty classes: 5 MiB of float32 sums, of which a quarter of one may be in memory."""
    monkeypatch.setattr(probability_sums, "_MOST_BYTES", 2**18)
    said = np.full((40, 32, 32), 1 / 40, np.float32)
    tracemalloc.start()
    sums = probability_sums.ProbabilitySums(40, (32, 32, 32), np.eye(4))
    for plane, at in itertools.product(("sagittal", "coronal", "axial"), range(32)):
        sums.add(plane, at, said)
    for _, each in sums.slabs():
        np.testing.assert_allclose(each, 3 / 40, rtol=1e-3)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 2**18 * 5


def test_the_same_anatomy_gives_the_same_slices_however_it_is_stored() -> None:
    reference = None
    for matrix in axis_orders():
        volume = place(np.sign(matrix), shape=(9, 9, 9), origin=tuple(-4 * np.sign(matrix).sum(axis=1)))
        image = PlaneSlices(volume, make_spec()).image(4)
        reference = image if reference is None else reference
        np.testing.assert_allclose(image, reference, atol=1e-4)


def test_context_is_in_millimetres() -> None:
    """Slices 2 mm apart and neighbours 1 mm apart: neighbours lie half way between slices; ends repeat."""
    volume = Volume(np.arange(10.0)[:, None, None] * np.ones((1, 8, 8)), np.diag([2.0, 1.0, 1.0, 1.0]))
    sampler = PlaneSlices(volume, make_spec(intensity=Window(0, 9)))
    middle = sampler.image(4)[:, 16, 16]
    np.testing.assert_allclose((middle + 1) * 4.5, [3.5, 4.0, 4.5], atol=1e-5)
    np.testing.assert_allclose((sampler.image(0)[:, 16, 16] + 1) * 4.5, [0, 0, 0.5], atol=1e-5)


def test_zscore_ignores_scale_and_padding_is_zero() -> None:
    voxels = np.random.default_rng(0).gamma(2.0, 50.0, (12, 12, 12))
    plain = PlaneSlices(Volume(voxels, np.eye(4)), make_spec())
    scaled = PlaneSlices(Volume(voxels * 1e4 + 7, np.eye(4)), make_spec())
    np.testing.assert_allclose(plain.image(5), scaled.image(5), atol=1e-4)
    assert (plain.image(5)[:, 0] == 0).all()
    assert plain.batch(0, 3).dtype == np.float16
    assert plain.batch(0, 3).shape == (3, 3, 32, 32)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])
@given(seed=st.integers(0, 2**31), percentiles=st.tuples(st.floats(0, 25), st.floats(75, 100)))
@settings(max_examples=25, deadline=None)
def test_whole_numbers_are_normalised_as_real_ones(dtype: type, seed: int, percentiles: tuple[float, float]) -> None:
    """Counting 16-bit voxels and sorting float64 ones give the same network input, to the bit."""
    rng, range_ = np.random.default_rng(seed), np.iinfo(dtype)
    low, high = np.sort(rng.integers(range_.min, range_.max, 2, endpoint=True))
    voxels = rng.integers(low, max(high, low + 2), (9, 10, 11)).astype(dtype)
    spec = make_spec(intensity=ZScore("zscore", *percentiles))
    counted, sorted_ = (PlaneSlices(Volume(each, np.eye(4)), spec) for each in (voxels, voxels.astype(np.float64)))
    np.testing.assert_array_equal(counted.batch(0, 9), sorted_.batch(0, 9))


def test_slices_larger_than_the_field_of_view_are_refused() -> None:
    with pytest.raises(GeometryError, match="40 x 12 mm do not fit the model's field of view of 32 x 32 mm"):
        PlaneSlices(Volume(np.random.rand(12, 12, 40), np.eye(4)), make_spec())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("intensity", [ZScore(), Window(0, 1)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_intensities_that_are_no_numbers_are_refused(
    value: float, intensity: ZScore | Window, dtype: type[np.floating]
) -> None:
    """Whatever the intensity rule: a window would hand NaN to the server, and not every engine refuses it."""
    voxels = np.random.rand(8, 8, 8).astype(dtype)
    voxels[1, 2, 3] = voxels[4, 4, 4] = value
    with pytest.raises(InputError, match=r"not finite numbers \(2 of 512\)"):
        PlaneSlices(Volume(voxels, np.eye(4)), make_spec(intensity=intensity))


def test_a_second_modality_that_is_no_number_is_refused() -> None:
    voxels = np.random.rand(8, 8, 8)
    broken = np.where(voxels == voxels.max(), np.nan, voxels)
    spec = make_spec(modalities=("one", "two"), intensity=Window(0, 1))
    with pytest.raises(InputError, match=r"not finite numbers \(1 of 512\)"):
        PlaneSlices([Volume(voxels, np.eye(4)), Volume(broken, np.eye(4))], spec)


def test_a_constant_image_is_refused() -> None:
    with pytest.raises(InputError, match="constant"):
        PlaneSlices(Volume(np.full((8, 8, 8), 5.0), np.eye(4)), make_spec())


def test_probabilities_restore_smoothly() -> None:
    sampler = PlaneSlices(Volume(np.random.rand(8, 10, 12), np.diag([1, 2.0, 2.0, 1])), make_spec())
    probabilities = np.full((2, 32, 32), 0.5, np.float16)
    restored = sampler.restore_probabilities(probabilities)
    assert restored.shape == (2, 12, 10)
    np.testing.assert_allclose(restored, 0.5, atol=1e-3)


@pytest.mark.parametrize("components", ["largest", "all"])
def test_only_the_largest_piece_stays_where_the_spec_says_so(components: str) -> None:
    mask = np.zeros((12, 12, 12), np.uint8)
    mask[1:4, 1:4, 1:4], mask[4, 4, 4] = 1, 2  # touches at a corner: one piece
    wanted = mask.copy()
    mask[8:10, 8:10, 8:10] = 1
    spec = make_spec(components=components)
    sampler = StudySlices(Volume(np.random.rand(12, 12, 12), np.eye(4)), spec)
    for start, answer in answers(sampler, mask, spec.num_classes):
        sampler.add(start, answer)
    np.testing.assert_array_equal(sampler.mask(), wanted if components == "largest" else mask)
    assert not StudySlices(Volume(np.random.rand(12, 12, 12), np.eye(4)), spec).mask().any()
