"""Headers that stand for the source images before highdicom, which takes single-frame images with every attribute."""

from __future__ import annotations

from contextlib import suppress

from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID, MRImageStorage, generate_uid
from pydicom.valuerep import DSfloat

from swinunet.client.dicom.source_images import PER_FRAME, SHARED, Reference, SourceImages

# Type 2 attributes of the Patient and General Study modules (PS3.3 C.7.1.1, C.7.2.1): hospitals leave them out.
TYPE_2 = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
_LEFT_OUT = ("PixelData", "FloatPixelData", "DoubleFloatPixelData", SHARED, PER_FRAME, "NumberOfFrames")
_STAND_IN_ROOT = "2.25."


def stand_ins(source: SourceImages) -> list[Dataset]:
    """One single-frame MR header for each slice, with all that highdicom asks for and nothing it stumbles over.

    highdicom wants one multi-frame file at most, orientations and pixel measures in the shared groups, and every
    type 2 attribute; sources have none of these in earnest. The stand-ins have UIDs of their own, which
    `reference_of` turns back into the source's. Where the source has no Frame of Reference, as after many
    anonymisers, one is derived from its series: it claims no relation to any other series.
    """
    first = _public_part(source.headers[0])
    for keyword in TYPE_2:
        if keyword not in first:
            setattr(first, keyword, None)
    if first.PatientSex not in ("M", "F", "O"):  # the defined values (PS3.3 C.7.1.1)
        first.PatientSex = None
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


def reference_of(source: SourceImages, stand_in_uid: str) -> tuple[str, Reference]:
    """SOP Class UID and reference of the source image that a stand-in stands for."""
    k = int(stand_in_uid.removeprefix(_STAND_IN_ROOT)) - 1
    return str(source.header(k).SOPClassUID), source.references[k]


def _frame_of_reference(header: Dataset) -> str:
    return generate_uid(entropy_srcs=["frame of reference", str(header.SeriesInstanceUID)])


def _public_part(header: Dataset) -> Dataset:
    """A copy of the header's public top level without pixels and frames; nested values are shared.

    Elements whose value cannot be decoded are left out: a result cannot pass on what nobody can read.
    """
    copy = Dataset()
    for tag in header.keys():  # noqa: SIM118  iterating a Dataset decodes its values
        if not tag.is_private and keyword_for_tag(tag) not in _LEFT_OUT:
            with suppress(ValueError, TypeError, OverflowError, NotImplementedError):
                element = header[tag]
                copy.add(DataElement(element.tag, element.VR, element.value, already_converted=True))
    return copy
