"""Audit messages: what PS3.15 A.5 wants of each, and nothing of the patient."""

from __future__ import annotations

from typing import get_args
from xml.etree import ElementTree

import pytest

from swinunet.gateway.ledger.audit import Event
from swinunet.gateway.watching.audit_messages import KINDS, audit_message

STUDY = "1.2.826.0.1.3680043.8.498.1"


def read(event: str, success: bool = True, **details: object) -> ElementTree.Element:
    message = audit_message(event, 1_764_441_000.25, success, details, "SWINUNET")
    assert message is not None
    assert "\n" not in message
    return ElementTree.fromstring(message)


def code(element: ElementTree.Element | None) -> tuple[str | None, str | None]:
    assert element is not None
    return element.get("csd-code"), element.get("codeSystemName")


@pytest.mark.parametrize(
    ("event", "id_code", "type_code", "action"),  # PS3.16 CID 400 and 401; PS3.15 A.5.3
    [
        ("gateway_started", "110100", "110120", "E"),
        ("gateway_stopped", "110100", "110121", "E"),
        ("instances_received", "110104", None, "C"),
        ("instances_refused", "110104", None, "C"),
        ("instances_sent", "110104", None, "C"),
        ("job_ended", "110103", None, "R"),
        ("study_forgotten", "110105", None, "D"),
        ("fetch", "110112", None, "E"),
    ],
)
def test_each_event_has_the_codes_of_the_standard(event: str, id_code: str, type_code: str | None, action: str) -> None:
    root = read(event, study=STUDY)
    identification = root.find("EventIdentification")
    assert identification is not None
    assert code(identification.find("EventID")) == (id_code, "DCM")
    found = identification.find("EventTypeCode")
    assert (None if found is None else found.get("csd-code")) == type_code
    assert identification.get("EventActionCode") == action
    assert identification.get("EventDateTime") == "2025-11-29T18:30:00.250Z"
    assert next(child.tag for child in root) == "EventIdentification"
    assert root.find("AuditSourceIdentification").get("AuditSourceID") == "SWINUNET"  # type: ignore[union-attr]


def test_every_event_of_the_ledger_is_a_message_or_left_out_on_purpose() -> None:
    assert set(KINDS) <= set(get_args(Event))
    assert set(get_args(Event)) - set(KINDS) == {"study_complete", "job_retried", "commitment_reported"}
    assert audit_message("study_complete", 0.0, True, {"study": STUDY}, "SWINUNET") is None


def test_who_sends_and_who_receives() -> None:
    received = read("instances_received", study=STUDY, instances=12, sender="MODALITY", address="10.1.2.3")
    us, them = received.findall("ActiveParticipant")
    assert (us.get("UserID"), code(us.find("RoleIDCode"))[0]) == ("SWINUNET", "110152")
    assert (them.get("UserID"), code(them.find("RoleIDCode"))[0]) == ("MODALITY", "110153")
    assert (them.get("UserIsRequestor"), us.get("UserIsRequestor")) == ("true", "false")
    assert (them.get("NetworkAccessPointID"), them.get("NetworkAccessPointTypeCode")) == ("10.1.2.3", "2")
    assert received.find(".//SOPClass").get("NumberOfInstances") == "12"  # type: ignore[union-attr]
    sent = read("instances_sent", study=STUDY, destination="PACS")
    us, them = sent.findall("ActiveParticipant")
    assert code(us.find("RoleIDCode"))[0] == "110153"
    assert (them.get("UserID"), code(them.find("RoleIDCode"))[0]) == ("PACS", "110152")


def test_a_failure_says_so_and_why() -> None:
    refused = read("instances_refused", success=False, study=STUDY, reason="the disk is full")
    identification = refused.find("EventIdentification")
    assert identification is not None
    assert identification.get("EventOutcomeIndicator") == "4"
    assert identification.findtext("EventOutcomeDescription") == "the disk is full"
    assert read("gateway_started").find("EventIdentification").get("EventOutcomeIndicator") == "0"  # type: ignore[union-attr]


def test_the_study_is_named_and_the_patient_is_not() -> None:
    objects = read("study_forgotten", study=STUDY).findall("ParticipantObjectIdentification")
    by_type = {each.get("ParticipantObjectTypeCode"): each for each in objects}
    assert by_type["2"].get("ParticipantObjectID") == STUDY
    assert code(by_type["2"].find("ParticipantObjectIDTypeCode")) == ("110180", "DCM")
    assert by_type["1"].get("ParticipantObjectID") == "withheld"
    assert by_type["1"].findtext("ParticipantObjectName") == ""


@pytest.mark.parametrize("foreign", ["A<B>&\"'", "line\nline", "\x00\x1b[31m", "\ud7ff\ufffe"])
def test_foreign_text_makes_no_broken_message(foreign: str) -> None:
    root = read("instances_received", study=STUDY, sender=foreign, reason=foreign)
    assert len(root.findall("ActiveParticipant")) == 2
