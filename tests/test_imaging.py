"""imaging/: where voxels lie, how slices reach the network, and how labels come back."""

from __future__ import annotations

import dataclasses
import itertools
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_model import SMALL_SPEC

from imaging import (
    ModelSpec,
    SliceSampler,
    StudySampler,
    Volume,
    Window,
    ZScore,
    probability_sums,
    read_nifti,
    write_nifti,
)
from imaging.nifti import read_nifti_labels
from imaging.resample import AxisMap
from imaging.slices import plane_spacing_mm, plane_view
from swinunet.errors import GeometryError, InputError, OutputError, SpecError

SIDED = [dataclasses.asdict(label) | {"name": f"Left {label.name}"} for label in SMALL_SPEC.labels]


def make_spec(**changes: object) -> ModelSpec:
    """A spec to vary."""
    return dataclasses.replace(SMALL_SPEC, **({"context_slices": 3} | changes))


def axis_orders() -> list[np.ndarray]:
    """All 48 signed permutations as 3x3 matrices, with three different spacings."""
    found = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            matrix = np.zeros((3, 3))
            for axis, (row, sign) in enumerate(zip(order, signs, strict=True)):
                matrix[row, axis] = sign * (1.0, 1.5, 2.0)[axis]
            found.append(matrix)
    return found


def place(
    matrix: np.ndarray, shape: tuple[int, int, int] = (5, 6, 7), origin: tuple[float, ...] = (3, -4, 5)
) -> Volume:
    """A volume whose voxels say where they are: value = L + 100 P + 10000 S (mm)."""
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = matrix, origin
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    lps = index @ affine[:3, :3].T + affine[:3, 3]
    return Volume((lps @ [1.0, 100.0, 10000.0]).astype(np.float64), affine)


@pytest.mark.parametrize("matrix", axis_orders())
def test_lps_view_points_the_right_way(matrix: np.ndarray) -> None:
    view = place(matrix).lps_view()
    assert (np.diag(view.affine)[:3] > 0).all()
    assert np.abs(view.affine[:3, :3] - np.diag(np.diag(view.affine)[:3])).max() == 0
    for axis, factor in enumerate((1.0, 100.0, 10000.0)):
        steps = np.diff(view.voxels, axis=axis)
        np.testing.assert_allclose(steps, factor * view.spacing_mm[axis], rtol=1e-12)
    assert view.voxels[0, 0, 0] == pytest.approx(view.affine[:3, 3] @ [1.0, 100.0, 10000.0])


@pytest.mark.parametrize("matrix", axis_orders())
@pytest.mark.parametrize("plane", ["sagittal", "coronal", "axial"])
def test_plane_view_is_laid_out_for_radiologists(matrix: np.ndarray, plane: str) -> None:
    volume = place(matrix)
    view = plane_view(volume.voxels, volume.affine, plane)
    direction = {"sagittal": (1, -10000, 100), "coronal": (100, -10000, 1), "axial": (10000, 100, 1)}[plane]
    spacing = plane_spacing_mm(volume, plane)
    for axis in range(3):
        np.testing.assert_allclose(np.diff(view, axis=axis), direction[axis] * spacing[axis], rtol=1e-9)


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


def test_equal_spacing_keeps_every_pixel() -> None:
    """A crop at the network's own spacing must not be blurred, whatever the parity of its size."""
    for n_in in (30, 31, 32):
        axis = AxisMap.centre(n_in, 1.00001, 32, 1.0)
        weights = axis.linear()
        assert set(np.unique(weights)) <= {0.0, 1.0}
        assert (weights.sum(axis=0) == 1).all()
        assert (axis.nearest()[axis.inverse_nearest()] == np.arange(n_in)).all()


@given(n_in=st.integers(4, 60), spacing=st.floats(0.4, 2.5), n_out=st.integers(60, 80))
@settings(max_examples=60, deadline=None)
def test_resampling_does_not_shift(n_in: int, spacing: float, n_out: int) -> None:
    """A ramp stays that ramp: pixel centres keep their place (the half-voxel trap would show as 0.5 or more).

    The widened triangle of a shrinking axis reproduces a ramp to about a tenth of a pixel, an enlarging one exactly.
    """
    axis = AxisMap.centre(n_in, spacing, n_out, 1.0)
    if not axis.fits:
        return
    values = axis.linear() @ np.arange(n_in, dtype=np.float32)
    inner = (axis.positions() > axis.step) & (axis.positions() < n_in - 1 - axis.step)
    np.testing.assert_allclose(values[inner], axis.positions()[inner], atol=1e-3 if axis.step <= 1 else 0.15)


