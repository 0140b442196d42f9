"""Synthetic series: geometry in every orientation, value types, and one reject test per guard."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
    RLELossless,
    SegmentationStorage,
    generate_uid,
)
from pydicom.valuerep import DSfloat

import swinunet.cli
from client.dicom import DicomVolume, VerdictKind, read_volume, scan_folder, select_series
from swinunet.errors import GeometryError, InputError, SwinUNetError

PATIENT = {"PatientName": "SECRETNAME^ANNA", "PatientID": "SECRETID77", "PatientBirthDate": "19010203"}
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
Edit = Callable[[list[Dataset]], object]


def decimal(numbers: Sequence[float]) -> list[DSfloat]:
    return [DSfloat(float(number), auto_format=True) for number in numbers]


def make_series(
    stored: np.ndarray | None = None,
    *,
    orientation: Sequence[float] = AXIAL,
    step_mm: Sequence[float] = (0.0, 0.0, 2.0),
    origin_mm: Sequence[float] = (-10.0, 5.0, 30.0),
    pixel_spacing_mm: Sequence[float] = (0.5, 0.75),
    bits_stored: int = 16,
    **attributes: Any,
) -> list[Dataset]:
    """MR slices with these stored values [K, rows, columns], the k-th at origin + k * step; nothing is on disk yet."""
    stored = np.arange(60, dtype=np.uint16).reshape(5, 4, 3) if stored is None else stored
    series_uid, study_uid, reference_uid = generate_uid(), generate_uid(), generate_uid()
    slices = []
    for k, values in enumerate(stored):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID, ds.SOPInstanceUID = MRImageStorage, generate_uid()
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study_uid, series_uid, reference_uid
        ds.Modality, ds.SeriesDescription, ds.InstanceNumber = "MR", "t1 axial", k + 1
        ds.ImageOrientationPatient = decimal(orientation)
        ds.ImagePositionPatient = decimal(np.asarray(origin_mm) + k * np.asarray(step_mm))
        ds.PixelSpacing = decimal(pixel_spacing_mm)
        ds.Rows, ds.Columns = values.shape
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = values.itemsize * 8, bits_stored, bits_stored - 1
        ds.PixelRepresentation = int(values.dtype.kind == "i")
        ds.PixelData = values.tobytes()
        ds["PixelData"].VR = "OW" if values.itemsize == 2 else "OB"
        for keyword, value in (PATIENT | attributes).items():
            setattr(ds, keyword, value)
        slices.append(ds)
    return slices


def save(folder: Path, slices: Sequence[Dataset], names: Sequence[str] | None = None) -> Path:
    """Write the data sets as Part 10 files and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, ds in enumerate(slices):
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.save_as(folder / (names[index] if names else f"IM{index:04d}"), enforce_file_format=True)
    return folder


def shuffled(slices: list[Dataset], seed: int) -> list[Dataset]:
    """The slices in random order, with InstanceNumbers in another."""
    generator = random.Random(seed)
    numbers = generator.sample(range(1, 1000), len(slices))
    for ds, number in zip(slices, numbers, strict=True):
        ds.InstanceNumber = number
    return generator.sample(slices, len(slices))


def read(folder: Path) -> DicomVolume:
    return read_volume(select_series(scan_folder(folder)))


def verdict_of(folder: Path) -> tuple[VerdictKind, str]:
    (series,) = scan_folder(folder).series
    return series.verdict.kind, series.verdict.sentence


def assert_places_every_voxel(dicom: DicomVolume, slices: Sequence[Dataset], tolerance_mm: float) -> None:
    """Values and positions of all voxels, each from its own source header by equation C.7.6.2.1-1 of PS3.3."""
    sources = {ds.SOPInstanceUID: ds for ds in slices}
    columns, rows, count = dicom.volume.shape
    assert count == len(slices) == len(dicom.headers)
    j, i = np.mgrid[:rows, :columns]
    for k in range(count):
        ds = sources[dicom.source(k)[0]]
        stored = np.frombuffer(ds.PixelData, np.uint16).reshape(rows, columns)
        np.testing.assert_array_equal(dicom.volume.voxels[:, :, k], stored.T)
        assert dicom.headers[k].SOPInstanceUID == ds.SOPInstanceUID
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
    w, x, y, z = np.array(quaternion) / np.linalg.norm(quaternion)
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
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


