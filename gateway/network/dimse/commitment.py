"""Storage commitment (PS3.4 J): asking a peer whether it holds instances, and telling one what we hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import build_role
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]

from swinunet.foundation.errors import PeerError
from swinunet.gateway.contract import CommitmentReport, Reference, SendOutcome
from swinunet.gateway.network.dimse.association import (
    DimseAddress,
    DimseTimeouts,
    GuardedAssociation,
    close_association,
    open_association,
)
from swinunet.gateway.network.dimse.contexts import commitment_context

PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"  # the well-known instance (PS3.4 J.3.5)
_REQUEST_ACTION, _ALL_COMMITTED, _SOME_FAILED = 1, 1, 2
_MAX_REFERENCES = 100_000


def request_commitment(
    address: DimseAddress,
    calling_ae: str,
    timeouts: DimseTimeouts,
    transaction_uid: str,
    references: Sequence[Reference],
) -> SendOutcome:
    """Ask a peer, by N-ACTION, to commit to instances; its report comes later, to our listener."""
    information = Dataset()
    information.TransactionUID = transaction_uid
    information.ReferencedSOPSequence = DicomSequence(_item(reference) for reference in references)

    def ask(association: GuardedAssociation) -> int | None:
        status, _ = association.send_n_action(
            information, _REQUEST_ACTION, StorageCommitmentPushModel, PUSH_MODEL_INSTANCE
        )
        return status.get("Status")

    return _with_association(address, calling_ae, timeouts, ask, roles=[])


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
) -> SendOutcome:
    """What came of one message that is sent on an association of its own."""
    try:
        association = open_association(address, calling_ae, [commitment_context()], timeouts, roles=roles)
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