def test_stretch_uses_the_whole_axis() -> None:
    axis = AxisMap.stretch(100, 50)
    assert axis.inside().all()
    np.testing.assert_allclose(axis.linear().sum(axis=1), 1, atol=1e-6)
    assert axis.positions()[0] == pytest.approx(0.5)
    assert axis.positions()[-1] == pytest.approx(98.5)


def answers(sampler: StudySampler, mask: np.ndarray, classes: int) -> Iterator[tuple[int, np.ndarray]]:
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
    sampler = StudySampler(volume, spec, restore)
    assert sum(len(image) for _, image in sampler.batches(5)) == len(sampler)
    for start, answer in answers(sampler, mask, spec.num_classes):
        sampler.add(start, answer)
    np.testing.assert_array_equal(sampler.mask(), mask)


@pytest.mark.parametrize("plane", ["sagittal", "coronal", "axial"])
def test_a_mirrored_reading_is_that_of_the_mirrored_patient(plane: Any) -> None:
    """Its slices are those of the volume turned left for right, in the other order where they are sagittal."""
    voxels = np.random.default_rng(0).random((8, 8, 8))
    spec = make_spec(plane=plane)
    mirror = SliceSampler(Volume(voxels, np.eye(4)), spec, mirrored=True)
    turned = SliceSampler(Volume(voxels[::-1].copy(), np.eye(4)), spec)
    for index in range(8):
        other = 7 - index if plane == "sagittal" else index
        np.testing.assert_allclose(mirror.image(index), turned.image(other), atol=1e-5)


def test_several_planes_are_averaged() -> None:
    """Two planes say foreground with 0.45 each, the third with 0.8: the mean, 0.57, decides."""
    spec = make_spec(further_planes=("coronal", "axial"))
    sampler = StudySampler(Volume(np.random.rand(8, 9, 10), np.eye(4)), spec)
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
        sampler = StudySampler(volume, spec)
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
        image = SliceSampler(volume, make_spec()).image(4)
        reference = image if reference is None else reference
        np.testing.assert_allclose(image, reference, atol=1e-4)


def test_context_is_in_millimetres() -> None:
    """Slices 2 mm apart and neighbours 1 mm apart: neighbours lie half way between slices; ends repeat."""
    volume = Volume(np.arange(10.0)[:, None, None] * np.ones((1, 8, 8)), np.diag([2.0, 1.0, 1.0, 1.0]))
    sampler = SliceSampler(volume, make_spec(intensity=Window(0, 9)))
    middle = sampler.image(4)[:, 16, 16]
    np.testing.assert_allclose((middle + 1) * 4.5, [3.5, 4.0, 4.5], atol=1e-5)
    np.testing.assert_allclose((sampler.image(0)[:, 16, 16] + 1) * 4.5, [0, 0, 0.5], atol=1e-5)


def test_zscore_ignores_scale_and_padding_is_zero() -> None:
    voxels = np.random.default_rng(0).gamma(2.0, 50.0, (12, 12, 12))
    plain = SliceSampler(Volume(voxels, np.eye(4)), make_spec())
    scaled = SliceSampler(Volume(voxels * 1e4 + 7, np.eye(4)), make_spec())
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
    counted, sorted_ = (SliceSampler(Volume(each, np.eye(4)), spec) for each in (voxels, voxels.astype(np.float64)))
    np.testing.assert_array_equal(counted.batch(0, 9), sorted_.batch(0, 9))


def test_slices_larger_than_the_field_of_view_are_refused() -> None:
    with pytest.raises(GeometryError, match="40 x 12 mm do not fit the model's field of view of 32 x 32 mm"):
        SliceSampler(Volume(np.random.rand(12, 12, 40), np.eye(4)), make_spec())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_intensities_that_are_no_numbers_are_refused(value: float) -> None:
    voxels = np.random.rand(8, 8, 8)
    voxels[1, 2, 3] = value
    with pytest.raises(InputError, match="not finite"):
        SliceSampler(Volume(voxels, np.eye(4)), make_spec())


