"""DICOM Segmentation objects (PS3.3 A.51, C.8.20) of a result mask, read back and compared before they count as done.

write_seg(path, mask, segments, source, identity, series_description="Hippocampus (AI)")
"""

from __future__ import annotations

import copy
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import highdicom as hd
import numpy as np
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.valuerep import DSfloat

from swinunet.client.dicom.quiet import quiet
from swinunet.client.dicom.source_images import SourceImages
from swinunet.client.results.concepts import concept, modifiers
from swinunet.client.results.identity import MANUFACTURER, MODEL_NAME, Identity, date_from_source
from swinunet.client.results.options import SegType
from swinunet.client.results.plain_errors import plain_reason
from swinunet.client.results.result import Result
from swinunet.client.results.seg_frames import MaskFrames, frame_keys, pack_frames, source_items
from swinunet.client.results.seg_readback import verify_seg
from swinunet.client.results.source_header import LARGEST_IS, series_number
from swinunet.client.results.stand_ins import reference_of, stand_ins, write_in_character_set_of_source
from swinunet.client.segments import Segment
from swinunet.foundation.errors import OutputError
from swinunet.foundation.files import written_aside

SERIES_NUMBER_OFFSET = 1000  # a result's Series Number: its source's, moved out of the scanner's range
_LARGEST_SERIES_NUMBER = LARGEST_IS - 1  # the measurements have the next one


def write(result: Result, path: Path) -> Segmentation:
    """Write the segmentation of a result of a DICOM input, and return it as `write_seg` does."""
    assert result.source
    found, spec = result.found, result.found.spec
    return write_seg(
        path, found.mask, found.segments, result.source, result.identity,
        series_description=f"{spec.name} {spec.version} segmentation", seg_type=result.options.seg_type,
    )  # fmt: skip


def write_seg(
    path: Path,
    mask: np.ndarray,
    segments: Sequence[Segment],
    source: SourceImages,
    identity: Identity,
    *,
    series_description: str,
    seg_type: SegType = "binary",
) -> Segmentation:
    """Write `mask` as one segmentation of the source images; written aside, verified, then renamed.

    Returns it without its pixels, which are in memory a frame at a time.

    mask: uint8 [I, J, K], I the source's columns, J its rows, K its slices; values are the segments' `mask_value`.
    seg_type: "binary" makes one frame for each segment on each slice where it has a voxel, "labelmap" (PS3.3 C.8.20.2,
    Supplement 243) one frame for each slice where any has. An empty mask gives empty frames, on the middle slice: the
    standard has no segmentation without frames, and "looked and found nothing" is a result. The same mask of the same
    job gets the same UIDs, and dates from its source: the object is the same to the byte.
    Raises OutputError if the object cannot be made or written, or does not read back as `mask`.
    """
    source.require_uids()
    frames = MaskFrames(mask, segments, source)
    with quiet():
        try:
            seg = _build(frames, source, identity, series_description, seg_type)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            reason = plain_reason(error, source.headers)
            raise OutputError(f"{path.name}: no DICOM SEG can be made of this source ({reason})") from None
        with written_aside(path) as aside:
            with tempfile.TemporaryFile(dir=aside.parent) as pixels:
                pack_frames((frames.frame(key) for key in frame_keys(seg, source)), pixels)
                pixels.seek(0)
                seg.add_new("PixelData", "OB", pixels)
                seg.save_as(aside)
                del seg.PixelData
            verify_seg(aside, frames, source, path.name)
    return seg


def _build(
    frames: MaskFrames,
    source: SourceImages,
    identity: Identity,
    series_description: str,
    seg_type: SegType,
) -> Segmentation:
    """The whole object but for its pixels. highdicom makes it of the outline of the mask, which has the same frames."""
    segments, outline = frames.segments, frames.outline()
    content = (seg_type, series_description, *(segment.text for segment in segments))
    spec, headers = identity.spec, stand_ins(source)
    for stand_in in headers:
        stand_in.Rows, stand_in.Columns = outline.shape[1:]
    _part_phases(headers, source)
    planes = _planes_with_all_segments(outline, len(segments), seg_type)
    if planes:
        outline = outline[planes]
    seg = Segmentation(
        source_images=headers,
        pixel_array=outline,
        segmentation_type=seg_type.upper(),
        segment_descriptions=[_describe(segment, identity) for segment in segments],
        series_instance_uid=identity.uid("seg series", *content),
        series_number=_series_number(source),
        sop_instance_uid=identity.uid("seg instance", *content, frames.digest()),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        software_versions=identity.software,
        device_serial_number=identity.device_serial_number,
        content_label=_code_string(spec.name),
        content_description=f"Model {spec.name}, version {spec.version}"[:64],
        series_description=series_description[:64],
        plane_positions=[hd.PlanePositionSequence("PATIENT", source.positions_mm[k]) for k in planes] or None,
        omit_empty_frames=not planes,
    )
    seg.Rows, seg.Columns = frames.shape
    _refer_to_source(seg, source)
    if source.phases > 1:
        _add_phase_dimension(seg, source)
    _fix_dimensions(seg, identity.uid("dimension organization", *content))
    _add_a_plane_beside_the_only_one(seg, source)
    if source.phases == 1:
        _order_along_the_normal(seg)
    date_from_source(seg, headers[0])
    write_in_character_set_of_source(seg, source)
    return seg


