"""docs/dicom-conformance.md, written from the code: `make conformance`. Its tables come from nowhere else.

What a table says of an object that we write is read from such an object, made here of a small series.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pydicom
from floors import ROOT
from pydicom.datadict import dictionary_has_tag, keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import UID, UID_dictionary
from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION
from pynetdicom import sop_class as sop_classes
from result_samples import SEGMENTS, blobs, classic_series, identity_of

from swinunet.client.dicom.source_images import SourceImages
from swinunet.client.results.dicom_seg_writer import write_seg
from swinunet.client.results.dicom_sr_writer import write_sr
from swinunet.client.results.quality import judge_quality
from swinunet.client.segments import measure
from swinunet.gateway.config.peers import ListenerConfig
from swinunet.gateway.contract import Answer
from swinunet.gateway.network.dimse.association import DimseTimeouts
from swinunet.gateway.network.dimse.contexts import RECEIVED_TRANSFER_SYNTAXES, STORAGE_CLASSES, UNCOMPRESSED
from swinunet.gateway.network.dimse.retrieval import FETCHED_CLASSES
from swinunet.gateway.network.dimse.upper_layer import MAXIMUM_PDU_BYTES
from swinunet.gateway.network.web.http_client import HttpTimeouts
from swinunet.gateway.network.web.store_response import StoreResponse
from swinunet.gateway.network.web.stow import PREFIX

STATEMENT = ROOT / "docs" / "dicom-conformance.md"
_SOURCE = {
    "PatientName": "Of^Source", "PatientID": "OF SOURCE", "PatientBirthDate": "19500102", "PatientSex": "O",
    "StudyDate": "20260102", "StudyTime": "030405", "SeriesDate": "20260102", "SeriesTime": "030506",
    "ContentDate": "20260102", "ContentTime": "030607", "AcquisitionDate": "20260102", "AcquisitionTime": "030608",
    "AccessionNumber": "OFSOURCE", "ReferringPhysicianName": "Of^Sender", "StudyID": "OF SOURCE",
    "StudyDescription": "of the source", "SpecificCharacterSet": "ISO_IR 100", "BodyPartExamined": "BRAIN",
    "FrameOfReferenceUID": "1.2.3.4", "PositionReferenceIndicator": "", "PatientAge": "076Y",
}  # fmt: skip
_CHANGING = (  # with each release, model or source
    "SoftwareVersions", "DeviceSerialNumber", "ContentDescription", "Manufacturer", "SeriesDescription", "ContentLabel",
    "ReferencedSOPClassUID",
)  # fmt: skip
_UNEXPLAINED = ("ContentSequence",)  # by its template instead
_LONGEST_VALUE = 60


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def name_of(uid: str) -> str:
    """The name of a UID; of those that pydicom does not know, pynetdicom's keyword."""
    if uid in UID_dictionary:
        return str(UID(uid).name)
    for keyword, value in vars(sop_classes).items():
        if isinstance(value, str) and value == uid and keyword[0] != "_":
            return keyword
    return "private"


def service_table() -> str:
    rows = [
        ("Verification", "yes", "yes", "C-ECHO"),
        ("Storage", "yes (results)", f"yes ({len(STORAGE_CLASSES)} SOP classes, below)", "C-STORE"),
        ("Storage Commitment Push Model", "yes", "yes", "N-ACTION, N-EVENT-REPORT on an association of the SCP's"),
        ("Study Root Query/Retrieve - FIND", "yes", "no", "C-FIND at levels SERIES and IMAGE"),
        ("Study Root Query/Retrieve - MOVE", "yes", "no", "C-MOVE at level STUDY, to our own listener"),
        ("Study Root Query/Retrieve - GET", "yes", "no", f"C-GET at level STUDY, {len(FETCHED_CLASSES)} image classes"),
    ]
    return table(("Service", "SCU", "SCP", "how"), rows)


def web_table() -> str:
    rows = [
        ("Store Transaction (STOW-RS)", "yes", f"yes, `POST {PREFIX}/studies` and `{PREFIX}/studies/{{study}}`"),
        ("Search Transaction (QIDO-RS)", "yes, series of a study", "no"),
        ("Retrieve Transaction (WADO-RS)", "yes, instances of a study", "no"),
    ]
    return table(("Transaction", "User Agent", "Origin Server"), rows)


def transfer_syntax_table() -> str:
    sent = {str(uid) for uid in UNCOMPRESSED}
    rows = [
        (name_of(uid), uid, "yes" if uid in sent else "as a received file has it") for uid in RECEIVED_TRANSFER_SYNTAXES
    ]
    return table(("Transfer syntax", "UID", "sent"), rows)


def status_table() -> str:
    meanings = {
        Answer.STORED: "on the disk, synced, and in the ledger", Answer.DUPLICATE: "the same, from before",
        Answer.INVALID: "not a usable data set of its SOP class", Answer.OUT_OF_SPACE: "the disk is at its watermark",
        Answer.FAILED: "a fault of ours; the sender may try again",
    }  # fmt: skip
    rows = []
    for answer, meaning in meanings.items():
        response = StoreResponse()
        response.add(None, answer)
        http = 200 if answer.is_success else response.status
        rows.append((f"0x{answer.dimse:04X}", http, meaning))
    return table(("C-STORE status", "STOW-RS status, where it holds for all", "meaning"), rows)