def test_a_constant_image_is_refused() -> None:
    with pytest.raises(InputError, match="constant"):
        SliceSampler(Volume(np.full((8, 8, 8), 5.0), np.eye(4)), make_spec())


def test_probabilities_restore_smoothly() -> None:
    sampler = SliceSampler(Volume(np.random.rand(8, 10, 12), np.diag([1, 2.0, 2.0, 1])), make_spec())
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
    sampler = StudySampler(Volume(np.random.rand(12, 12, 12), np.eye(4)), spec)
    for start, answer in answers(sampler, mask, spec.num_classes):
        sampler.add(start, answer)
    np.testing.assert_array_equal(sampler.mask(), wanted if components == "largest" else mask)
    assert not StudySampler(Volume(np.random.rand(12, 12, 12), np.eye(4)), spec).mask().any()


def test_spec_round_trip() -> None:
    spec = make_spec(intensity=Window(-100, 300), spacing_mm=None)
    assert ModelSpec.from_json(spec.to_json(), "here") == spec


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema_version": 99}, "schema version 99, this software reads up to 1; update"),
        ({"context_slices": 4}, "must be odd"),
        ({"further_planes": ("sagittal",)}, "other planes than plane"),
        ({"mirrored": True, "labels": SIDED}, "a mirror image contradicts them"),
        ({"plane": "oblique"}, "plane"),
        ({"surprise": 1}, "surprise"),
        ({"labels": []}, None),
        ({"name": "a/b"}, "name"),
        ({"input_size": [0, 32]}, "positive"),
    ],
)
def test_broken_specs_are_refused(change: dict[str, object], says: str | None) -> None:
    text = json.dumps(json.loads(make_spec().to_json()) | change)
    if says is None:  # no foreground is a strange model, but a consistent spec
        assert ModelSpec.from_json(text, "here").num_classes == 1
        return
    with pytest.raises(SpecError, match=says):
        ModelSpec.from_json(text, "here")


@pytest.mark.parametrize("text", ["", "{}", "[1]", "{"])
def test_what_is_no_spec_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="here: this is no model spec"):
        ModelSpec.from_json(text, "here")


@pytest.mark.parametrize("matrix", axis_orders()[::7])
def test_nifti_round_trip_and_its_world(matrix: np.ndarray, tmp_path: Path) -> None:
    volume = place(matrix)
    write_nifti(Volume(volume.voxels.astype(np.float32), volume.affine), tmp_path / "v.nii.gz")
    again = read_nifti(tmp_path / "v.nii.gz")
    np.testing.assert_allclose(again.affine, volume.affine, atol=1e-5)
    np.testing.assert_array_equal(again.voxels, volume.voxels.astype(np.float32))
    ras = nib.load(tmp_path / "v.nii.gz").affine @ [0, 0, 0, 1]
    np.testing.assert_allclose(ras[:3], [-3, 4, 5], atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["v.nii.gz"]


def test_unreadable_nifti_is_refused(tmp_path: Path) -> None:
    whole = tmp_path / "whole.nii.gz"
    write_nifti(Volume(np.random.rand(20, 20, 20).astype(np.float32), np.eye(4)), whole)
    (tmp_path / "cut.nii.gz").write_bytes(whole.read_bytes()[:3000])
    (tmp_path / "text.nii").write_text("hello")
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, 3), np.float32), np.eye(4)), tmp_path / "four.nii")
    for name, says in {
        "cut.nii.gz": "not a readable NIfTI",
        "text.nii": "not a readable NIfTI",
        "none.nii": "no such file",
        "four.nii": "expected one volume",
    }.items():
        with pytest.raises(InputError, match=says):
            read_nifti(tmp_path / name)


def test_labels_must_be_whole_numbers(tmp_path: Path) -> None:
    write_nifti(Volume(np.full((3, 3, 3), 0.5, np.float32), np.eye(4)), tmp_path / "half.nii")
    with pytest.raises(InputError, match="whole numbers"):
        read_nifti_labels(tmp_path / "half.nii")


def test_nifti_into_nowhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        write_nifti(Volume(np.zeros((3, 3, 3), np.uint8), np.eye(4)), tmp_path / "none" / "v.nii.gz")
