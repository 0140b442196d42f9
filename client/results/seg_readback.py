"""A DICOM Segmentation is read back and compared with the mask that was meant, before it counts as written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import highdicom as hd
import numpy as np
from highdicom.seg import Segmentation
from pydicom.dataset import Dataset

from client.results.concepts import modifiers
from client.results.plain_errors import plain_reason
from client.results.seg_source import SourceImages
from client.results.segments import Segment
from swinunet.errors import OutputError

TOLERANCE_MM = 1e-4


def verify_seg(
    path: Path, mask: np.ndarray, segments: Sequence[Segment], source: SourceImages, name: str | None = None
) -> None:
    """Read the segmentation at `path` and compare it with what was meant, voxel by voxel on the source's grid.

    Arguments as in `write_seg`; name: what errors call the file. Checked: segments and codes, the source image of each
    frame, the frame's position against that image's own (1e-4 mm), orientation, pixel spacing, and every voxel of
    every slice. Raises OutputError on the first difference.
    """
    expected = segment_numbers(mask, segments, source)
    try:
        difference = _difference(hd.seg.segread(path), expected, segments, source)
    except Exception as error:  # readers raise anything on a broken file, and what cannot be read is not verified
        difference = f"it cannot be read ({plain_reason(error, source.headers)})"
    if difference:
        raise OutputError(
            f"{name or path.name}: the DICOM SEG does not read back as the mask: {difference}; do not use it"
        )


def segment_numbers(mask: np.ndarray, segments: Sequence[Segment], source: SourceImages) -> np.ndarray:
    """The mask as frames of segment numbers: uint8 [K, rows, columns]. Raises OutputError if it has others."""
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


def source_items(seg: Dataset) -> list[Dataset]:
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
    frames = zip(seg.PerFrameFunctionalGroupsSequence, source_items(seg), strict=True)
    for index, (frame, item) in enumerate(frames, start=1):
        stored = seg.get_stored_frame(index)
        reference = (str(item.ReferencedSOPInstanceUID), item.get("ReferencedFrameNumber"))
        if reference not in slice_of:
            return "a frame refers to an image that is not in the source series"
        k = slice_of[reference]
        at_mm = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        if (distance_mm := float(np.abs(at_mm - positions_mm[k]).max())) > TOLERANCE_MM:
            return f"a frame lies {distance_mm:.4f} mm from its source image"
        if found_numbers[k][stored > 0].any():
            return f"segments overlap on slice {k}"
        if seg.SegmentationType == "LABELMAP":
            found_numbers[k] = stored
        else:
            found_numbers[k][stored > 0] = _segment_number(frame, shared)
    wrong = int(np.count_nonzero(found_numbers != expected))
    return f"{wrong} voxels differ" if wrong else None


def _segment_number(frame: Dataset, shared: Dataset) -> int:
    group = frame if "SegmentIdentificationSequence" in frame else shared
    return int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)


def _segment_difference(seg: Segmentation, segments: Sequence[Segment]) -> str | None:
    items = [item for item in seg.SegmentSequence if item.SegmentNumber > 0]  # a label map describes its background
    if len(items) != len(segments):
        return f"found {len(items)} segments, expected {len(segments)}"
    for item, segment in zip(items, segments, strict=True):
        property_type = item.SegmentedPropertyTypeCodeSequence[0]
        coded = [property_type.CodeValue]
        coded += [code.CodeValue for code in property_type.get("SegmentedPropertyTypeModifierCodeSequence", [])]
        meant = [segment.label.type.value, *(code.CodeValue for code in modifiers(segment))]
        if (int(item.SegmentNumber), item.SegmentLabel, coded) != (segment.number, segment.text[:64], meant):
            return f"segment {segment.number} is not {segment.text!r} with codes {meant}"
    return None