def make_enhanced(order: Sequence[int]) -> Dataset:
    """An Enhanced MR image (PS3.3 A.36.2) whose frames lie in this order; frame values are 10 * place + column."""
    stored = np.array([[[10 * place + column for column in range(3)]] * 2 for place in order], np.uint16)
    (ds,) = make_series(stored[:1])
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(ds, keyword)
    ds.SOPClassUID, ds.NumberOfFrames, ds.PixelData = EnhancedMRImageStorage, len(order), stored.tobytes()
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = decimal(AXIAL)
    measures.PixelSpacing, measures.SpacingBetweenSlices = decimal((0.5, 0.75)), "2"
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    ds.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for place in order:
        group, position, values = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = decimal((1.0, 2.0, 3.0 + 2.0 * place))
        values.RescaleSlope, values.RescaleIntercept, values.RescaleType = "2", str(place), "US"
        group.PlanePositionSequence, group.PixelValueTransformationSequence = [position], [values]
        groups.append(group)
    ds.PerFrameFunctionalGroupsSequence = groups
    return ds


def test_enhanced_frames_are_sorted_and_rescaled_one_by_one(tmp_path: Path) -> None:
    order = [2, 0, 3, 1]
    dicom = read(save(tmp_path, [make_enhanced(order)]))
    expected = [[2 * (10 * place + column) + place for place in range(4)] for column in range(3)]
    np.testing.assert_array_equal(dicom.volume.voxels[:, 0, :], expected)
    np.testing.assert_allclose(dicom.volume.affine[:3], [[0.75, 0, 0, 1], [0, 0.5, 0, 2], [0, 0, 2, 3]])
    assert [dicom.source(k)[1] for k in range(4)] == [order.index(place) + 1 for place in range(4)]
    assert len(dicom.headers) == 1


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


def change(index: int, **attributes: Any) -> Edit:
    def edit(slices: list[Dataset]) -> None:
        for keyword, value in attributes.items():
            setattr(slices[index], keyword, value)

    return edit


def all_at(position: Sequence[float]) -> Edit:
    return lambda slices: [setattr(ds, "ImagePositionPatient", decimal(position)) for ds in slices]


def lean(slices: list[Dataset]) -> None:
    for k, ds in enumerate(slices):
        ds.ImagePositionPatient = decimal((0, k * np.tan(np.radians(12)), k))


def make_colour(slices: list[Dataset]) -> None:
    for ds in slices:
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
        ds.PixelData = ds.PixelData * 3


def make_larger(slices: list[Dataset]) -> None:
    slices[2].Rows, slices[2].Columns, slices[2].PixelData = 6, 5, bytes(60)


