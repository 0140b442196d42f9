"""One file of a folder: is it a DICOM image, is it whole, and where do its frames lie? Pixels are not read here."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import UID

_PREAMBLE_BYTES = 128
_SUFFIXES = (".dcm", ".dicom", ".ima")  # names that promise DICOM: such a file is never passed over in silence
_SERIES_UID = 0x0020000E
_UNDEFINED_LENGTH = 0xFFFFFFFF
_ITEM, _SEQUENCE_DELIMITER = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
_ATTRIBUTES = [
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "BodyPartExamined",
    "SeriesDescription",
    "FrameOfReferenceUID",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "NumberOfFrames",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]

Vector = tuple[float, ...]


class Ignored(Enum):
    """Why a file is no part of any series."""

    NOT_DICOM = "not a DICOM file"
    NOT_AN_IMAGE = "a DICOM object without image planes (report, segmentation, plan, DICOMDIR, ...)"


@dataclass(frozen=True, slots=True)
class ImageFile:
    """What holds for every frame of one DICOM image file.

    fault: why it cannot be used, empty if it can; series_uid is empty if even that could not be read.
    bits_stored, signed: range of the stored values (PS3.3 C.7.6.3.1).
    """

    path: Path
    fault: str = ""
    series_uid: str = ""
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    modality: str = ""
    body_part: str = ""
    description: str = ""
    frame_of_reference_uid: str = ""
    rows: int = 0
    columns: int = 0
    samples_per_pixel: int = 1
    photometric: str = ""
    bits_stored: int = 0
    signed: bool = False
    multi_frame: bool = False

    @property
    def is_colour(self) -> bool:
        """Whether a pixel is anything but one grey value (PS3.3 C.7.6.3.1.2)."""
        return self.samples_per_pixel != 1 or not self.photometric.startswith("MONOCHROME")


@dataclass(frozen=True, slots=True)
class Frame:
    """One image plane and where it lies in the patient (PS3.3 C.7.6.2.1.1); None where the header does not say.

    number: 1-based frame number in a multi-frame file, None in a single-frame one.
    position_mm: LPS [3] of the first pixel's centre. orientation: direction cosines [6] of a row, then of a column.
    pixel_spacing_mm: distance between rows, then between columns. slope, intercept: stored value to real value.
    """

    file: ImageFile
    number: int | None
    position_mm: Vector | None
    orientation: Vector | None
    pixel_spacing_mm: Vector | None
    thickness_mm: float | None
    slice_spacing_mm: float | None
    slope: float
    intercept: float


class _FaultError(Exception):
    """A sentence for ImageFile.fault."""


def read_header(path: Path) -> tuple[ImageFile, tuple[Frame, ...]] | Ignored:
    """The header of one file, its frames in file order, or why it is ignored.

    Never raises for what a file holds: an image that is broken has `fault` set and no frames. That its pixel data is
    complete is checked from the lengths it states, without decoding.
    """
    try:
        with path.open("rb") as stream:
            stream.seek(_PREAMBLE_BYTES)
            if stream.read(4) != b"DICM":  # PS3.10 7.1
                if path.suffix.lower() in _SUFFIXES:
                    return ImageFile(path, f"it is named {path.suffix}, but does not begin as a DICOM file does"), ()
                return Ignored.NOT_DICOM
            stream.seek(0)
            try:
                dataset = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=_ATTRIBUTES)
            except Exception as error:  # pydicom raises whatever the bytes provoke
                return ImageFile(path, f"its header cannot be read ({type(error).__name__})"), ()
            return _describe(path, stream, dataset)
    except OSError as error:
        return ImageFile(path, f"it cannot be opened ({error.strerror})"), ()


def _describe(path: Path, stream: BinaryIO, dataset: FileDataset) -> tuple[ImageFile, tuple[Frame, ...]] | Ignored:
    series_uid = modality = ""
    try:
        if not dataset.file_meta.get("TransferSyntaxUID"):
            raise _FaultError("its header ends before, or lacks, the transfer syntax")
        size_bytes = path.stat().st_size
        has_pixels = stream.tell() < size_bytes or dataset.file_meta.TransferSyntaxUID.is_deflated
        if has_pixels or any(tag > _SERIES_UID for tag in dataset.keys()):  # noqa: SIM118
            series_uid = _text(dataset, "SeriesInstanceUID")  # else it may be cut short itself
        modality = _text(dataset, "Modality")
        sop_class = UID(_text(dataset.file_meta, "MediaStorageSOPClassUID") or _text(dataset, "SOPClassUID"))
        unknown_class = sop_class.name == sop_class
        if "Image Storage" not in sop_class.name and not (unknown_class and has_pixels):
            return Ignored.NOT_AN_IMAGE
        if not series_uid:
            raise _FaultError("its header ends before, or lacks, the SeriesInstanceUID")
        file = _image_file(path, dataset, series_uid, sop_class)
        _check_pixels(stream, size_bytes, dataset)
        return file, _frames(file, dataset)
    except _FaultError as found:
        return ImageFile(path, str(found), series_uid, modality=modality), ()
    except Exception as error:  # converting a value raises whatever the value provokes
        fault = f"its header holds unusable values ({type(error).__name__})"
        return ImageFile(path, fault, series_uid, modality=modality), ()


def _image_file(path: Path, dataset: Dataset, series_uid: str, sop_class: UID) -> ImageFile:
    required = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation", "PhotometricInterpretation")
    missing = [keyword for keyword in required if dataset.get(keyword) is None]
    if missing:
        raise _FaultError(f"its header ends before, or lacks, {', '.join(missing)}")
    if dataset.Rows < 1 or dataset.Columns < 1:
        raise _FaultError(f"its image has {dataset.Columns} x {dataset.Rows} pixels")
    if "ModalityLUTSequence" in dataset:
        raise _FaultError("its values go through a modality lookup table, which this software does not apply")
    return ImageFile(
        path,
        series_uid=series_uid,
        sop_class_uid=str(sop_class),
        sop_instance_uid=_text(dataset, "SOPInstanceUID"),
        modality=_text(dataset, "Modality"),
        body_part=_text(dataset, "BodyPartExamined"),
        description=_text(dataset, "SeriesDescription"),
        frame_of_reference_uid=_text(dataset, "FrameOfReferenceUID"),
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        samples_per_pixel=int(dataset.get("SamplesPerPixel") or 1),
        photometric=_text(dataset, "PhotometricInterpretation"),
        bits_stored=int(dataset.BitsStored),
        signed=int(dataset.PixelRepresentation) == 1,
        multi_frame="PerFrameFunctionalGroupsSequence" in dataset or int(dataset.get("NumberOfFrames") or 1) > 1,
    )


def _frames(file: ImageFile, dataset: Dataset) -> tuple[Frame, ...]:
    """The file's planes: from the functional groups (PS3.3 C.7.6.16), or from the top level."""
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
    count = int(dataset.get("NumberOfFrames") or 1)
    if not groups:
        numbers = range(1, count + 1) if file.multi_frame else [None]
        return tuple(_frame(file, number, dataset, dataset, dataset, dataset) for number in numbers)
    if len(groups) != count:
        raise _FaultError(f"it has {count} frames and {len(groups)} per-frame functional groups")
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]

    def macro(group: Dataset, keyword: str) -> Dataset:
        items = group.get(keyword) or shared.get(keyword)
        return items[0] if items else Dataset()

    return tuple(
        _frame(
            file,
            number,
            macro(group, "PlanePositionSequence"),
            macro(group, "PlaneOrientationSequence"),
            macro(group, "PixelMeasuresSequence"),
            macro(group, "PixelValueTransformationSequence"),
        )
        for number, group in enumerate(groups, start=1)
    )


