"""A DICOM Segmentation is read back and compared with the mask that was meant, before it counts as written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from swinunet.client.dicom.source_images import SourceImages
from swinunet.client.results.concepts import modifiers
from swinunet.client.results.plain_errors import plain_reason
from swinunet.client.results.seg_frames import Key, MaskFrames, frame_keys, read_frames
from swinunet.client.segments import Segment
from swinunet.foundation.errors import OutputError

TOLERANCE_MM = 1e-4


def verify_seg(path: Path, meant: MaskFrames, source: SourceImages, name: str | None = None) -> None:
    """Read the segmentation at `path` and compare it with what was meant, voxel by voxel, a frame at a time.

    name: what errors call the file. Checked: segments and codes, the source image of each frame, the frame's position
    against that image's own (1e-4 mm), orientation, pixel spacing, and every voxel of every slice. Raises OutputError
    on the first difference.
    """
    try:
        with path.open("rb") as file:
            seg, frames = read_frames(file)
            keys = frame_keys(seg, source)
            difference = _difference(seg, keys, meant, source) or _wrong_voxels(frames, keys, meant)
    except Exception as error:  # readers raise anything on a broken file, and what cannot be read is not verified
        difference = f"it cannot be read ({plain_reason(error, source.headers)})"
    if difference:
        raise OutputError(
            f"{name or path.name}: the DICOM SEG does not read back as the mask: {difference}; do not use it"
        )


def _difference(seg: Dataset, keys: Sequence[Key], meant: MaskFrames, source: SourceImages) -> str | None:
    """What distinguishes all that was read but the pixels from what was meant; None if nothing does."""
    if (seg.Rows, seg.Columns) != meant.shape:
        return f"found {seg.Rows} rows and {seg.Columns} columns, expected {meant.shape}"
    if found := _segment_difference(seg, meant.segments):
        return found
    shared = seg.SharedFunctionalGroupsSequence[0]
    if not np.allclose(shared.PlaneOrientationSequence[0].ImageOrientationPatient, source.orientation, atol=1e-5):
        return "its orientation is not the source's"
    if not np.allclose(shared.PixelMeasuresSequence[0].PixelSpacing, source.pixel_spacing_mm, rtol=1e-6):
        return "its pixel spacing is not the source's"
    positions_mm = source.positions_mm
    for frame, (k, _) in zip(seg.PerFrameFunctionalGroupsSequence, keys, strict=True):
        if k is None and len(positions_mm) == source.phases:
            continue
        if k is None or k < 0:
            return "a frame refers to an image that is not in the source series"
        group = frame if "PlanePositionSequence" in frame else shared
        at_mm = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        if source.phases > 1 and frame.FrameContentSequence[0].TemporalPositionIndex != source.phase_of(k):
            return "a frame is of another phase than its source image"
        if (distance_mm := float(np.abs(at_mm - positions_mm[k]).max())) > TOLERANCE_MM:
            return f"a frame lies {distance_mm:.4f} mm from its source image"
    return "two frames are of one slice and segment" if len(set(keys)) < len(keys) else None


def _wrong_voxels(frames: Iterable[np.ndarray], keys: Sequence[Key], meant: MaskFrames) -> str | None:
    """How many voxels of the frames that are there, and of those that ought to be, are not as meant."""
    missing, wrong = meant.voxels.copy(), 0
    for key, stored in zip(keys, frames, strict=True):
        wrong += int(np.count_nonzero(stored != meant.frame(key)))
        k, number = key
        if k is None:
            continue
        missing[k, slice(None) if number is None else number - 1] = 0
    wrong += int(missing.sum())
    return f"{wrong} voxels differ" if wrong else None


def _segment_difference(seg: Dataset, segments: Sequence[Segment]) -> str | None:
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
