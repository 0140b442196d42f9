"""STOW-RS as a client (PS3.18 10.5): one file a request, streamed from the disk."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from swinunet.foundation.errors import PeerError
from swinunet.gateway.contract import SendOutcome
from swinunet.gateway.network import outcomes
from swinunet.gateway.network.part10 import uids_of_file
from swinunet.gateway.network.web.http_client import HttpTimeouts, WebAddress, answered

_FAILED_SEQUENCE, _FAILURE_REASON = "00081198", "00081197"
_CLASS_NOT_SUPPORTED, _SYNTAX_NOT_SUPPORTED = 0x0122, 0xC122  # PS3.18 I.2
_MAX_ANSWER_BYTES = 1 << 20
_FOR_GOOD = (400, 413, 422)  # bad request, content too large, unprocessable


class _Body:
    """A multipart/related body of one file, read in pieces; `len` is its length, as requests asks for it."""

    def __init__(self, file: BinaryIO, boundary: str) -> None:
        self._head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._file = file
        self.len = len(self._head) + os.fstat(file.fileno()).st_size + len(self._tail)

    def read(self, size: int = -1) -> bytes:
        """The next piece, at most `size` bytes; the head and the tail come whole."""
        if self._head:
            head, self._head = self._head, b""
            return head
        piece = self._file.read(size)
        if not piece:
            piece, self._tail = self._tail, b""
        return piece


def send_by_stow(address: WebAddress, timeouts: HttpTimeouts, files: Sequence[Path]) -> list[SendOutcome]:
    """What became of each file, in the order of `files`."""
    return [_send(address, timeouts, file) for file in files]


def _send(address: WebAddress, timeouts: HttpTimeouts, file: Path) -> SendOutcome:
    _, instance_uid, _ = uids_of_file(file)
    if not instance_uid:
        return outcomes.refused("a file that is to be sent is no readable DICOM file")
    boundary = uuid.uuid4().hex
    headers = {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        "Accept": "application/dicom+json",
    }
    try:
        with (
            file.open("rb") as opened,
            answered(address, timeouts, "POST", "/studies", headers=headers, data=_Body(opened, boundary)) as answer,
        ):
            return _outcome(str(address), answer.status_code, answer.raw.read(_MAX_ANSWER_BYTES, decode_content=True))
    except PeerError as error:
        return outcomes.unanswered(str(error))
    except OSError as error:
        return outcomes.unanswered(f"a file that is to be sent cannot be read ({error.strerror})")
    except Exception as error:  # urllib3's own, while the answer is read
        return outcomes.unanswered(f"{address}: the answer broke off ({type(error).__name__})")


def _outcome(peer: str, status: int, body: bytes) -> SendOutcome:
    """What the answer says of the one instance (PS3.18 10.5.3)."""
    reason = _failure_reason(body)
    if reason in (_CLASS_NOT_SUPPORTED, _SYNTAX_NOT_SUPPORTED) or status == 415:
        return outcomes.class_refused(f"{peer}: does not take objects of this kind (HTTP {status})", reason or status)
    if status in (200, 202) and reason is None:
        return outcomes.stored(peer, 0)
    if reason is not None:
        return outcomes.stored(peer, reason)
    words = f"{peer}: refused with HTTP status {status}"
    if status in (401, 403):
        words += "; check the token or password"
    return outcomes.refused(words, status) if status in _FOR_GOOD else outcomes.unanswered(words, status)


def _failure_reason(body: bytes) -> int | None:
    """Failure Reason of the failed instance; None if none failed, or the answer does not say."""
    with suppress(ValueError, KeyError, IndexError, TypeError, AttributeError):
        found = json.loads(body)
        item = found[0] if isinstance(found, list) else found
        return int(item[_FAILED_SEQUENCE]["Value"][0][_FAILURE_REASON]["Value"][0])
    return None
