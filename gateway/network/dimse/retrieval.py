"""C-MOVE and C-GET as SCU (PS3.4 C): a study from a peer, to our listener or on the same association."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.presentation import PresentationContext, build_context, build_role
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from swinunet.foundation.errors import PeerError
from swinunet.gateway.contract import Answer, Intake, Sender
from swinunet.gateway.network.dimse.association import (
    DimseAddress,
    DimseTimeouts,
    GuardedAssociation,
    close_association,
    open_association,
)
from swinunet.gateway.network.dimse.contexts import RECEIVED_TRANSFER_SYNTAXES, STORAGE_CLASSES, UNCOMPRESSED
from swinunet.gateway.network.dimse.receiving import receive
from swinunet.gateway.network.fetched import FetchedStudy

_MOVE_DESTINATION_UNKNOWN = 0xA801
_UNABLE_TO_PROCESS = range(0xC000, 0xD000)  # what Orthanc says of a destination that it does not know
_PENDING = (0xFF00, 0xFF01)
_SUCCESS, _SOME_FAILED = 0x0000, 0xB000
FETCHED_CLASSES: tuple[UID, ...] = tuple(uid for uid in STORAGE_CLASSES if "Image Storage" in uid.name)[:120]
"""SOP classes that C-GET takes: images, as many as one association's contexts hold."""


class MoveDestinationUnknownError(PeerError):
    """The peer does not know the AE title that a C-MOVE is to send to, or cannot send there."""


def fetch_by_move(
    address: DimseAddress, calling_ae: str, timeouts: DimseTimeouts, study_uid: str, destination_ae: str
) -> FetchedStudy:
    """Ask the peer to send a study to `destination_ae`, our listener, which must be running.

    Raises PeerError where it refuses, and MoveDestinationUnknownError where it does not know us.
    """
    context = build_context(StudyRootQueryRetrieveInformationModelMove, list(UNCOMPRESSED))
    association = open_association(address, calling_ae, [context], timeouts)
    try:
        answers = association.send_c_move(_study(study_uid), destination_ae, context.abstract_syntax or "")
        return _result(address, association, answers)
    except (RuntimeError, ValueError) as error:
        raise PeerError(f"{address}: a study could not be asked for ({type(error).__name__})") from None
    finally:
        close_association(association)


def fetch_by_get(
    address: DimseAddress,
    calling_ae: str,
    timeouts: DimseTimeouts,
    study_uid: str,
    peer: str,
    intake: Intake,
    incoming: Path,
) -> FetchedStudy:
    """Take a study on the association that asks for it. peer: its name, for the ledger. Raises PeerError."""
    sender = Sender("pull", peer, address.host, uuid.uuid4().hex)
    answers: list[Answer] = []

    def store(event: evt.Event) -> int:
        answers.append(receive(event, sender, intake, incoming))
        return answers[-1].dimse

    contexts = _get_contexts()
    roles = [build_role(uid, scp_role=True) for uid in FETCHED_CLASSES]
    try:
        association = open_association(
            address, calling_ae, contexts, timeouts, roles=roles, handlers=[(evt.EVT_C_STORE, store)]
        )
        try:
            _result(address, association, association.send_c_get(_study(study_uid), contexts[0].abstract_syntax or ""))
        except (RuntimeError, ValueError) as error:
            raise PeerError(f"{address}: a study could not be asked for ({type(error).__name__})") from None
        finally:
            close_association(association)
    finally:
        intake.association_ended(sender)
    return FetchedStudy.of(answers)


def _get_contexts() -> list[PresentationContext]:
    """Retrieval first; each image class once, in the transfer syntaxes that we receive."""
    contexts = [build_context(StudyRootQueryRetrieveInformationModelGet, list(UNCOMPRESSED))]
    return contexts + [build_context(uid, list(RECEIVED_TRANSFER_SYNTAXES)) for uid in FETCHED_CLASSES]


def _study(study_uid: str) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", study_uid
    return query


def _result(
    address: DimseAddress, association: GuardedAssociation, answers: Iterator[tuple[Dataset, Dataset | None]]
) -> FetchedStudy:
    """The numbers of the last answer (PS3.7 9.1.3, 9.1.4)."""
    status = Dataset()
    for status, _ in answers:
        if status.get("Status") is None:
            break
    code = status.get("Status")
    if code is None:
        raise PeerError(f"{address}: no whole answer to a request for a study within {association.dimse_timeout:g} s")
    if code == _MOVE_DESTINATION_UNKNOWN or code in _UNABLE_TO_PROCESS:
        raise MoveDestinationUnknownError(f"{address}: it cannot send the study to our AE title (status 0x{code:04X})")
    if code not in (_SUCCESS, _SOME_FAILED):
        raise PeerError(f"{address}: the request for a study was refused with status 0x{code:04X}")
    taken = (status.get("NumberOfCompletedSuboperations") or 0) + (status.get("NumberOfWarningSuboperations") or 0)
    return FetchedStudy(taken, status.get("NumberOfFailedSuboperations") or 0)
