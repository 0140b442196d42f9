"""Synthetic series: geometry in every orientation, value types, transfer syntaxes."""

from __future__ import annotations

import itertools
import tempfile
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_series import decimal, make_enhanced, make_series, read, rotation, save, shuffled, verdict_of
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    SegmentationStorage,
)

from swinunet.client.dicom import DicomVolume, VerdictKind, read_volume, scan_folder, select_series


def assert_places_every_voxel(dicom: DicomVolume, slices: Sequence[Dataset], tolerance_mm: float) -> None:
    """Values and positions of all voxels, each from its own source header by equation C.7.6.2.1-1 of PS3.3."""
    sources = {ds.SOPInstanceUID: ds for ds in slices}
    columns, rows, count = dicom.volume.shape
    assert count == len(slices) == len(dicom.source.headers)
    j, i = np.mgrid[:rows, :columns]
    for k in range(count):
        ds = sources[dicom.source.references[k][0]]
        stored = np.frombuffer(ds.PixelData, np.uint16).reshape(rows, columns)
        np.testing.assert_array_equal(dicom.volume.voxels[:, :, k], stored.T)
        assert dicom.source.headers[k].SOPInstanceUID == ds.SOPInstanceUID
        row, column = np.array(ds.ImageOrientationPatient[:3], float), np.array(ds.ImageOrientationPatient[3:], float)
        row_spacing, column_spacing = map(float, ds.PixelSpacing)
        expected = (
            np.array(ds.ImagePositionPatient, float)
            + i[..., None] * column_spacing * row
            + j[..., None] * row_spacing * column
        )
        index = np.stack([i, j, np.full_like(i, k), np.ones_like(i)], axis=-1)
        np.testing.assert_allclose((index @ dicom.volume.affine.T)[..., :3], expected, rtol=0, atol=tolerance_mm)


SIGNED_AXES = [
    (order, signs) for order in itertools.permutations(range(3)) for signs in itertools.product((1.0, -1.0), repeat=3)
]


@pytest.mark.parametrize(("order", "signs"), SIGNED_AXES)
def test_all_48_axis_orders_and_signs(
    order: tuple[int, int, int], signs: tuple[float, float, float], tmp_path: Path
) -> None:
    axes = np.eye(3)[list(order)] * np.array(signs)[:, None]
    slices = make_series(orientation=[*axes[0], *axes[1]], step_mm=axes[2] * 3.0)
    dicom = read(save(tmp_path, shuffled(slices, seed=len(order))))
    assert_places_every_voxel(dicom, slices, tolerance_mm=1e-9)
    assert np.linalg.det(dicom.volume.affine[:3, :3]) > 0
    np.testing.assert_allclose(dicom.volume.spacing_mm, (0.75, 0.5, 3.0))


@settings(max_examples=25, deadline=None)
@given(
    quaternion=st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1),
    spacing_mm=st.tuples(*[st.floats(0.1, 5.0)] * 3),
    origin_mm=st.tuples(*[st.floats(-500, 500)] * 3),
    count=st.integers(2, 4),
    backwards=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_oblique_geometry_round_trip(
    quaternion: tuple[float, ...],
    spacing_mm: tuple[float, ...],
    origin_mm: tuple[float, ...],
    count: int,
    backwards: bool,
    seed: int,
) -> None:
    turn = rotation(quaternion)
    slices = make_series(
        np.arange(count * 6, dtype=np.uint16).reshape(count, 2, 3),
        orientation=[*turn[:, 0], *turn[:, 1]],
        step_mm=turn[:, 2] * spacing_mm[2] * (-1 if backwards else 1),
        origin_mm=origin_mm,
        pixel_spacing_mm=spacing_mm[:2],
    )
    with tempfile.TemporaryDirectory() as folder:
        dicom = read(save(Path(folder), shuffled(slices, seed)))
    assert_places_every_voxel(dicom, slices, tolerance_mm=1e-6)
    np.testing.assert_allclose(dicom.volume.spacing_mm, [spacing_mm[1], spacing_mm[0], spacing_mm[2]], atol=1e-6)


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless],
    ids=lambda uid: uid.name,
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16], ids=lambda dtype: dtype.__name__)
def test_transfer_syntaxes_and_signs(syntax: pydicom.uid.UID, dtype: type, tmp_path: Path) -> None:
    limits = np.iinfo(dtype)
    stored = np.random.default_rng(0).integers(limits.min, limits.max, (3, 5, 4), dtype, endpoint=True)
    big = syntax == ExplicitVRBigEndian and stored.itemsize == 2
    slices = make_series(stored.astype(stored.dtype.newbyteorder(">")) if big else stored, bits_stored=limits.bits)
    for ds in slices:
        if syntax == RLELossless:
            ds.compress(RLELossless, generate_instance_uid=False)
        else:
            ds.file_meta.TransferSyntaxUID = syntax
    dicom = read(save(tmp_path, slices))
    assert dicom.volume.voxels.dtype == dtype
    np.testing.assert_array_equal(dicom.volume.voxels, stored.transpose(2, 1, 0))


