"""The source images of a DICOM SEG: which instance or frame each slice of the mask came from, and where it lies."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID, MRImageStorage, generate_uid
from pydicom.valuerep import DSfloat

from swinunet.client.dicom.geometry import ASSUMED_THICKNESS_MM
from swinunet.foundation.errors import OutputError

Reference = tuple[str, int | None]  # SOP Instance UID; frame number counted from 1, None in a single-frame image

# Type 2 attributes of the Patient and General Study modules (PS3.3 C.7.1.1, C.7.2.1): hospitals leave them out.
TYPE_2 = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
SHARED, PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
_LEFT_OUT = ("PixelData", "FloatPixelData", "DoubleFloatPixelData", SHARED, PER_FRAME, "NumberOfFrames")
_STAND_IN_ROOT = "2.25."


@dataclass(frozen=True, eq=False)
class SourceImages:
    """The images a mask [I, J, K] was made from.

    headers: pydicom headers of one series (pixel data not needed): one a slice, or one a multi-frame file.
    references: for each slice k, the instance and frame it came from.
    """

    headers: tuple[Dataset, ...]
    references: tuple[Reference, ...]

    def __post_init__(self) -> None:
        missing = {uid for uid, _ in self.references} - set(self._by_uid)
        if missing or not self.references:
            raise ValueError(f"{len(missing)} of {len(self.references)} slices refer to an instance without a header")

    @staticmethod
    def of_slices(headers: Sequence[Dataset]) -> SourceImages:
        """Single-frame images, one a slice, in the order of k."""
        return SourceImages(tuple(headers), tuple((str(header.SOPInstanceUID), None) for header in headers))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows, slices: the mask's I, J, K."""
        return int(self.headers[0].Columns), int(self.headers[0].Rows), len(self.references)

    @cached_property
    def positions_mm(self) -> np.ndarray:
        """Centre of each slice's first pixel (Image Position (Patient), PS3.3 C.7.6.2.1.1): float64 [K, 3], LPS mm."""
        planes = [self._group(k, "PlanePositionSequence") for k in range(len(self.references))]
        return np.array([[float(value) for value in plane.ImagePositionPatient] for plane in planes])

    @property
    def orientation(self) -> list[float]:
        """Image Orientation (Patient) of the first slice: direction cosines [6] of a row, then of a column."""
        return [float(value) for value in self._group(0, "PlaneOrientationSequence").ImageOrientationPatient]

    @property
    def pixel_spacing_mm(self) -> list[float]:
        """Pixel Spacing of the first slice: between rows, then between columns."""
        return [float(value) for value in self._group(0, "PixelMeasuresSequence").PixelSpacing]

    @property
    def thickness_mm(self) -> float:
        """Slice Thickness, else the mean distance between slices along the normal, else 1 mm as in `client/dicom`."""
        if thickness_mm := self._group(0, "PixelMeasuresSequence").get("SliceThickness"):
            return float(thickness_mm)
        normal = np.cross(*np.reshape(self.orientation, (2, 3)))
        along = self.positions_mm @ normal
        return float(np.ptp(along) / (len(along) - 1)) if len(along) > 1 else ASSUMED_THICKNESS_MM

    def stand_ins(self) -> list[Dataset]:
        """One single-frame MR header for each slice, with all that highdicom asks for and nothing it stumbles over.

        highdicom wants one multi-frame file at most, orientations and pixel measures in the shared groups, and every
        type 2 attribute; sources have none of these in earnest. The stand-ins have UIDs of their own, which
        `reference_of` turns back into the source's. Where the source has no Frame of Reference, as after many
        anonymisers, one is derived from its series: it claims no relation to any other series.
        """
        first = _public_part(self.headers[0])
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
        plane.ImageOrientationPatient = self._group(0, "PlaneOrientationSequence").ImageOrientationPatient
        plane.PixelSpacing = self._group(0, "PixelMeasuresSequence").PixelSpacing
        plane.SliceThickness = DSfloat(self.thickness_mm, auto_format=True)
        first.pop("SpacingBetweenSlices", None)  # often wrong in sources; highdicom works it out from the positions
        planes = [first, *(Dataset() for _ in self.references[1:])]
        for k, stand_in in enumerate(planes):
            stand_in.update(plane)
            stand_in.SOPInstanceUID = UID(f"{_STAND_IN_ROOT}{k + 1}")
            stand_in.ImagePositionPatient = self._group(k, "PlanePositionSequence").ImagePositionPatient
        return planes

    def evidence(self) -> list[Dataset]:
        """The source's instances, with the patient and study modules in the first: what an SR refers to."""
        first = self.stand_ins()[0]
        named = []
        for header in self.headers:
            item = Dataset()
            item.SOPClassUID, item.SOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
            item.StudyInstanceUID, item.SeriesInstanceUID = first.StudyInstanceUID, first.SeriesInstanceUID
            named.append(item)
        first.update(named[0])
        return [first, *named[1:]]

    def reference_of(self, stand_in_uid: str) -> tuple[str, Reference]:
        """SOP Class UID and reference of the source image that a stand-in stands for."""
        reference = self.references[int(stand_in_uid.removeprefix(_STAND_IN_ROOT)) - 1]
        return str(self._by_uid[reference[0]].SOPClassUID), reference

    @cached_property
    def _by_uid(self) -> dict[str, Dataset]:
        return {str(header.SOPInstanceUID): header for header in self.headers}

    def _group(self, k: int, name: str) -> Dataset:
        """The functional group macro `name` of slice k (PS3.3 C.7.6.16.2); single-frame headers hold its attributes."""
        uid, frame = self.references[k]
        header = self._by_uid[uid]
        if frame is None:
            return header
        for item in (header[PER_FRAME].value[frame - 1], *header.get(SHARED, [])):
            if name in item:
                return item[name].value[0]
        raise OutputError(f"frame {frame} of the source has no {name}: a DICOM SEG cannot say where its frames lie")


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