def association_table() -> str:
    listener, timeouts = ListenerConfig(), DimseTimeouts()
    http = HttpTimeouts()
    rows = [
        ("Application context", "1.2.840.10008.3.1.1.1"),
        ("Implementation class UID", PYNETDICOM_IMPLEMENTATION_UID),
        ("Implementation version name", PYNETDICOM_IMPLEMENTATION_VERSION),
        ("AE title, unless configured", listener.ae_title),
        ("TCP port, unless configured", listener.port),
        ("Associations accepted at once, unless configured", listener.associations),
        ("Associations requested at once", "one for each destination, query, retrieval or report"),
        ("Asynchronous operations", "not negotiated"),
        ("Maximum PDU length, announced", f"{MAXIMUM_PDU_BYTES} bytes; longer PDUs end the association"),
        ("Silence of a peer that ends an accepted association, unless configured", f"{listener.idle_s:g} s"),
        ("Time-out of connecting, TLS included", f"{timeouts.connect:g} s"),
        ("Time-out of A-ASSOCIATE and A-RELEASE", f"{timeouts.association:g} s"),
        ("Time-out of a DIMSE response, unless configured", f"{timeouts.answer:g} s"),
        ("Time-outs of HTTP, connecting and reading, unless configured", f"{http.connect:g} s, {http.read:g} s"),
    ]
    return table(("", ""), rows)


def storage_table() -> str:
    return table(("SOP class", "UID"), [(name_of(uid), uid) for uid in sorted(STORAGE_CLASSES, key=name_of)])


def objects(folder: Path) -> Iterator[tuple[str, Dataset, Dataset]]:
    """Of each kind of object that we write: what it is called, one of them, and a header of its source."""
    headers = classic_series("axial", (12, 10, 6), (0.9, 0.9, 1.2))
    for header in headers:
        for keyword, value in _SOURCE.items():
            setattr(header, keyword, value)
    source, mask = SourceImages.of_slices(headers), blobs((12, 10, 6), 2)
    voxels = np.full(mask.shape, 100, np.float32)
    measurements = measure(mask, SEGMENTS, 0.001, voxels, np.full(mask.shape, 128, np.uint8))
    qualities = judge_quality(mask, measurements, [])
    for seg_type, name in (("binary", "Segmentation"), ("labelmap", "Label Map Segmentation")):
        identity = identity_of(source, seg_type=seg_type)
        seg = write_seg(
            folder / f"{seg_type}.dcm", mask, SEGMENTS, source, identity, series_description="of the model",
            seg_type=seg_type,  # type: ignore[arg-type]
        )  # fmt: skip
        yield name, pydicom.dcmread(folder / f"{seg_type}.dcm"), headers[0]
        if seg_type == "binary":
            write_sr(
                folder / "sr.dcm", measurements, qualities, seg, source, identity, series_description="of the model"
            )
    yield "Comprehensive SR (Imaging Measurement Report, TID 1500)", pydicom.dcmread(folder / "sr.dcm"), headers[0]


def attribute_rows(data_set: Dataset, source: Dataset, depth: int = 0) -> Iterator[tuple[str, str, str, str]]:
    """Tag, name, VR and value of each attribute; of sequences the first item, each level with one more `>`."""
    for element in data_set:
        if element.tag.is_private or not dictionary_has_tag(element.tag):
            continue
        keyword, mark = keyword_for_tag(element.tag), ">" * depth
        row = (f"{mark}({element.tag.group:04X},{element.tag.element:04X})", f"{mark}{element.name}", str(element.VR))
        if element.VR == "SQ":
            if keyword in _UNEXPLAINED:
                yield *row, "by the template"
                continue
            yield (
                *row,
                f"{'one item' if len(element.value) == 1 else 'items'}; of the first:" if element.value else "empty",
            )
            if element.value:
                yield from attribute_rows(element.value[0], source, depth + 1)
        else:
            yield *row, value_of(element, source, depth)


def value_of(element: pydicom.DataElement, source: Dataset, depth: int) -> str:
    """Where a value is from, or the value itself where it is always the same."""
    keyword = keyword_for_tag(element.tag)
    if depth == 0 and element.tag in source and source[element.tag].value == element.value:
        return "the source's"
    if element.VR == "UI" and keyword not in _CHANGING:
        uid = str(element.value)
        if uid in UID_dictionary or uid in STORAGE_CLASSES:
            return f"{name_of(uid)} ({uid})"
        return "as the case is" if depth else "derived"
    if element.VR in ("OB", "OW"):
        return "the mask" if keyword == "PixelData" else "bytes"
    if element.VR in ("DA", "TM", "DT"):
        return "from the source's" if element.value else "empty"
    if keyword in _CHANGING or element.VR in ("DS", "FD", "FL", "US", "UL", "IS", "AT") or depth:
        return "as the case is" if element.VR not in ("CS",) else f"`{element.value}`"
    if element.is_empty:
        return "empty"
    value = "\\".join(element.value) if isinstance(element.value, MultiValue) else str(element.value)
    return f"`{value}`" if len(value) <= _LONGEST_VALUE and element.VR in ("CS", "LO", "SH") else "text"


def statement() -> str:
    """The whole page."""
    with tempfile.TemporaryDirectory() as folder:
        contents = "\n\n".join(
            f"### {name}\n\n{table(('Tag', 'Attribute', 'VR', 'Value'), attribute_rows(data_set, source))}"
            for name, data_set, source in objects(Path(folder))
        )
    template = Path(__file__).with_name("conformance_statement.md").read_text(encoding="utf-8")
    tables = {
        "services": service_table(), "web": web_table(), "storage": storage_table(), "statuses": status_table(),
        "syntaxes": transfer_syntax_table(), "associations": association_table(), "contents": contents,
    }  # fmt: skip
    for name, text in tables.items():
        template = template.replace(f"{{{{{name}}}}}", text)
    return template


if __name__ == "__main__":
    STATEMENT.write_text(statement(), encoding="utf-8")
    print(f"written: {STATEMENT.relative_to(ROOT)}", file=sys.stderr)
