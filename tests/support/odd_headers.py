"""Headers as hospitals write them, byte by byte, and the SEG and SR that come of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from result_samples import LABELS, classic_series, identity_of

from swinunet.client.dicom.source_images import SourceImages
from swinunet.client.results.dicom_seg_writer import write_seg
from swinunet.client.results.dicom_sr_writer import write_sr
from swinunet.client.results.quality import Quality
from swinunet.client.segments import make_segments, measure
from swinunet.imaging import Label


def raw(header: Dataset, keyword: str, vr: str, content: bytes) -> None:
    """Put bytes into a header as a file has them, whatever the VR allows."""
    tag = Tag(keyword)
    content += b" " * (len(content) % 2)
    header[tag] = RawDataElement(tag, vr, len(content), content, 0, False, True)


def results(
    folder: Path,
    character_set: str | None,
    name: bytes,
    labels: tuple[Label, ...] = LABELS,
    spoil: Callable[[Dataset], None] = lambda header: None,
) -> list[Dataset]:
    """SEG and SR, read from their files, of a source with this name. spoil: what else is done to its headers."""
    headers = classic_series("axial", (12, 10, 3), (1.0, 1.0, 2.0))
    for header in headers:
        spoil(header)
        if character_set is not None:
            raw(header, "SpecificCharacterSet", "CS", character_set.encode())
        raw(header, "PatientName", "PN", name)
        item = Dataset()
        raw(item, "PatientID", "LO", name.partition(b"=")[0])
        item.TypeOfPatientID = "TEXT"
        header.add(DataElement("OtherPatientIDsSequence", "SQ", [item]))
    source, mask = SourceImages.of_slices(headers), np.zeros((12, 10, 3), np.uint8)
    mask[2:5, 2:5], mask[6:9, 2:5] = 1, 2
    segments, identity = make_segments(labels), identity_of(source)
    seg = write_seg(folder / "seg.dcm", mask, segments, source, identity, series_description="")
    measured = measure(mask, segments, 0.002)
    unflagged = [Quality((), ())] * len(measured)
    write_sr(folder / "sr.dcm", measured, unflagged, seg, source, identity, series_description="")
    return [pydicom.dcmread(folder / file) for file in ("seg.dcm", "sr.dcm")]
