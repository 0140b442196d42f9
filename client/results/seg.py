"""DICOM Segmentation objects (PS3.3 A.51, C.8.20) of a result mask, read back and compared before they count as done.

write_seg(path, mask, segments, source, spec=spec, series_description="Hippocampus (AI)")
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import highdicom as hd
import numpy as np
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from client.results.seg_source import SourceImages
from client.results.segments import Segment, Side
from imaging import Code, ModelSpec
from swinunet.errors import OutputError
from swinunet.files import written_aside

MANUFACTURER = "Swin-UNet project"
SERIES_NUMBER_OFFSET = 1000  # a result's Series Number: its source's, moved out of the scanner's range
TOLERANCE_MM = 1e-4

# CID 244 "Laterality"
_LATERALITY: dict[Side, CodedConcept] = {
    "left": CodedConcept("7771000", "SCT", "Left"),
    "right": CodedConcept("24028007", "SCT", "Right"),
}


def write_seg(
    path: Path,
    mask: np.ndarray,
    segments: Sequence[Segment],
    source: SourceImages,
    *,
    spec: ModelSpec,
    series_description: str,
) -> None:
    """Write `mask` as one BINARY segmentation of the source images; written aside, verified, then renamed.

    mask: uint8 [I, J, K], I the source's columns, J its rows, K its slices; values are the segments' `mask_value`.
    There is one frame for each segment on each slice where it has a voxel. An empty mask gives one empty frame a
    segment, on the middle slice: the standard has no segmentation without frames, and "looked and found nothing" is a
    result. The same mask of the same images by the same model gets the same UIDs.
    Raises OutputError if the object cannot be made or written, or does not read back as `mask`.
    """
    numbers = _segment_numbers(mask, segments, source)
    try:
        seg = _build(numbers, segments, source, spec, series_description)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        reason = _line(error, source.headers[0])
        raise OutputError(f"{path.name}: no DICOM SEG can be made of this source ({reason})") from None
    with written_aside(path) as aside:
        seg.save_as(aside)
        _check(aside, path.name, mask, segments, source)


def verify_seg(path: Path, mask: np.ndarray, segments: Sequence[Segment], source: SourceImages) -> None:
    """Read the segmentation at `path` and compare it with what was meant, voxel by voxel on the source's grid.

    Arguments as in `write_seg`. Checked: segments and codes, the source image of each frame, the frame's position
    against that image's own (1e-4 mm), orientation, pixel spacing, and every voxel of every slice.
    Raises OutputError on the first difference.
    """
    _check(path, path.name, mask, segments, source)


def _check(path: Path, name: str, mask: np.ndarray, segments: Sequence[Segment], source: SourceImages) -> None:
    expected = _segment_numbers(mask, segments, source)
    try:
        seg = hd.seg.segread(path)
        difference = _difference(seg, expected, segments, source)
    except Exception as error:  # readers raise anything on a broken file, and what cannot be read is not verified
        difference = f"it cannot be read ({_line(error, source.headers[0])})"
    if difference:
        raise OutputError(f"{name}: the DICOM SEG does not read back as the mask: {difference}; do not use it")


def _segment_numbers(mask: np.ndarray, segments: Sequence[Segment], source: SourceImages) -> np.ndarray:
    """The mask as frames of segment numbers: uint8 [K, rows, columns]."""
    if [segment.number for segment in segments] != list(range(1, len(segments) + 1)):
        raise OutputError("a DICOM SEG's segment numbers must run from 1 upwards without a gap")
    if mask.shape != source.shape:
        raise OutputError(f"the mask has {mask.shape} voxels, its source images {source.shape} (columns, rows, slices)")
    table = np.full(256, 255, np.uint8)
    table[0] = 0
    for segment in segments:
        table[segment.mask_value] = segment.number
    numbers = table[mask.transpose(2, 1, 0)]
    if numbers.max(initial=0) > len(segments):
        raise OutputError("the mask has values that no segment names")
    return numbers


def _build(
    numbers: np.ndarray, segments: Sequence[Segment], source: SourceImages, spec: ModelSpec, series_description: str
) -> Segmentation:
    software = version("swinunet")
    identity = [
        *(f"{uid}#{frame}" for uid, frame in source.references),
        *(segment.text for segment in segments),
        *(spec.to_json(), software, series_description, hashlib.sha256(numbers.tobytes()).hexdigest()),
    ]
    middle = None
    if not numbers.any():
        k = len(numbers) // 2
        middle = [hd.PlanePositionSequence("PATIENT", source.positions_mm[k])]
        numbers = numbers[k : k + 1]
    seg = Segmentation(
        source_images=source.stand_ins(),
        pixel_array=numbers,
        segmentation_type="BINARY",
        segment_descriptions=[_describe(segment, spec) for segment in segments],
        series_instance_uid=generate_uid(entropy_srcs=["series", *identity]),
        series_number=SERIES_NUMBER_OFFSET + int(source.headers[0].get("SeriesNumber") or 0),
        sop_instance_uid=generate_uid(entropy_srcs=["instance", *identity]),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name="swinunet",
        software_versions=software,
        device_serial_number=spec.provenance.checkpoint_sha256[:16] or "0",
        content_label=_code_string(spec.name),
        content_description=f"Model {spec.name}, version {spec.version}"[:64],
        series_description=series_description[:64],
        plane_positions=middle,
        omit_empty_frames=middle is None,
    )
    _refer_to_source(seg, source)
    return seg


def _describe(segment: Segment, spec: ModelSpec) -> SegmentDescription:
    """The item of the Segment Sequence (PS3.3 C.8.20.4) for one segment."""
    provenance = spec.provenance
    algorithm = hd.AlgorithmIdentificationSequence(
        name=spec.name,
        family=codes.cid7162.ArtificialIntelligence,
        version=str(spec.version),
        source=MANUFACTURER,
        parameters={"checkpoint_sha256": provenance.checkpoint_sha256} if provenance.checkpoint_sha256 else None,
    )
    description = SegmentDescription(
        segment_number=segment.number,
        segment_label=segment.text[:64],
        segmented_property_category=codes.cid7150.AnatomicalStructure,
        segmented_property_type=_concept(segment.label.type),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
        display_color=CIELabColor.from_rgb(*segment.label.color),
    )
    if modifiers := _modifiers(segment):
        property_type = description.SegmentedPropertyTypeCodeSequence[0]
        property_type.SegmentedPropertyTypeModifierCodeSequence = modifiers
    return description


def _modifiers(segment: Segment) -> list[CodedConcept]:
    """Laterality first, then the label's own modifier (Segmented Property Type Modifier, PS3.3 C.8.20.4)."""
    side = [_LATERALITY[segment.laterality]] if segment.laterality else []
    return side + ([_concept(segment.label.modifier)] if segment.label.modifier else [])