def _frame(
    file: ImageFile, number: int | None, position: Dataset, orientation: Dataset, measures: Dataset, values: Dataset
) -> Frame:
    slope, intercept = _number(values, "RescaleSlope"), _number(values, "RescaleIntercept")
    if slope == 0:
        raise _FaultError("its RescaleSlope is 0")
    return Frame(
        file,
        number,
        _numbers(position, "ImagePositionPatient", 3),
        _numbers(orientation, "ImageOrientationPatient", 6),
        _numbers(measures, "PixelSpacing", 2),
        _number(measures, "SliceThickness"),
        _number(measures, "SpacingBetweenSlices"),
        1.0 if slope is None else slope,
        0.0 if intercept is None else intercept,
    )


def _check_pixels(stream: BinaryIO, size_bytes: int, dataset: FileDataset) -> None:
    """Compare the stated length of the pixel data element, at which `stream` stands, with what the file holds."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_deflated:
        return
    head = stream.read(8 if syntax.is_implicit_VR else 12)  # PS3.5 7.1.2 and 7.1.3
    if len(head) < 8:
        raise _FaultError("it has no pixel data; the file is truncated")
    (length,) = struct.unpack("<L" if syntax.is_little_endian else ">L", head[-4:])
    frames = int(dataset.get("NumberOfFrames") or 1)
    if length == _UNDEFINED_LENGTH:
        _check_fragments(stream, size_bytes, frames)
        return
    held = size_bytes - stream.tell()
    if held < length:
        raise _FaultError(f"its pixel data ends after {held} of {length} bytes; the file is truncated")
    bits = dataset.Rows * dataset.Columns * int(dataset.get("SamplesPerPixel") or 1) * dataset.BitsAllocated * frames
    if length * 8 < bits and "422" not in dataset.PhotometricInterpretation:
        raise _FaultError(f"its pixel data has {length} bytes where {math.ceil(bits / 8)} are needed")


def _check_fragments(stream: BinaryIO, size_bytes: int, frames: int) -> None:
    """Step over the fragments of encapsulated pixel data (PS3.5 A.4): decoders accept some that end too early."""
    items = 0
    while True:
        head = stream.read(8)
        if len(head) < 8:
            raise _FaultError(f"its compressed pixel data ends after {items} fragments; the file is truncated")
        group, element, length = struct.unpack("<HHL", head)
        if (group, element) == _SEQUENCE_DELIMITER:
            break
        if (group, element) != _ITEM:
            raise _FaultError("its compressed pixel data is damaged")
        stream.seek(length, 1)
        if stream.tell() > size_bytes:
            raise _FaultError(f"its compressed pixel data ends within fragment {items}; the file is truncated")
        items += 1
    if items - 1 < frames:  # the first item is the basic offset table
        raise _FaultError(f"its compressed pixel data has {items - 1} fragments for {frames} frames")


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    return "".join(letter for letter in str(value or "") if letter.isprintable()).strip()[:64]


def _number(dataset: Dataset, keyword: str) -> float | None:
    numbers = _numbers(dataset, keyword, 1)
    return numbers[0] if numbers else None


def _numbers(dataset: Dataset, keyword: str, count: int) -> Vector | None:
    """`count` finite numbers, or None if the attribute is absent or empty."""
    value = dataset.get(keyword)
    if value is None or value == "":
        return None
    numbers = tuple(
        float(part) for part in (value if isinstance(value, list | pydicom.multival.MultiValue) else [value])
    )
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise _FaultError(f"its {keyword} is not {count} finite numbers")
    return numbers