def _series_number(source: SourceImages) -> int:
    """In the range of an Integer String, and positive as highdicom wants it."""
    number = SERIES_NUMBER_OFFSET + series_number(source.headers[0])
    return number if 1 <= number <= _LARGEST_SERIES_NUMBER else SERIES_NUMBER_OFFSET


def _planes_with_all_segments(outline: np.ndarray, segments: int, seg_type: SegType) -> list[int]:
    """The slices on which every segment gets a frame, be it empty; none where only those with something in them do.

    An empty mask has its frames on the middle slice. Where there would be several frames and all of them in one plane,
    the slice beside it is added: ITK takes the frames' distance for their spacing, and refuses one of 0.
    """
    occupied = np.flatnonzero(outline.any(axis=(1, 2)))
    if len(occupied) > 1:
        return []
    k = int(occupied[0]) if len(occupied) else len(outline) // 2
    frames = 1 if seg_type == "labelmap" else np.count_nonzero(outline[k]) or segments
    if frames > 1 and len(outline) > 1:
        return [k, k + 1] if k + 1 < len(outline) else [k - 1, k]
    return [] if len(occupied) else [k]


def _add_a_plane_beside_the_only_one(seg: Segmentation, source: SourceImages) -> None:
    """Where several frames all lie in one plane, add an empty one of the first segment, a step along the normal.

    This is the case for a source of one slice: it has no other plane, and ITK takes the frames' distance for their
    spacing. The frame says what frames that are not there say, too: that the segment has no voxel in that plane. It is
    derived from no image (Derivation Image Sequence, type 2, PS3.3 C.7.6.16.2.6).
    """
    frames, shared = seg.PerFrameFunctionalGroupsSequence, seg.SharedFunctionalGroupsSequence[0]
    places = {tuple(frame.PlanePositionSequence[0].ImagePositionPatient) for frame in frames}
    if len(frames) < 2 or len(places) > 1:
        return
    axes = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    step_mm = float(shared.PixelMeasuresSequence[0].SpacingBetweenSlices)
    (place,) = places
    beside = np.array(place, float) + step_mm * np.cross(axes[:3], axes[3:])
    empty = copy.deepcopy(frames[0])
    empty.PlanePositionSequence = hd.PlanePositionSequence("PATIENT", beside.tolist())
    empty.FrameContentSequence[0].DimensionIndexValues[-1 if source.phases == 1 else -2] = 2  # the place's number
    empty.DerivationImageSequence = []
    seg.PerFrameFunctionalGroupsSequence = [*frames, empty]
    seg.NumberOfFrames = len(frames) + 1


def _order_along_the_normal(seg: Segmentation) -> None:
    """Sort the frames of each segment by their place along the normal, and number the places so.

    Readers that build a grid of the frames as they come, as ITK does, take the first for its origin and the normal for
    its third axis.
    """
    axes = np.array(seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient, float)
    normal = np.cross(axes[:3], axes[3:])
    frames = list(seg.PerFrameFunctionalGroupsSequence)
    places = [
        round(float(normal @ np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)), 4)
        for frame in frames
    ]
    number_of = {place: number for number, place in enumerate(sorted(set(places)), start=1)}
    for frame, place in zip(frames, places, strict=True):
        content = frame.FrameContentSequence[0]
        values = content.DimensionIndexValues
        first = list(values)[:-1] if isinstance(values, Iterable) else []  # a label map has the place alone
        content.DimensionIndexValues = [*first, number_of[place]]
    seg.PerFrameFunctionalGroupsSequence = sorted(
        frames, key=lambda frame: np.atleast_1d(frame.FrameContentSequence[0].DimensionIndexValues).tolist()
    )