def _refer_to_source(seg: Segmentation, source: SourceImages) -> None:
    """Replace references to stand-ins by references to the source's instances and frames."""
    instances: dict[str, Dataset] = {}
    for item in {id(item): item for item in _source_items(seg)}.values():  # segments share the item of a slice
        item.ReferencedSOPClassUID, reference = source.reference_of(item.ReferencedSOPInstanceUID)
        item.ReferencedSOPInstanceUID, frame = reference
        if frame is not None:
            item.ReferencedFrameNumber = frame
    for item in seg.SourceImageSequence:
        item.ReferencedSOPClassUID, (item.ReferencedSOPInstanceUID, _) = source.reference_of(
            item.ReferencedSOPInstanceUID
        )
        instances.setdefault(item.ReferencedSOPInstanceUID, item)
    seg.SourceImageSequence = list(instances.values())
    seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence = list(instances.values())


def _source_items(seg: Dataset) -> list[Dataset]:
    """Each frame's reference to its source image (Derivation Image macro, PS3.3 C.7.6.16.2.6), in frame order."""
    return [frame.DerivationImageSequence[0].SourceImageSequence[0] for frame in seg.PerFrameFunctionalGroupsSequence]


def _difference(
    seg: Segmentation, expected: np.ndarray, segments: Sequence[Segment], source: SourceImages
) -> str | None:
    """What distinguishes a segmentation that was read from `expected` [K, rows, columns]; None if nothing does."""
    if (seg.Rows, seg.Columns) != expected.shape[1:]:
        return f"found {seg.Rows} rows and {seg.Columns} columns, expected {expected.shape[1:]}"
    if found := _segment_difference(seg, segments):
        return found
    slice_of = {reference: k for k, reference in enumerate(source.references)}
    positions_mm = source.positions_mm
    shared = seg.SharedFunctionalGroupsSequence[0]
    if not np.allclose(shared.PlaneOrientationSequence[0].ImageOrientationPatient, source.orientation, atol=1e-5):
        return "its orientation is not the source's"
    if not np.allclose(shared.PixelMeasuresSequence[0].PixelSpacing, source.pixel_spacing_mm, rtol=1e-6):
        return "its pixel spacing is not the source's"
    found_numbers = np.zeros_like(expected)
    frames = zip(seg.PerFrameFunctionalGroupsSequence, _source_items(seg), strict=True)
    for index, (frame, item) in enumerate(frames, start=1):
        inside = seg.get_stored_frame(index) > 0
        reference = (str(item.ReferencedSOPInstanceUID), item.get("ReferencedFrameNumber"))
        if reference not in slice_of:
            return "a frame refers to an image that is not in the source series"
        k = slice_of[reference]
        at_mm = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        if (distance_mm := float(np.abs(at_mm - positions_mm[k]).max())) > TOLERANCE_MM:
            return f"a frame lies {distance_mm:.4f} mm from its source image"
        number = _segment_number(frame, shared)
        if found_numbers[k][inside].any():
            return f"segments overlap on slice {k}"
        found_numbers[k][inside] = number
    wrong = int(np.count_nonzero(found_numbers != expected))
    return f"{wrong} voxels differ" if wrong else None


