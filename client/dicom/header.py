"""One file: is it a DICOM image, is it whole, and where do its frames lie? Pixels are not read here."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileDataset
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    SecondaryCaptureImageStorage,
)

from swinunet.client.dicom.codestream import DECODERS
from swinunet.client.dicom.distinguishing_attributes import ATTRIBUTE_TAGS, distinguishing_values
from swinunet.client.dicom.elements import numbers_of, tag_of, text_of, value_of
from swinunet.client.dicom.files import Frame, Ignored, ImageFile, PixelLayout
from swinunet.client.dicom.pixel_element import check_inflated_size, check_pixel_element
from swinunet.client.dicom.quiet import quiet
from swinunet.client.dicom.real_values import scale_of
from swinunet.client.dicom.sheets import SHEET_TAGS, sheet_of
from swinunet.client.dicom.sources import PREAMBLE_BYTES, ClampedStream, FaultError, Source

_SUFFIXES = (".dcm", ".dicom", ".ima")  # names that promise DICOM: such a file is never passed over in silence
_SERIES_UID = 0x0020000E
_MAPPINGS = "RealWorldValueMappingSequence"
_SINGLE_FRAME = (
    CTImageStorage, MRImageStorage, PositronEmissionTomographyImageStorage, SecondaryCaptureImageStorage,
    ComputedRadiographyImageStorage, DigitalXRayImageStorageForPresentation,
)  # fmt: skip
_MAX_SIDE = 16384  # pixels; larger headers are damaged or hostile
_ATTRIBUTES = [tag_of(name) for name in (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "Modality",
    "BodyPartExamined", "SeriesDescription",
    "FrameOfReferenceUID", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit", "NumberOfFrames",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices",
    "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", _MAPPINGS, *ATTRIBUTE_TAGS, *SHEET_TAGS,
)]  # fmt: skip


@quiet()
def read_header(source: Source) -> tuple[ImageFile, tuple[Frame, ...]] | Ignored:
    """The header of one file, its frames in file order, or why it is ignored.

    Never raises for what a file holds: an image that is broken has `fault` set and no frames. That its pixel data is
    complete is checked from the lengths it states, without decoding. Here, and in `frames.OpenFile`, is where every
    exception of pydicom becomes ours.
    """
    try:
        with source.open() as stream:
            head = stream.read(PREAMBLE_BYTES + 4)
            has_preamble = head.endswith(b"DICM") and len(head) > PREAMBLE_BYTES  # PS3.10 7.1
            if not has_preamble and not _begins_as_data_set(head):
                if source.path.suffix.lower() in _SUFFIXES and not _is_leftover(source.path):
                    fault = f"it is named {source.path.suffix}, but does not begin as a DICOM file does"
                    return ImageFile(source, fault), ()
                return Ignored()
            stream.seek(0)
            try:
                dataset = parse(stream, _ATTRIBUTES)
            except FaultError as found:
                return ImageFile(source, str(found)), ()
            except Exception as error:  # pydicom raises whatever the bytes provoke
                return ImageFile(source, f"its header cannot be read ({type(error).__name__})"), ()
            if not has_preamble and not ("SOPClassUID" in dataset and {"SeriesInstanceUID", "Rows"} & {*dataset.dir()}):
                return Ignored()
            return _describe(source, stream, dataset, has_preamble)
    except OSError as error:
        return ImageFile(source, f"it cannot be opened ({error.strerror or type(error).__name__})"), ()
    except Exception as error:  # zipfile and zlib raise their own
        return ImageFile(source, f"it cannot be unpacked ({type(error).__name__})"), ()


def _is_leftover(path: Path) -> bool:
    """Whether a file that is no DICOM was left by a system beside, or in a folder beside, the file it is named after.

    macOS writes `._NAME` where a disk keeps no resource forks, and `__MACOSX/` into archives; Synology `@eaDir/`.
    """
    return path.name.startswith("._") or bool({"__MACOSX", "@eaDir"} & set(path.parts))


def parse(stream: ClampedStream, attributes: list[BaseTag] | None = None, *, whole: bool = False) -> FileDataset:
    """The data set before the pixel data, at which the stream then stands, or the `whole` one.

    attributes: the only ones to keep, None for all. A file without meta information gets the transfer syntax that its
    data set shows. Raises FaultError for a deflated one that inflates beyond bounds, and whatever pydicom raises.
    """
    check_inflated_size(stream)
    dataset = pydicom.dcmread(stream, stop_before_pixels=not whole, force=True, specific_tags=attributes)
    if not dataset.preamble and "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset


def _begins_as_data_set(head: bytes) -> bool:
    """Whether a file without preamble begins with an element of group 0002 or 0008, explicit or implicit VR."""
    if len(head) < 8:
        return False
    little, big = head[:2] in (b"\x02\0", b"\x08\0"), head[:2] in (b"\0\x02", b"\0\x08")
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    implicit = little and int.from_bytes(head[4:8], "little") < len(head)
    return (little or big) and head[3 if little else 2] == 0 and (explicit or implicit)


def _describe(
    source: Source, stream: ClampedStream, dataset: FileDataset, has_preamble: bool
) -> tuple[ImageFile, tuple[Frame, ...]] | Ignored:
    series_uid = modality = ""
    try:
        if not dataset.file_meta.get("TransferSyntaxUID"):
            raise FaultError("its header ends before, or lacks, the transfer syntax")
        has_pixels = stream.tell() < stream.size_bytes or dataset.file_meta.TransferSyntaxUID.is_deflated
        if has_pixels or any(tag > _SERIES_UID for tag in dataset.keys()):  # noqa: SIM118
            series_uid = text_of(dataset, "SeriesInstanceUID")  # else it may be cut short itself
        modality = text_of(dataset, "Modality")
        sop_class = UID(text_of(dataset.file_meta, "MediaStorageSOPClassUID") or text_of(dataset, "SOPClassUID"))
        unknown_class = sop_class.name == sop_class
        if "Image Storage" not in sop_class.name and not (unknown_class and has_pixels and "Rows" in dataset):
            return Ignored("unknown SOP class" if unknown_class else sop_class.name)
        if not (series_uid or has_pixels):
            raise FaultError("its header ends before, or lacks, the SeriesInstanceUID")
        file = _image_file(source, stream, dataset, sop_class)
        check_pixel_element(stream, dataset)
        return file, _frames(file, dataset)
    except FaultError as found:
        return ImageFile(source, str(found), series_uid, modality=modality), ()
    except Exception as error:  # converting a value raises whatever the value provokes
        fault = f"its header holds unusable values ({type(error).__name__})"
        return ImageFile(source, fault, series_uid, modality=modality), ()


def _image_file(source: Source, stream: ClampedStream, dataset: FileDataset, sop_class: UID) -> ImageFile:
    """What holds for every frame; the stream stands at the pixel data.

    An object without a UID of its own gets one that follows from its bytes, for use in here: `ImageFile.lacks` says so.
    """
    sheet, sheet_slices = sheet_of(dataset)
    required = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation", "PhotometricInterpretation")
    missing = [keyword for keyword in required if value_of(dataset, keyword) is None]
    if missing:
        raise FaultError(f"its header ends before, or lacks, {', '.join(missing)}")
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    if not (1 <= rows <= _MAX_SIDE and 1 <= columns <= _MAX_SIDE):
        raise FaultError(f"its image has {columns} x {rows} pixels, expected 1 to {_MAX_SIDE} along each side")
    instance_uid = text_of(dataset, "SOPInstanceUID") or text_of(dataset.file_meta, "MediaStorageSOPInstanceUID")
    series_uid = text_of(dataset, "SeriesInstanceUID")
    named = {"StudyInstanceUID": text_of(dataset, "StudyInstanceUID"), "SeriesInstanceUID": series_uid}
    lacks = tuple(name for name, uid in (named | {"SOPInstanceUID": instance_uid}).items() if not uid)
    pixels_at = stream.tell()
    return ImageFile(
        source,
        series_uid=series_uid or _made_up_uid(f"{source.path.parent}#{text_of(dataset, 'SeriesNumber')}".encode()),
        sop_class_uid=str(sop_class),
        sop_instance_uid=instance_uid or _made_up_uid(_bytes_of(stream)),
        lacks=lacks,
        modality=text_of(dataset, "Modality"),
        body_part=text_of(dataset, "BodyPartExamined"),
        description=text_of(dataset, "SeriesDescription"),
        frame_of_reference_uid=text_of(dataset, "FrameOfReferenceUID"),
        image_type=tuple(map(str, value_of(dataset, "ImageType") or ())),
        rows=rows,
        columns=columns,
        samples_per_pixel=int(value_of(dataset, "SamplesPerPixel") or 1),
        photometric=text_of(dataset, "PhotometricInterpretation"),
        layout=_layout(dataset),
        multi_frame=_is_multi_frame(sop_class, dataset),
        pixels_at=0 if dataset.file_meta.TransferSyntaxUID.is_deflated else pixels_at,
        sheet=sheet,
        sheet_slices=sheet_slices,
    )


def _is_multi_frame(sop_class: UID, dataset: Dataset) -> bool:
    """By Number of Frames and SOP class: some archives write functional groups into single-frame objects, too."""
    if int(value_of(dataset, "NumberOfFrames") or 1) > 1:
        return True
    return sop_class not in _SINGLE_FRAME and value_of(dataset, "PerFrameFunctionalGroupsSequence") is not None


def _bytes_of(stream: ClampedStream) -> bytes:
    """All of the file; the stream stands where it stood."""
    at = stream.tell()
    stream.seek(0)
    content = stream.read()
    stream.seek(at)
    return content


def _made_up_uid(content: bytes) -> str:
    """A UID of the form that needs no registration (PS3.5 B.2), from a hash of `content`."""
    return f"2.25.{int.from_bytes(hashlib.sha256(content).digest()[:16], 'big')}"


def _layout(dataset: FileDataset) -> PixelLayout:
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    high_bit = value_of(dataset, "HighBit")
    high = stored - 1 if high_bit is None else int(high_bit)
    if allocated not in (8, 12, 16, 32) or not 1 <= stored <= high + 1 <= allocated:
        raise FaultError(
            f"BitsAllocated {allocated}, BitsStored {stored} and HighBit {high} do not go together or are not read; "
            "expected 8, 12, 16 or 32 bits"
        )
    if syntax.is_encapsulated and syntax not in DECODERS:
        raise FaultError(f"its transfer syntax, {syntax.name}, is not read; export it uncompressed")
    low, limit = value_of(dataset, "PixelPaddingValue"), value_of(dataset, "PixelPaddingRangeLimit")
    padding = None
    if low is not None and not isinstance(low, bytes):
        ends = sorted((int(low), int(low if limit is None or isinstance(limit, bytes) else limit)))
        padding = (ends[0], ends[1])
    signed = int(dataset.PixelRepresentation) == 1
    return PixelLayout(syntax, allocated, stored, high, signed, padding, _table_range(dataset))


def _table_range(dataset: Dataset) -> tuple[int, int] | None:
    """Lowest and highest value of the modality lookup table, None without one (PS3.3 C.11.1.1)."""
    if "ModalityLUTSequence" not in dataset:
        return None
    items = dataset.ModalityLUTSequence
    descriptor = items[0].get("LUTDescriptor") if len(items) == 1 else None
    if descriptor is None or len(descriptor) != 3 or descriptor[2] not in (8, 16) or "LUTData" not in items[0]:
        raise FaultError("its modality lookup table has no usable descriptor and data")
    return 0, int(2 ** descriptor[2] - 1)


def _frames(file: ImageFile, dataset: Dataset) -> tuple[Frame, ...]:
    """The file's planes: from the functional groups (PS3.3 C.7.6.16); what those lack, from the top level."""
    groups = value_of(dataset, "PerFrameFunctionalGroupsSequence") or []
    count = int(value_of(dataset, "NumberOfFrames") or 1)
    if not file.multi_frame:
        groups = groups if len(groups) == 1 else []
    if groups and len(groups) != count:
        raise FaultError(f"it has {count} frames and {len(groups)} per-frame functional groups")
    shared = (value_of(dataset, "SharedFunctionalGroupsSequence") or [Dataset()])[0]
    numbers = range(1, count + 1) if file.multi_frame else [None]
    return tuple(
        _frame(file, number, dataset, (group, shared))
        for number, group in zip(numbers, groups or [Dataset()] * count, strict=True)
    )