REFUSALS: dict[str, tuple[Edit, VerdictKind, str]] = {
    "duplicate": (
        change(1, ImagePositionPatient=decimal((-10, 5, 30))),
        VerdictKind.DUPLICATE_POSITIONS,
        "5 slices at 4 positions",
    ),
    "one position": (all_at((0, 0, 0)), VerdictKind.NOT_A_VOLUME, "5 slices at one position"),
    "missing slice": (
        lambda slices: slices.pop(2),
        VerdictKind.GAP,
        "2 mm apart, but 4 mm between slices 2 and 3 of 4",
    ),
    "missing thin slice": (
        lambda slices: [
            setattr(ds, "ImagePositionPatient", decimal((0, 0, z)))
            for ds, z in zip(slices, (0, 0.05, 0.1, 0.2, 0.25), strict=True)
        ],
        VerdictKind.GAP,
        "about 1 missing",
    ),
    "uneven": (change(2, ImagePositionPatient=decimal((-10, 5, 34.6))), VerdictKind.GAP, "uneven steps"),
    "tilt": (lean, VerdictKind.TILTED, "12.0 degrees"),
    "sideways": (change(2, ImagePositionPatient=decimal((-9, 5, 34))), VerdictKind.NOT_A_VOLUME, "1.00 mm beside"),
    "orientation": (
        change(0, ImageOrientationPatient=decimal((1, 0, 0, 0, 0, -1))),
        VerdictKind.MIXED_ORIENTATION,
        "90.0 degrees",
    ),
    "size": (make_larger, VerdictKind.MIXED_SIZE, "3 x 4, 5 x 6"),
    "spacing": (change(3, PixelSpacing=decimal((0.5, 0.8))), VerdictKind.MIXED_SPACING, "0.5 x 0.75 to 0.5 x 0.8 mm"),
    "zero spacing": (change(3, PixelSpacing=decimal((0, 0.8))), VerdictKind.NOT_A_VOLUME, "pixel spacing of 0 mm"),
    "no position": (lambda slices: delattr(slices[0], "ImagePositionPatient"), VerdictKind.NOT_A_VOLUME, "1 of 5"),
    "empty orientation": (change(4, ImageOrientationPatient=[]), VerdictKind.NOT_A_VOLUME, "1 of 5"),
    "skew": (
        lambda slices: [setattr(ds, "ImageOrientationPatient", decimal((1, 0, 0, 0.5, 0.866, 0))) for ds in slices],
        VerdictKind.NOT_A_VOLUME,
        "right angle",
    ),
    "two frames of reference": (
        change(0, FrameOfReferenceUID=generate_uid()),
        VerdictKind.NOT_A_VOLUME,
        "2 frames of reference",
    ),
    "colour": (make_colour, VerdictKind.COLOUR, "RGB, 3 samples"),
    "palette": (change(0, PhotometricInterpretation="PALETTE COLOR"), VerdictKind.COLOUR, "PALETTE COLOR"),
    "short pixels": (change(1, PixelData=bytes(10)), VerdictKind.UNREADABLE, "IM0001: .*10 bytes where 24"),
    "no pixels": (lambda slices: delattr(slices[1], "PixelData"), VerdictKind.UNREADABLE, "IM0001: .*no pixel data"),
    "no rows": (lambda slices: delattr(slices[1], "Rows"), VerdictKind.UNREADABLE, "IM0001: .*lacks, Rows"),
    "zero rows": (change(1, Rows=0), VerdictKind.UNREADABLE, "3 x 0 pixels"),
    "zero slope": (change(1, RescaleSlope="0", RescaleIntercept="0"), VerdictKind.UNREADABLE, "RescaleSlope is 0"),
    "two positions": (change(1, ImagePositionPatient=decimal((0, 0))), VerdictKind.UNREADABLE, "3 finite numbers"),
    "modality LUT": (change(1, ModalityLUTSequence=[Dataset()]), VerdictKind.UNREADABLE, "lookup table"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refused_by_name_with_numbers(name: str, tmp_path: Path) -> None:
    edit, kind, numbers = REFUSALS[name]
    slices = make_series()
    edit(slices)
    save(tmp_path, slices)
    scan = scan_folder(tmp_path)
    assert scan.series[0].verdict.kind is kind
    assert scan.series[0].shape is None
    for refused in (lambda: select_series(scan), lambda: read_volume(scan.series[0])):
        with pytest.raises(InputError, match=f"{kind}: .*{numbers}"):
            refused()


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


@pytest.mark.parametrize("compressed", [False, True])
def test_a_truncated_slice_is_never_lost_in_silence(compressed: bool, tmp_path: Path) -> None:
    slices = make_series(np.random.default_rng(0).integers(0, 4000, (3, 8, 8), np.uint16))
    for ds in slices:
        if compressed:
            ds.compress(RLELossless, generate_instance_uid=False)
    save(tmp_path, slices, ["a.dcm", "b.dcm", "c.dcm"])
    whole = (tmp_path / "c.dcm").read_bytes()
    read(tmp_path)
    for length in [*range(0, len(whole), 17), len(whole) - 8, len(whole) - 1]:
        (tmp_path / "c.dcm").write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"c\.dcm") as caught:
            read(tmp_path)
        assert "SECRET" not in str(caught.value)


def test_a_file_that_changed_after_the_scan_is_named(tmp_path: Path) -> None:
    series = select_series(scan_folder(save(tmp_path, make_series())))
    path = tmp_path / "IM0002"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InputError, match=r"^IM0002: its pixels cannot be decoded"):
        read_volume(series)


