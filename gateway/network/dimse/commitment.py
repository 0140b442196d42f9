"""Storage commitment (PS3.4 J): asking a peer whether it holds instances, and telling one what we hold."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Sequence

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pynetdicom import evt
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import build_role
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]

from swinunet.foundation.errors import PeerError
from swinunet.gateway.contract import CommitmentReport, Reference, Sender, SendOutcome
from swinunet.gateway.network.dimse.association import (
    DimseAddress,
    DimseTimeouts,
    GuardedAssociation,
    close_association,
    open_association,
)
from swinunet.gateway.network.dimse.contexts import commitment_context

PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"  # the well-known instance (PS3.4 J.3.5)
SUCCESS, PROCESSING_FAILURE, INVALID_ARGUMENT = 0x0000, 0x0110, 0x0115  # PS3.7 C
_REQUEST_ACTION, _ALL_COMMITTED, _SOME_FAILED = 1, 1, 2
_MAX_REFERENCES = 100_000
_REPORT_WAIT_S = 0.5  # for a report on the association of the request, before it is released


def request_commitment(
    address: DimseAddress,
    calling_ae: str,
    timeouts: DimseTimeouts,
    transaction_uid: str,
    references: Sequence[Reference],
    reported: Callable[[CommitmentReport, Sender], bool] | None = None,
) -> SendOutcome:
    """Ask a peer, by N-ACTION, to commit to instances; its report comes later, to our listener.

    reported: for a peer that reports on the same association, as some do (PS3.4 J.3.3); half a second is waited for it.
    """
    information = Dataset()
    information.TransactionUID = transaction_uid
    information.ReferencedSOPSequence = DicomSequence(_item(reference) for reference in references)

    def ask(association: GuardedAssociation) -> int | None:
        status, _ = association.send_n_action(
            information, _REQUEST_ACTION, StorageCommitmentPushModel, PUSH_MODEL_INSTANCE
        )
        if status.get("Status") == SUCCESS:
            came.wait(_REPORT_WAIT_S)
        return status.get("Status")

    came = threading.Event()

    def take(event: evt.Event) -> tuple[int, Dataset | None]:
        sender = Sender("dimse", address.called_ae, address.host, uuid.uuid4().hex)
        answer = answer_to_report(event, sender, reported)
        came.set()
        return answer

    return _with_association(address, calling_ae, timeouts, ask, roles=[], handlers=[(evt.EVT_N_EVENT_REPORT, take)])


def report_commitment(
    address: DimseAddress, calling_ae: str, timeouts: DimseTimeouts, report: CommitmentReport
) -> SendOutcome:
    """Tell a peer, by N-EVENT-REPORT on an association of ours, what of its request we hold."""

    def tell(association: GuardedAssociation) -> int | None:
        return send_report(association, report)

    role = build_role(StorageCommitmentPushModel, scp_role=True)
    return _with_association(address, calling_ae, timeouts, tell, roles=[role])


def send_report(association: GuardedAssociation, report: CommitmentReport) -> int | None:
    """Send the report on an open association; the status of the answer, None without one."""
    information = Dataset()
    information.TransactionUID = report.transaction_uid
    information.ReferencedSOPSequence = DicomSequence(_item(reference) for reference in report.committed)
    failed = []
    for reference, reason in report.failed.items():
        item = _item(reference)
        item.FailureReason = reason
        failed.append(item)
    if failed:
        information.FailedSOPSequence = DicomSequence(failed)
    event = _SOME_FAILED if failed else _ALL_COMMITTED
    status, _ = association.send_n_event_report(information, event, StorageCommitmentPushModel, PUSH_MODEL_INSTANCE)
    return status.get("Status")


def answer_to_report(
    event: evt.Event, sender: Sender, reported: Callable[[CommitmentReport, Sender], bool] | None
) -> tuple[int, Dataset | None]:
    """Hand an N-EVENT-REPORT on, and the status of our answer; never raises."""
    try:
        report = report_of(event.event_information)
    except Exception:  # pydicom raises whatever the bytes provoke
        return INVALID_ARGUMENT, None
    return (SUCCESS if reported is not None and reported(report, sender) else PROCESSING_FAILURE), None


def references_of(information: Dataset) -> tuple[str, list[Reference]]:
    """Transaction UID and references of a request. Raises whatever pydicom raises, and ValueError."""
    return _required(information, "TransactionUID"), _references(information.ReferencedSOPSequence)


def report_of(information: Dataset) -> CommitmentReport:
    """What a peer reports. Raises whatever pydicom raises, and ValueError."""
    failed = information.get("FailedSOPSequence") or ()
    return CommitmentReport(
        _required(information, "TransactionUID"),
        tuple(_references(information.get("ReferencedSOPSequence") or ())),
        {reference: int(item.FailureReason) for reference, item in zip(_references(failed), failed, strict=True)},
    )


def _item(reference: Reference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class_uid
    item.ReferencedSOPInstanceUID = reference.sop_instance_uid
    return item


def _references(items: Iterable[Dataset]) -> list[Reference]:
    found = [
        Reference(_required(item, "ReferencedSOPClassUID"), _required(item, "ReferencedSOPInstanceUID"))
        for item in items
    ]
    if len(found) > _MAX_REFERENCES:
        raise ValueError(f"{len(found)} references; at most {_MAX_REFERENCES} are taken at once")
    return found


def _required(item: Dataset, keyword: str) -> str:
    value = item.get(keyword)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{keyword} is missing")
    return str(value)


def _with_association(
    address: DimseAddress,
    calling_ae: str,
    timeouts: DimseTimeouts,
    send: Callable[[GuardedAssociation], int | None],
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation],
    handlers: Sequence[evt.EventHandlerType] = (),
) -> SendOutcome:
    """What came of one message that is sent on an association of its own."""
    try:
        association = open_association(
            address, calling_ae, [commitment_context()], timeouts, roles=roles, handlers=handlers
        )
    except PeerError as error:
        return SendOutcome(accepted=False, retry=True, sop_class_refused=False, status=None, words=str(error))
    try:
        status = send(association)
    except (RuntimeError, ValueError):  # the association has ended, or the peer does not take this role
        status = None
    finally:
        close_association(association)
    if status is None:
        words = f"{address}: no answer on storage commitment"
    else:
        words = f"{address}: storage commitment {'accepted' if status == 0 else 'refused'} (status 0x{status:04X})"
    return SendOutcome(accepted=status == 0, retry=status != 0, sop_class_refused=False, status=status, words=words)