def _segment_number(frame: Dataset, shared: Dataset) -> int:
    group = frame if "SegmentIdentificationSequence" in frame else shared
    return int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)


def _segment_difference(seg: Segmentation, segments: Sequence[Segment]) -> str | None:
    if len(seg.SegmentSequence) != len(segments):
        return f"found {len(seg.SegmentSequence)} segments, expected {len(segments)}"
    for item, segment in zip(seg.SegmentSequence, segments, strict=True):
        property_type = item.SegmentedPropertyTypeCodeSequence[0]
        coded = [property_type.CodeValue]
        coded += [code.CodeValue for code in property_type.get("SegmentedPropertyTypeModifierCodeSequence", [])]
        meant = [segment.label.type.value, *(code.CodeValue for code in _modifiers(segment))]
        if (int(item.SegmentNumber), item.SegmentLabel, coded) != (segment.number, segment.text[:64], meant):
            return f"segment {segment.number} is not {segment.text!r} with codes {meant}"
    return None


def _concept(code: Code) -> CodedConcept:
    return CodedConcept(code.value, code.scheme, code.meaning)


def _code_string(text: str) -> str:
    """As a Code String (PS3.5 6.2): upper case, digits, space, underscore; 16 characters."""
    return re.sub(r"[^A-Z0-9_ ]", "_", text.upper())[:16]


def _line(error: Exception, header: Dataset) -> str:
    """An exception's type and first line; the type alone where the line quotes the patient."""
    kind, line = type(error).__name__, str(error).partition("\n")[0][:120]
    with suppress(ValueError, TypeError):  # an identifier that cannot be decoded
        named = {str(header.get(keyword) or "") for keyword in ("PatientName", "PatientID", "PatientBirthDate")}
        return kind if not line or any(value in line for value in named - {""}) else f"{kind}: {line}"
    return kind
