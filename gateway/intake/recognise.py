"""What a received data set is: its UIDs, its series, and whether it is an image to be segmented."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID

from swinunet.client.dicom.quiet import quiet
from swinunet.client.results.identity import MANUFACTURER, MODEL_NAME
from swinunet.foundation.errors import InputError
from swinunet.gateway.ledger.schema import InstanceKind

_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "SeriesDescription",
    "Manufacturer", "ManufacturerModelName",
]  # fmt: skip
_REQUIRED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_UID = re.compile(r"[0-9.]{1,64}")
_SEGMENTATIONS = ("SegmentationStorage", "RTStructureSetStorage")  # ends of the SOP classes' keywords
_LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"  # Label Map Segmentation Storage, which pydicom's dictionary lacks


@dataclass(frozen=True)
class Header:
    """What the gateway needs to know of an instance before it is read as an image."""

    sop_class_uid: str
    sop_instance_uid: str
    study_uid: str
    series_uid: str
    modality: str
    description: str
    kind: InstanceKind


@quiet()
def read_header(path: Path) -> Header:
    """The header of a DICOM file (PS3.10).

    Raises InputError, in words without values, if it is no DICOM, is broken, or lacks a UID that everything hangs on.
    """
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
        values = {keyword: str(dataset.get(keyword) or "").strip(" \0") for keyword in _TAGS}
    except OSError:
        raise
    except Exception as error:  # pydicom raises whatever the bytes provoke
        raise InputError(f"its header cannot be read ({type(error).__name__})") from None
    for keyword in _REQUIRED:
        if not values[keyword]:
            raise InputError(f"it lacks the {keyword}")
        if not _UID.fullmatch(values[keyword]):
            raise InputError(f"its {keyword} is no UID of at most 64 digits and dots")
    return Header(
        values["SOPClassUID"],
        values["SOPInstanceUID"],
        values["StudyInstanceUID"],
        values["SeriesInstanceUID"],
        values["Modality"],
        values["SeriesDescription"],
        kind_of(values["SOPClassUID"], dataset),
    )


def kind_of(sop_class_uid: str, dataset: Dataset) -> InstanceKind:
    """An image to be segmented, somebody's segmentation, one of our own results, or something else.

    A SOP class that nobody knows is an image: whether it has planes is for the reading of the series to say.
    """
    makers = (str(dataset.get("Manufacturer") or ""), str(dataset.get("ManufacturerModelName") or ""))
    if makers == (MANUFACTURER, MODEL_NAME):
        return InstanceKind.OWN_RESULT
    keyword = UID(sop_class_uid).keyword
    if sop_class_uid == _LABEL_MAP or keyword.endswith(_SEGMENTATIONS):
        return InstanceKind.SEGMENTATION
    return InstanceKind.IMAGE if not keyword or "Image" in keyword else InstanceKind.OTHER