@pytest.mark.parametrize(
    ("stored_dtype", "bits_stored", "slope", "intercept", "expected"),
    [
        (np.uint16, 12, "1", "-1024", np.int16),
        (np.uint16, 16, "1", "-1024", np.int32),
        (np.int16, 16, "1", "0", np.int16),
        (np.uint16, 12, "2", "0", np.uint16),
        (np.uint8, 8, "-1", "0", np.int16),
        (np.uint16, 12, "0.5", "0", np.float32),
        (np.uint16, 12, "1", "-0.25", np.float32),
    ],
)
def test_rescale_and_the_smallest_exact_type(
    stored_dtype: type, bits_stored: int, slope: str, intercept: str, expected: type, tmp_path: Path
) -> None:
    stored = np.random.default_rng(1).integers(0, 200, (2, 4, 3), stored_dtype)
    attributes = {"RescaleSlope": slope, "RescaleIntercept": intercept}
    voxels = read(save(tmp_path, make_series(stored, bits_stored=bits_stored, **attributes))).volume.voxels
    assert voxels.dtype == expected
    real = stored.transpose(2, 1, 0) * float(slope) + float(intercept)
    np.testing.assert_array_equal(voxels, real.astype(expected))


def test_each_slice_has_its_own_rescale(tmp_path: Path) -> None:
    slices = make_series(np.full((3, 2, 2), 10, np.uint16))
    for k, ds in enumerate(slices):
        ds.RescaleSlope, ds.RescaleIntercept = str(1.5 * (k + 1)), str(k)
    voxels = read(save(tmp_path, shuffled(slices, 3))).volume.voxels
    np.testing.assert_array_equal(voxels[0, 0], np.float32([15, 31, 47]))


def test_enhanced_frames_are_sorted_and_rescaled_one_by_one(tmp_path: Path) -> None:
    order = [2, 0, 3, 1]
    dicom = read(save(tmp_path, [make_enhanced(order)]))
    expected = [[2 * (10 * place + column) + place for place in range(4)] for column in range(3)]
    np.testing.assert_array_equal(dicom.volume.voxels[:, 0, :], expected)
    np.testing.assert_allclose(dicom.volume.affine[:3], [[0.75, 0, 0, 1], [0, 0.5, 0, 2], [0, 0, 2, 3]])
    assert [dicom.source.references[k][1] for k in range(4)] == [order.index(place) + 1 for place in range(4)]
    assert len(dicom.source.headers) == 1


@pytest.mark.parametrize(
    ("attributes", "thickness_mm", "said"),
    [
        ({"SliceThickness": "4", "SpacingBetweenSlices": "5"}, 4.0, "SliceThickness"),
        ({"SliceThickness": "", "SpacingBetweenSlices": "5"}, 5.0, "SpacingBetweenSlices"),
        ({}, 1.0, "assumed"),
    ],
)
def test_single_slice(attributes: dict[str, str], thickness_mm: float, said: str, tmp_path: Path) -> None:
    save(tmp_path, make_series(np.ones((1, 4, 3), np.uint16), **attributes))
    kind, sentence = verdict_of(tmp_path)
    assert kind is VerdictKind.SINGLE_SLICE
    assert f"{thickness_mm:g} mm thick ({said}" in sentence
    np.testing.assert_allclose(read(tmp_path).volume.spacing_mm, (0.75, 0.5, thickness_mm))


@pytest.mark.parametrize("rounding_mm", [0.1, 0.01])
def test_positions_rounded_by_the_scanner_are_even(rounding_mm: float, tmp_path: Path) -> None:
    slices = make_series(np.zeros((12, 2, 2), np.uint16))
    for k, ds in enumerate(slices):
        ds.ImagePositionPatient = decimal((0, 0, np.round(k * 0.75 / rounding_mm) * rounding_mm))
    assert verdict_of(save(tmp_path, slices))[0] is VerdictKind.OK


def test_every_file_is_counted_whatever_its_name(tmp_path: Path) -> None:
    slices = make_series()
    save(tmp_path / "deep" / "er", slices[:3], ["no_extension", "b.jpg", "c.dcm"])
    save(tmp_path, slices[3:], ["0", "z.IMA"])
    report, mask = make_series()[:2]
    report.SOPClassUID, mask.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11", SegmentationStorage
    save(tmp_path, [report, mask], ["report.dcm", "mask.dcm"])
    (tmp_path / "notes.txt").write_text("nothing" * 50)
    (tmp_path / "empty").touch()
    scan = scan_folder(tmp_path)
    assert [len(series.files) for series in scan.series] == [5]
    assert (scan.not_dicom, scan.not_images, scan.unreadable) == (2, 2, ())
    assert_places_every_voxel(read(tmp_path), slices, tolerance_mm=1e-9)
    assert scan_folder(tmp_path / "0").series[0].verdict.kind is VerdictKind.SINGLE_SLICE


def test_peak_memory_is_the_volume_and_a_slice(tmp_path: Path) -> None:
    save(tmp_path, make_series(np.zeros((20, 256, 256), np.uint16)))
    series = select_series(scan_folder(tmp_path))
    read_volume(series)
    tracemalloc.start()
    volume = read_volume(series).volume
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < volume.voxels.nbytes + 10 * volume.voxels[:, :, 0].nbytes
