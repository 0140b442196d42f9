"""DICOM series made up for tests: data sets in memory, changed at will, then saved."""

from __future__ import annotations

import random
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    UID,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    MRImageStorage,
    RLELossless,
    generate_uid,
)
from pydicom.valuerep import DSfloat

from swinunet.client.dicom import DicomVolume, VerdictKind, read_volume, scan_folder, select_series

PATIENT = {"PatientName": "SECRETNAME^ANNA", "PatientID": "SECRETID77", "PatientBirthDate": "19010203"}
# On its own or in a date, in any order; not within a UID, a hash or the number of a temporary folder.
_BIRTH_YEAR = re.compile(
    r"(?<![\w.-])1901(?![\w.])|19010203|(?<!\d)1901[-/. ]0?2[-/. ]0?3|0?3[-/. ]0?2[-/. ]1901(?!\d)"
)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


def assert_no_patient(said: str) -> None:
    """Fail where a text has the patient of these series in it."""
    assert "SECRET" not in said
    assert not _BIRTH_YEAR.search(said), said


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


def make_cine(
    phases: int = 5,
    slices: int = 4,
    *,
    shape: tuple[int, int] = (4, 3),
    jitter: float = 0.06,
    pixel_spacing_mm: Sequence[float] = (0.5, 0.75),
    **attributes: Any,
) -> list[Dataset]:
    """One series of phases of one stack; values are 100 * phase + slice, both from 0. Beats differ by `jitter`.

    As the scanner of the Sunnybrook data: slice by slice, Trigger Times in the middle of each phase, of a step that
    differs from slice to slice.
    """
    made = []
    for k in range(slices):
        step_ms = 40 * (1 + jitter * np.sin(1.0 + k))
        values = np.add.outer(100 * np.arange(phases, dtype=np.int16) + k, np.zeros(shape, np.int16)).astype(np.int16)
        origin_mm = (-10, 5, 30 + 8.0 * k)
        taken = make_series(values, step_mm=(0, 0, 0), origin_mm=origin_mm, pixel_spacing_mm=pixel_spacing_mm)
        for phase, ds in enumerate(taken):
            ds.TriggerTime = DSfloat(round((phase + 0.5) * step_ms, 4))
            ds.InstanceNumber = k * phases + phase + 1
            for keyword, value in attributes.items():
                setattr(ds, keyword, value)
            made.append(ds)
    for ds in made:
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
            setattr(ds, keyword, made[0][keyword].value)
    return made


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


def lean(slices: list[Dataset]) -> None:
    for k, ds in enumerate(slices):
        ds.ImagePositionPatient = decimal((0, k * np.tan(np.radians(12)), k))


def read(folder: Path) -> DicomVolume:
    return read_volume(select_series(scan_folder(folder)))


def verdict_of(folder: Path) -> tuple[VerdictKind, str]:
    (series,) = scan_folder(folder).series
    return series.verdict.kind, series.verdict.sentence


def jpeg(ds: Dataset, syntax: UID) -> Dataset:
    """The image as JPEG, by GDCM, the only encoder at hand."""
    kinds = {
        JPEGBaseline8Bit: gdcm.TransferSyntax.JPEGBaselineProcess1,
        JPEGExtended12Bit: gdcm.TransferSyntax.JPEGExtendedProcess2_4,
        JPEGLossless: gdcm.TransferSyntax.JPEGLosslessProcess14,
        JPEGLosslessSV1: gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    }
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder), [ds], ["plain"])
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(f"{folder}/plain")
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(kinds[syntax]))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFileName(f"{folder}/coded")
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        return pydicom.dcmread(f"{folder}/coded")


def encode(ds: Dataset, syntax: UID, **options: Any) -> Dataset:
    """The same image in another transfer syntax. options: of pydicom's encoder."""
    if syntax in (RLELossless, JPEGLSLossless, JPEGLSNearLossless, JPEG2000Lossless, JPEG2000):
        ds.compress(syntax, generate_instance_uid=False, **options)
    elif syntax.is_encapsulated:
        return jpeg(ds, syntax)
    else:
        if syntax == ExplicitVRBigEndian:
            ds.PixelData = np.frombuffer(ds.PixelData, f"u{ds.BitsAllocated // 8}").byteswap().tobytes()
        ds.file_meta.TransferSyntaxUID = syntax
    return ds


def rebuilt(ds: Dataset, codestream: bytes) -> Dataset:
    """The image with another codestream as its one frame."""
    ds.PixelData = encapsulate([codestream])
    return ds


def waves(count: int = 2, depth: int = 4095) -> np.ndarray:
    """Smooth slices with noise, which no codec shrinks to nothing: uint16 [K, 64, 64]."""
    k, y, x = np.mgrid[:count, :64, :64]
    noise = np.random.default_rng(0).normal(0, depth / 100, k.shape)
    return (depth * (0.5 + 0.4 * np.sin(x / 9 + k) * np.cos(y / 7)) + noise).astype(np.uint16)


def rotation(quaternion: Sequence[float]) -> np.ndarray:
    """The rotation matrix of a quaternion (w, x, y, z) of any length but 0: float64 [3, 3]."""
    w, x, y, z = np.array(quaternion) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