def _describe(segment: Segment, identity: Identity) -> SegmentDescription:
    """The item of the Segment Sequence (PS3.3 C.8.20.4) for one segment."""
    algorithm = hd.AlgorithmIdentificationSequence(
        name=identity.spec.name,
        family=codes.cid7162.ArtificialIntelligence,
        version=str(identity.spec.version),
        source=MANUFACTURER,
        parameters=identity.parameters(),
    )
    description = SegmentDescription(
        segment_number=segment.number,
        segment_label=segment.text[:64],
        segmented_property_category=codes.cid7150.AnatomicalStructure,
        segmented_property_type=concept(segment.label.type),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
        tracking_id=tracking(segment, identity)[0],
        tracking_uid=tracking(segment, identity)[1],
        display_color=CIELabColor.from_rgb(*segment.label.color),
    )
    if coded := modifiers(segment):
        property_type = description.SegmentedPropertyTypeCodeSequence[0]
        property_type.SegmentedPropertyTypeModifierCodeSequence = coded
    return description


def tracking(segment: Segment, identity: Identity) -> tuple[str, str]:
    """Tracking ID and UID of a structure: the same in every object of a job (PS3.3 C.8.20.2)."""
    return f"{identity.spec.name}: {segment.text}"[:64], identity.uid("tracking", segment.text)


def _part_phases(headers: Sequence[Dataset], source: SourceImages) -> None:
    """Move the stand-ins of each phase beyond those of the one before: highdicom takes one image at a place."""
    if source.phases == 1:
        return
    normal = np.cross(*np.reshape(source.orientation, (2, 3)))
    beyond_mm = 2 * float(np.ptp(source.positions_mm @ normal)) + 1.0
    for k, header in enumerate(headers):
        apart = (source.phase_of(k) - 1) * beyond_mm * normal
        header.ImagePositionPatient = [DSfloat(mm, auto_format=True) for mm in source.positions_mm[k] + apart]


def _add_phase_dimension(seg: Segmentation, source: SourceImages) -> None:
    """Bring each frame back to its place, and say which phase it is of.

    The Temporal Position Index is the last dimension (PS3.3 C.7.6.17); places are numbered along the stack.
    """
    slices = len(source.references) // source.phases
    positions = [source.macro(k, "PlanePositionSequence").ImagePositionPatient for k in range(len(source.references))]
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    if slices > 1:
        apart_mm = np.linalg.norm(source.positions_mm[slices - 1] - source.positions_mm[0]) / (slices - 1)
        measures.SpacingBetweenSlices = DSfloat(float(apart_mm), auto_format=True)
    index = Dataset()
    index.DimensionIndexPointer = tag_for_keyword("TemporalPositionIndex")
    index.FunctionalGroupPointer = tag_for_keyword("FrameContentSequence")
    index.DimensionDescriptionLabel = "Temporal Position Index"
    seg.DimensionIndexSequence.append(index)
    seg.pop("DimensionOrganizationType", None)
    for frame, (k, segment) in zip(seg.PerFrameFunctionalGroupsSequence, frame_keys(seg, source), strict=True):
        assert k is not None  # a plane beside the only one is added later
        frame.PlanePositionSequence[0].ImagePositionPatient = positions[k]
        content = frame.FrameContentSequence[0]
        content.TemporalPositionIndex = source.phase_of(k)
        place = [k % slices + 1, source.phase_of(k)]
        content.DimensionIndexValues = place if segment is None else [segment, *place]


def _fix_dimensions(seg: Segmentation, uid: str) -> None:
    """Replace the random Dimension Organization UID (PS3.3 C.7.6.17) by one that follows from the job."""
    for item in (*seg.DimensionOrganizationSequence, *seg.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid


def _refer_to_source(seg: Segmentation, source: SourceImages) -> None:
    """Replace references to stand-ins by references to the source's instances and frames."""
    instances: dict[str, Dataset] = {}
    items = {id(item): item for item in source_items(seg) if item is not None}  # segments share the item of a slice
    for item in items.values():
        item.ReferencedSOPClassUID, reference = reference_of(source, item.ReferencedSOPInstanceUID)
        item.ReferencedSOPInstanceUID, frame = reference
        if frame is not None:
            item.ReferencedFrameNumber = frame
    for item in seg.SourceImageSequence:
        item.ReferencedSOPClassUID, (item.ReferencedSOPInstanceUID, _) = reference_of(
            source, item.ReferencedSOPInstanceUID
        )
        instances.setdefault(item.ReferencedSOPInstanceUID, item)
    seg.SourceImageSequence = list(instances.values())
    seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence = list(instances.values())


def _code_string(text: str) -> str:
    """As a Code String (PS3.5 6.2) that highdicom takes: 16 characters, a letter first, a letter or digit last."""
    code = re.sub(r"[^A-Z0-9_ ]", "_", text.upper())
    return (code if code[:1].isalpha() else f"M{code}")[:16].rstrip("_ ")
