"""Headers that stand for the source images before highdicom, which takes single-frame images with every attribute."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.uid import UID, MRImageStorage, generate_uid
from pydicom.valuerep import DSfloat

from swinunet.client.dicom.source_images import Reference, SourceImages
from swinunet.client.results.character_sets import UTF_8, character_set_of_result, strip_escapes
from swinunet.client.results.source_header import usable_part

_STAND_IN_ROOT = "2.25."


def stand_ins(source: SourceImages) -> list[Dataset]:
    """One single-frame MR header for each slice, with all that highdicom asks for and nothing it stumbles over.

    highdicom wants one multi-frame file at most, orientations and pixel measures in the shared groups, and every
    type 2 attribute; sources have none of these in earnest. The stand-ins have UIDs of their own, which
    `reference_of` turns back into the source's. Where the source has no Frame of Reference, as after many
    anonymisers, one is derived from its series: it claims no relation to any other series.
    """
    first = usable_part(source.headers[0]).dataset
    plane = Dataset()
    plane.SOPClassUID, plane.Modality = MRImageStorage, first.get("Modality", "OT")
    plane.StudyInstanceUID, plane.SeriesInstanceUID = first.StudyInstanceUID, first.SeriesInstanceUID
    plane.FrameOfReferenceUID = first.get("FrameOfReferenceUID") or _frame_of_reference(first)
    plane.Rows, plane.Columns = first.Rows, first.Columns
    plane.ImageOrientationPatient = source.macro(0, "PlaneOrientationSequence").ImageOrientationPatient
    plane.PixelSpacing = source.macro(0, "PixelMeasuresSequence").PixelSpacing
    plane.SliceThickness = DSfloat(source.thickness_mm, auto_format=True)
    first.pop("SpacingBetweenSlices", None)  # often wrong in sources; highdicom works it out from the positions
    planes = [first, *(Dataset() for _ in source.references[1:])]
    for k, stand_in in enumerate(planes):
        stand_in.update(plane)
        stand_in.SOPInstanceUID = UID(f"{_STAND_IN_ROOT}{k + 1}")
        stand_in.ImagePositionPatient = source.macro(k, "PlanePositionSequence").ImagePositionPatient
    return planes


def evidence(source: SourceImages) -> list[Dataset]:
    """The source's instances, with the patient and study modules in the first: what an SR refers to."""
    first = stand_ins(source)[0]
    named = []
    for header in source.headers:
        item = Dataset()
        item.SOPClassUID, item.SOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
        item.StudyInstanceUID, item.SeriesInstanceUID = first.StudyInstanceUID, first.SeriesInstanceUID
        named.append(item)
    first.update(named[0])
    return [first, *named[1:]]


def write_in_character_set_of_source(result: Dataset, source: SourceImages) -> None:
    """State the Specific Character Set in which a result's text is written: its source's if that can hold all of it."""
    header = usable_part(source.headers[0])
    terms = character_set_of_result(header.character_sets, result, header.texts)
    if terms == (UTF_8,):
        strip_escapes(result)
    if terms:
        result.SpecificCharacterSet = list(terms) if len(terms) > 1 else terms[0]


def reference_of(source: SourceImages, stand_in_uid: str) -> tuple[str, Reference]:
    """SOP Class UID and reference of the source image that a stand-in stands for."""
    k = int(stand_in_uid.removeprefix(_STAND_IN_ROOT)) - 1
    return str(source.header(k).SOPClassUID), source.references[k]


def _frame_of_reference(header: Dataset) -> str:
    return generate_uid(entropy_srcs=["frame of reference", str(header.SeriesInstanceUID)])
