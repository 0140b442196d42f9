"""WADO-RS (PS3.18 10.4): a study from a web server, streamed to the spool."""

from __future__ import annotations

import uuid
from pathlib import Path

from swinunet.foundation.errors import PeerError
from swinunet.gateway.contract import Answer, Intake, ReceivedInstance, Sender
from swinunet.gateway.network.fetched import FetchedStudy
from swinunet.gateway.network.part10 import uids_of_file
from swinunet.gateway.network.web.http_client import HttpTimeouts, WebAddress, answered
from swinunet.gateway.network.web.multipart import ContentType, MultipartError, PartFiles

_ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_PIECE_BYTES = 1 << 16


def fetch_by_wado(
    address: WebAddress, timeouts: HttpTimeouts, study_uid: str, peer: str, intake: Intake, incoming: Path
) -> FetchedStudy:
    """Every instance of a study to the intake, each as soon as it is whole. peer: its name, for the ledger.

    Raises PeerError where the server has no such study, refuses, or breaks off; what came before that is taken.
    """
    sender = Sender("pull", peer, str(address), uuid.uuid4().hex)
    answers: list[Answer] = []

    def take(path: Path) -> None:
        sop_class, sop_instance, syntax = uids_of_file(path)
        parts.paths.remove(path)
        answers.append(intake.accept(ReceivedInstance(sop_class, sop_instance, syntax, path), sender))

    path = f"/studies/{study_uid}"
    try:
        with answered(address, timeouts, "GET", path, headers={"Accept": _ACCEPT}) as answer:
            if answer.status_code == 404:
                raise PeerError(f"{address}: it holds no such study")
            if answer.status_code != 200:
                raise PeerError(f"{address}: the study was refused with HTTP status {answer.status_code}")
            boundary = ContentType.parse(answer.headers.get("Content-Type", "")).boundary()
            with PartFiles(incoming, boundary, when_part_ends=take) as parts:
                for piece in answer.iter_content(_PIECE_BYTES):
                    parts.write(piece)
                parts.finish()
    except MultipartError as error:
        raise PeerError(f"{address}: after {len(answers)} instances: {error}") from None
    except OSError as error:
        raise PeerError(f"an instance could not be written ({error.strerror})") from None
    finally:
        intake.association_ended(sender)
    return FetchedStudy.of(answers)
