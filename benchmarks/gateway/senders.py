"""What sends instances to a program that receives: dcmtk's dcmsend, and STOW-RS over plain connections.

The same for all programs, so that their rows can be compared. Each group of files goes on an association, or a
connection, of its own, all at once.
"""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from swinunet.foundation.errors import PeerError
from swinunet.gateway.network.dimse.association import DimseAddress, DimseTimeouts
from swinunet.gateway.network.dimse.sender import send_by_dimse
from swinunet.samples.closed_network import LOOPBACK

_CALLING_AE = "BENCHMARK"
_IN_A_REQUEST = 10  # instances
_TIMEOUT_S = 900.0
_BOUNDARY = "swinunet-benchmark"

Groups = Sequence[Sequence[Path]]


@dataclass(frozen=True)
class DicomTarget:
    """A storage SCP. prefix: of a command that reaches its `port` on loopback; empty if any does."""

    ae_title: str
    port: int
    prefix: tuple[str, ...] = ()


@dataclass(frozen=True)
class StowTarget:
    """A STOW-RS server. path: of its studies. connect: a connection to it."""

    path: str
    connect: Callable[[], socket.socket]


def divided(files: Sequence[Path], into: int) -> Groups:
    """Files in so many groups, neighbours together."""
    size = -(-len(files) // into)
    return [files[start : start + size] for start in range(0, len(files), size)]


def sender_name() -> str:
    """What sends by C-STORE here."""
    return "dcmtk's dcmsend" if shutil.which("dcmsend") else "pynetdicom in this process"


def send_by_c_store(target: DicomTarget, groups: Groups) -> None:
    """Send each group on an association. Raises PeerError if an instance is not taken, or no sender is installed."""
    if shutil.which("dcmsend"):
        _all_at_once(groups, lambda files: _dcmsend(target, files))
    elif target.prefix:
        raise PeerError("needs dcmtk's dcmsend to send to it (make debian)")
    else:
        _all_at_once(groups, lambda files: _send_from_here(target, files))


def send_by_stow(target: StowTarget, groups: Groups) -> None:
    """Send each group on a connection, ten instances a request. Raises PeerError if a request is not taken."""
    _all_at_once(groups, lambda files: _stow(target, files))


def _all_at_once(groups: Groups, send: Callable[[Sequence[Path]], None]) -> None:
    with ThreadPoolExecutor(len(groups)) as pool:
        for sending in [pool.submit(send, files) for files in groups]:
            sending.result()


def _dcmsend(target: DicomTarget, files: Sequence[Path]) -> None:
    command = [
        *target.prefix, "dcmsend", "--quiet", "-aet", _CALLING_AE, "-aec", target.ae_title, LOOPBACK, str(target.port),
        *map(str, files),
    ]  # fmt: skip
    done = subprocess.run(
        command, env={**os.environ, "TCP_NODELAY": "1"}, stdin=subprocess.DEVNULL, capture_output=True, check=False,
        timeout=_TIMEOUT_S,
    )  # fmt: skip
    if done.returncode:
        raise PeerError(f"dcmsend ended with status {done.returncode}: some instances were not taken")


def _send_from_here(target: DicomTarget, files: Sequence[Path]) -> None:
    address = DimseAddress(target.ae_title, LOOPBACK, target.port)
    for outcome in send_by_dimse(address, _CALLING_AE, DimseTimeouts(), files):
        if not outcome.accepted:
            raise PeerError(f"an instance was not taken: {outcome.words}")


def _stow(target: StowTarget, files: Sequence[Path]) -> None:
    connection = http.client.HTTPConnection(LOOPBACK, timeout=_TIMEOUT_S)
    kind = f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}'
    try:
        connection.sock = target.connect()
        for start in range(0, len(files), _IN_A_REQUEST):
            body = _multipart(files[start : start + _IN_A_REQUEST])
            connection.request("POST", target.path, body, {"Content-Type": kind, "Accept": "application/dicom+json"})
            answer = connection.getresponse()
            answer.read()
            if answer.status != http.client.OK:
                raise PeerError(f"a STOW-RS request was answered with {answer.status}")
    except (OSError, http.client.HTTPException) as error:
        raise PeerError(f"a STOW-RS request was not answered ({type(error).__name__})") from None
    finally:
        connection.close()


def _multipart(files: Sequence[Path]) -> bytes:
    """The body of a request (PS3.18 8.6.1.2)."""
    head = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return b"".join(head + file.read_bytes() + b"\r\n" for file in files) + f"--{_BOUNDARY}--\r\n".encode()