def _frame(file: ImageFile, number: int | None, dataset: Dataset, groups: tuple[Dataset, Dataset]) -> Frame:
    """One plane. groups: its own functional groups, and those that it shares with the others."""
    assert file.layout is not None

    def places(macro: str) -> tuple[Dataset, ...]:
        return (*(items[0] for group in groups if (items := value_of(group, macro))), dataset)

    def numbers(macro: str, keyword: str, count: int) -> tuple[float, ...] | None:
        return next((found for place in places(macro) if (found := numbers_of(place, keyword, count))), None)

    def number_in(macro: str, keyword: str) -> float | None:
        found = numbers(macro, keyword, 1)
        return found[0] if found else None

    mappings = next((found for place in (*groups, dataset) if (found := value_of(place, _MAPPINGS))), ())
    slope, intercept = scale_of(places("PixelValueTransformationSequence")[0], mappings, file.layout.table is not None)
    return Frame(
        file,
        number,
        numbers("PlanePositionSequence", "ImagePositionPatient", 3),
        numbers("PlaneOrientationSequence", "ImageOrientationPatient", 6),
        numbers("PixelMeasuresSequence", "PixelSpacing", 2),
        number_in("PixelMeasuresSequence", "SliceThickness"),
        number_in("PixelMeasuresSequence", "SpacingBetweenSlices"),
        slope,
        intercept,
        distinguishing_values(dataset, groups),
    )