def test_a_damaged_codestream_is_named(tmp_path: Path) -> None:
    slices = make_series(np.random.default_rng(0).integers(0, 4000, (2, 16, 16), np.uint16))
    for ds in slices:
        ds.compress(RLELossless, generate_instance_uid=False)
    (codestream,) = generate_frames(slices[1].PixelData)
    slices[1].PixelData = encapsulate([codestream[: len(codestream) // 2]])
    with pytest.raises(InputError, match=r"^IM0001: its pixels cannot be decoded"):
        read(save(tmp_path, slices))


def test_more_frames_than_stated_are_not_dropped(tmp_path: Path) -> None:
    slices = make_series()
    slices[0].PixelData = slices[0].PixelData * 2
    with pytest.raises(InputError, match=r"^IM0000: decoded to shape \(2, 4, 3\)"):
        read(save(tmp_path, slices))


def test_peak_memory_is_the_volume_and_a_slice(tmp_path: Path) -> None:
    save(tmp_path, make_series(np.zeros((20, 256, 256), np.uint16)))
    series = select_series(scan_folder(tmp_path))
    read_volume(series)
    tracemalloc.start()
    volume = read_volume(series).volume
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < volume.voxels.nbytes + 10 * volume.voxels[:, :, 0].nbytes


def test_several_series_are_listed_and_chosen_by_uid_or_modality(tmp_path: Path) -> None:
    mr = make_series(SeriesDescription="t1")
    ct = make_series(Modality="CT", SOPClassUID=CTImageStorage, SeriesDescription="thorax")
    save(tmp_path / "mr", mr)
    save(tmp_path / "ct", ct)
    scan = scan_folder(tmp_path)
    with pytest.raises(InputError, match=r"2 series could be meant.*--series UID: 1\).*2\)") as caught:
        select_series(scan)
    for slices in (mr, ct):
        assert slices[0].SeriesInstanceUID in str(caught.value)
        assert select_series(scan, uid=slices[0].SeriesInstanceUID).modality == slices[0].Modality
        assert select_series(scan, modality=slices[0].Modality).uid == slices[0].SeriesInstanceUID
    with pytest.raises(InputError, match="the modality is CT, MR, the model reads PT"):
        select_series(scan, modality="PT")
    with pytest.raises(InputError, match="the modality is CT, the model reads MR"):
        select_series(scan, uid=ct[0].SeriesInstanceUID, modality="MR")
    with pytest.raises(InputError, match=r"no series 1\.2\.3; found 1\)"):
        select_series(scan, uid="1.2.3")


def test_several_refused_series_are_listed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        slices = make_series()
        lean(slices)
        save(tmp_path / name, slices)
    with pytest.raises(InputError, match=r"none of 2 series is a volume: 1\).*tilted.*2\).*tilted"):
        select_series(scan_folder(tmp_path))


def only_text(folder: Path) -> None:
    (folder / "notes.txt").write_text("hello " * 100)


def only_reports(folder: Path) -> None:
    save(folder, make_series(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11")[:1])


def cut_short(folder: Path) -> None:
    path = save(folder, make_series()) / "IM0003"
    path.write_bytes(path.read_bytes()[:-10])


def cut_in_the_header(folder: Path) -> None:
    path = save(folder, make_series()) / "IM0003"
    path.write_bytes(path.read_bytes()[:200])


def two_series(folder: Path) -> None:
    save(folder / "a", make_series())
    save(folder / "b", make_series())


BAD_FOLDERS: dict[str, tuple[Callable[[Path], object], str, bool]] = {
    "missing": (Path.rmdir, "no such file or folder", False),
    "empty": (lambda folder: None, "the folder is empty", False),
    "text": (only_text, "1 files, none of them DICOM", False),
    "reports": (only_reports, "1 DICOM objects, none of them an image", False),
    "truncated": (cut_short, "IM0003: its pixel data ends after", True),
    "truncated header": (cut_in_the_header, "IM0003: its header", True),
    "two series": (two_series, "2 series could be meant", True),
}


def run_main(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of the real command line."""
    monkeypatch.setattr(sys, "argv", ["swinunet", *arguments])
    with pytest.raises(SystemExit) as caught:
        swinunet.cli.main()
    captured = capfd.readouterr()
    assert "SECRET" not in captured.out + captured.err
    assert "1901" not in captured.out + captured.err
    return int(caught.value.code or 0), captured.out, captured.err


@pytest.mark.parametrize("name", BAD_FOLDERS)
def test_bad_input_is_one_line_and_leaves_nothing(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, said, inspectable = BAD_FOLDERS[name]
    folder, results = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    results.mkdir()
    prepare(folder)
    status, out, err = run_main(capfd, monkeypatch, "convert", str(folder), str(results / "volume.nii.gz"))
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("swinunet: ")
    assert said in err
    assert list(results.iterdir()) == []
    status, out, err = run_main(capfd, monkeypatch, "inspect", str(folder), "--json")
    assert status == (0 if inspectable else 1)
    assert bool(out) is inspectable


def test_inspect_shows_and_reports(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = make_series(BodyPartExamined="HEAD", SeriesDescription="[red]t1[/red]"), make_series()
    lean(bad)
    save(tmp_path / "good", good)
    save(tmp_path / "bad", bad)
    (tmp_path / "broken.dcm").write_bytes(b"not DICOM")
    status, out, err = run_main(capfd, monkeypatch, "inspect", str(tmp_path))
    assert (status, err) == (0, "")
    for text in (
        good[0].SeriesInstanceUID,
        "[red]t1[/red]",
        "3 x 4 x 5",
        "0.75 x 0.5 x 2",
        "12.0 degrees",
        "broken.dcm",
    ):
        assert text in out
    status, out, _ = run_main(capfd, monkeypatch, "inspect", str(tmp_path), "--json")
    report = json.loads(out)
    series = {one["series_instance_uid"]: one for one in report["series"]}
    assert series[bad[0].SeriesInstanceUID]["verdict"] == "tilted"
    assert series[good[0].SeriesInstanceUID] | {"sentence": ""} == {
        "series_instance_uid": good[0].SeriesInstanceUID,
        "modality": "MR",
        "body_part": "HEAD",
        "description": "[red]t1[/red]",
        "files": 5,
        "frames": 5,
        "size": [3, 4, 5],
        "spacing_mm": [0.75, 0.5, 2.0],
        "verdict": "ok",
        "sentence": "",
        "usable": True,
    }
    assert [broken["file"] for broken in report["unreadable"]] == ["broken.dcm"]


def test_convert_writes_ras_and_never_replaces_unasked(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, output = save(tmp_path / "in", make_series()), tmp_path / "volume.nii.gz"
    status, out, err = run_main(capfd, monkeypatch, "convert", str(folder), str(output))
    assert (status, err) == (0, "")
    assert "3 x 4 x 5 voxels of 0.75 x 0.5 x 2 mm, uint16" in out
    image = nib.load(output)
    volume = read(folder).volume
    np.testing.assert_array_equal(np.asarray(image.dataobj), volume.voxels)
    np.testing.assert_allclose(image.affine, np.diag([-1, -1, 1, 1]) @ volume.affine, atol=1e-4)
    output.write_bytes(b"precious")
    status, _, err = run_main(capfd, monkeypatch, "convert", str(folder), str(output))
    assert status == 1
    assert "the file exists; add --overwrite" in err
    assert output.read_bytes() == b"precious"
    assert run_main(capfd, monkeypatch, "convert", str(folder), str(output), "--overwrite")[0] == 0
    assert nib.load(output).shape == (3, 4, 5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "volume.nii.gz"]


@pytest.mark.parametrize(
    ("output", "said"),
    [("volume.png", "ends in .nii or .nii.gz"), ("nowhere/volume.nii", "there is no folder"), ("in.nii", "a folder")],
)
def test_convert_checks_its_output_first(
    output: str, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in.nii").mkdir()
    status, _, err = run_main(capfd, monkeypatch, "convert", str(tmp_path / "missing"), str(tmp_path / output))
    assert status == 1
    assert said in err


def test_convert_takes_the_named_series(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make_series(), make_series(np.full((2, 3, 3), 7, np.uint16))
    save(tmp_path / "a", first)
    save(tmp_path / "b", second)
    arguments = ("convert", str(tmp_path), str(tmp_path / "x.nii"), "--series", second[0].SeriesInstanceUID)
    assert run_main(capfd, monkeypatch, *arguments)[0] == 0
    assert nib.load(tmp_path / "x.nii").shape == (3, 3, 2)


def test_the_installed_command_prints_no_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from swinunet.cli import main; main()", "inspect", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"swinunet: {tmp_path}: the folder is empty; give a folder with a DICOM series\n"


def test_geometry_refusals_are_geometry_errors(tmp_path: Path) -> None:
    slices = make_series()
    lean(slices)
    with pytest.raises(GeometryError) as caught:
        read(save(tmp_path, slices))
    assert isinstance(caught.value, SwinUNetError)
