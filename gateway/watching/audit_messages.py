"""Audit messages as DICOM PS3.15 A.5 writes them, of events in the ledger.

A message names nodes, SOP classes, studies by UID and outcomes. The patient object that A.5.3 wants of some messages
stands without identifier or name ("withheld"): the trail leaves the machine, and patient data does not.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

SUCCESS, MINOR_FAILURE = "0", "4"  # EventOutcomeIndicator, PS3.15 A.5.2.1
WITHHELD = "withheld"


@dataclass(frozen=True)
class Code:
    """A code of the DCM scheme (PS3.16 CID 400 and 401)."""

    value: str
    meaning: str


APPLICATION_ACTIVITY = Code("110100", "Application Activity")
INSTANCES_ACCESSED = Code("110103", "DICOM Instances Accessed")
INSTANCES_TRANSFERRED = Code("110104", "DICOM Instances Transferred")
STUDY_DELETED = Code("110105", "DICOM Study Deleted")
QUERY = Code("110112", "Query")
APPLICATION_START = Code("110120", "Application Start")
APPLICATION_STOP = Code("110121", "Application Stop")
_APPLICATION = Code("110150", "Application")
_SOURCE = Code("110153", "Source Role ID")
_DESTINATION = Code("110152", "Destination Role ID")
_STUDY_UID = Code("110180", "Study Instance UID")


@dataclass(frozen=True)
class Kind:
    """How one event of the ledger is written. action: C, R, U, D or E (PS3.15 A.5.2.1).

    sends: whether the data goes from us to the other node.
    """

    event: Code
    action: str
    type: Code | None = None
    sends: bool = False


KINDS: dict[str, Kind] = {
    "gateway_started": Kind(APPLICATION_ACTIVITY, "E", APPLICATION_START),
    "gateway_stopped": Kind(APPLICATION_ACTIVITY, "E", APPLICATION_STOP),
    "instances_received": Kind(INSTANCES_TRANSFERRED, "C"),
    "instances_refused": Kind(INSTANCES_TRANSFERRED, "C"),
    "job_ended": Kind(INSTANCES_ACCESSED, "R"),
    "instances_sent": Kind(INSTANCES_TRANSFERRED, "C", sends=True),
    "fetch": Kind(QUERY, "E", sends=True),
    "study_forgotten": Kind(STUDY_DELETED, "D"),
}
"""Events of the ledger that PS3.15 A.5.3 has a message for; the others stay in the ledger alone."""


def audit_message(event: str, at: float, success: bool, details: Mapping[str, Any], title: str) -> str | None:
    """One event as XML on one line; None where PS3.15 has no message for it.

    at: seconds since 1970. details: as the ledger has them. title: our AE title, the audit source.
    """
    kind = KINDS.get(event)
    if kind is None:
        return None
    root = ElementTree.Element("AuditMessage")
    identification = ElementTree.SubElement(
        root,
        "EventIdentification",
        EventActionCode=kind.action,
        EventDateTime=datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        EventOutcomeIndicator=SUCCESS if success else MINOR_FAILURE,
    )
    _coded(identification, "EventID", kind.event)
    if kind.type is not None:
        _coded(identification, "EventTypeCode", kind.type)
    if reason := details.get("reason"):
        ElementTree.SubElement(identification, "EventOutcomeDescription").text = _plain(str(reason))
    _participants(root, kind, details, title)
    ElementTree.SubElement(root, "AuditSourceIdentification", AuditSourceID=_plain(title)).append(
        ElementTree.Element("AuditSourceTypeCode", {"csd-code": "4"})  # application server process
    )
    _objects(root, kind, details)
    return ElementTree.tostring(root, encoding="unicode")


def _participants(root: ElementTree.Element, kind: Kind, details: Mapping[str, Any], title: str) -> None:
    """Us, and the other node where there is one."""
    ours, theirs = (_SOURCE, _DESTINATION) if kind.sends else (_DESTINATION, _SOURCE)
    application = kind.event is APPLICATION_ACTIVITY
    other = details.get("sender") or details.get("destination") or details.get("peer")
    us = _participant(root, title, requestor=not other or kind.sends, address=socket.gethostname())
    us.set("AlternativeUserID", str(os.getpid()))
    _coded(us, "RoleIDCode", _APPLICATION if application else ours)
    if other:
        them = _participant(root, str(other), requestor=not kind.sends, address=str(details.get("address") or ""))
        _coded(them, "RoleIDCode", theirs)


def _participant(root: ElementTree.Element, user: str, requestor: bool, address: str) -> ElementTree.Element:
    found = ElementTree.SubElement(
        root, "ActiveParticipant", UserID=_plain(user), UserIsRequestor="true" if requestor else "false"
    )
    if address:
        found.set("NetworkAccessPointID", _plain(address))
        found.set("NetworkAccessPointTypeCode", "2" if address[0].isdigit() or ":" in address else "1")
    return found


def _objects(root: ElementTree.Element, kind: Kind, details: Mapping[str, Any]) -> None:
    """The study with its number of instances, and the patient, who is not named."""
    study = details.get("study")
    if not study:
        return
    found = ElementTree.SubElement(
        root,
        "ParticipantObjectIdentification",
        ParticipantObjectID=_plain(str(study)),
        ParticipantObjectTypeCode="2",  # system object
        ParticipantObjectTypeCodeRole="3",  # report
    )
    _coded(found, "ParticipantObjectIDTypeCode", _STUDY_UID)
    ElementTree.SubElement(found, "ParticipantObjectName")
    if (instances := details.get("instances")) is not None:
        described = ElementTree.SubElement(found, "ParticipantObjectDescription")
        ElementTree.SubElement(described, "SOPClass", NumberOfInstances=str(instances))
    if kind.event is not QUERY:
        patient = ElementTree.SubElement(
            root,
            "ParticipantObjectIdentification",
            ParticipantObjectID=WITHHELD,
            ParticipantObjectTypeCode="1",  # person
            ParticipantObjectTypeCodeRole="1",  # patient
        )
        ElementTree.SubElement(
            patient,
            "ParticipantObjectIDTypeCode",
            {"csd-code": "2", "codeSystemName": "RFC-3881", "originalText": "Patient Number"},
        )
        ElementTree.SubElement(patient, "ParticipantObjectName")


def _coded(parent: ElementTree.Element, name: str, code: Code) -> None:
    ElementTree.SubElement(
        parent, name, {"csd-code": code.value, "codeSystemName": "DCM", "originalText": code.meaning}
    )


def _plain(text: str) -> str:
    """Without characters that XML does not allow."""
    return "".join(each if each.isprintable() else "?" for each in text)
