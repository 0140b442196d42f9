"""The answer to a Store transaction (PS3.18 10.5.3, I.2) as DICOM JSON or XML."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from xml.etree import ElementTree

from swinunet.gateway.contract import Answer, Reference

JSON, XML = "application/dicom+json", "application/dicom+xml"

CANNOT_UNDERSTAND, PROCESSING_FAILURE = 0xC000, 0x0110
CLASS_NOT_SUPPORTED, SYNTAX_NOT_SUPPORTED, WRONG_STUDY = 0x0122, 0xC122, 0xA900
_REASONS = {Answer.INVALID: 0xA900, Answer.OUT_OF_SPACE: 0xA700, Answer.FAILED: PROCESSING_FAILURE}
_OK, _SOME, _CONFLICT, _OUR_FAULT, _NO_ROOM = 200, 202, 409, 500, 507

# keyword: tag, VR, in the order of their tags
_ATTRIBUTES = {
    "ReferencedSOPClassUID": ("00081150", "UI"),
    "ReferencedSOPInstanceUID": ("00081155", "UI"),
    "RetrieveURL": ("00081190", "UR"),
    "FailureReason": ("00081197", "US"),
    "FailedSOPSequence": ("00081198", "SQ"),
    "ReferencedSOPSequence": ("00081199", "SQ"),
    "OtherFailuresSequence": ("0008119A", "SQ"),
}
_Value = str | int | list[dict[str, "_Value"]] | None
_Item = dict[str, "_Value"]


@dataclass
class StoreResponse:
    """What became of each part of a request."""

    stored: list[_Item] = field(default_factory=list)
    failed: list[_Item] = field(default_factory=list)
    others: list[_Item] = field(default_factory=list)  # parts without a UID of their own
    answers: set[Answer] = field(default_factory=set)

    def add(self, reference: Reference | None, answer: Answer, reason: int | None = None) -> None:
        """Note one part. reason: Failure Reason in place of the one that follows from the answer."""
        self.answers.add(answer)
        reason = _REASONS.get(answer, PROCESSING_FAILURE) if reason is None else reason
        if reference is None:
            self.others.append({"FailureReason": reason})
            return
        item: _Item = {
            "ReferencedSOPClassUID": reference.sop_class_uid,
            "ReferencedSOPInstanceUID": reference.sop_instance_uid,
        }
        if answer.is_success:
            self.stored.append({**item, "RetrieveURL": None})
        else:
            self.failed.append({**item, "FailureReason": reason})

    @property
    def status(self) -> int:
        """200 all stored, 202 some, else why not: 507 no room, 500 a fault of ours, 409 the instances'."""
        if self.stored:
            return _SOME if self.failed or self.others else _OK
        for answer, status in ((Answer.OUT_OF_SPACE, _NO_ROOM), (Answer.FAILED, _OUR_FAULT)):
            if answer in self.answers:
                return status
        return _CONFLICT

    def body(self, media_type: str) -> bytes:
        """The Store Instances Response Module; media_type: `JSON` or `XML`."""
        item: _Item = {"RetrieveURL": None}
        for keyword, items in (
            ("FailedSOPSequence", self.failed),
            ("ReferencedSOPSequence", self.stored),
            ("OtherFailuresSequence", self.others),
        ):
            if items:
                item[keyword] = list(items)
        if media_type == JSON:
            return json.dumps(_json(item)).encode()
        root = ElementTree.Element("NativeDicomModel", {"xml:space": "preserve"})
        _add_xml(root, item)
        return bytes(ElementTree.tostring(root, "utf-8", xml_declaration=True))


def _json(item: _Item) -> dict[str, object]:
    """DICOM JSON (PS3.18 F.2)."""
    found: dict[str, object] = {}
    for keyword, value in item.items():
        tag, vr = _ATTRIBUTES[keyword]
        if value is None:
            found[tag] = {"vr": vr}
        else:
            found[tag] = {"vr": vr, "Value": [_json(each) for each in value] if isinstance(value, list) else [value]}
    return found


def _add_xml(parent: ElementTree.Element, item: _Item) -> None:
    """The Native DICOM Model (PS3.19 A.1)."""
    for keyword, value in item.items():
        tag, vr = _ATTRIBUTES[keyword]
        attribute = ElementTree.SubElement(parent, "DicomAttribute", {"tag": tag, "vr": vr, "keyword": keyword})
        if isinstance(value, list):
            for number, each in enumerate(value, start=1):
                _add_xml(ElementTree.SubElement(attribute, "Item", {"number": str(number)}), each)
        elif value is not None:
            ElementTree.SubElement(attribute, "Value", {"number": "1"}).text = str(value)
