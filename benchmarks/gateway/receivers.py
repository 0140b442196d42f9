"""The programs that receive, each started anew, on loopback, with an empty folder."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from swinunet.benchmarks.gateway.senders import DicomTarget, StowTarget
from swinunet.samples.closed_network import LOOPBACK, ClosedServer, free_port
from swinunet.samples.dicom_nodes import DICOM_PORT, HTTP_PORT, Orthanc, running_orthanc, running_storescp
from swinunet.samples.gateway_process import running_gateway

PROGRAMS = {"gateway": "swinunet gateway", "storescp": "dcmtk storescp", "orthanc": "Orthanc"}
PROTOCOLS = {"c-store": "C-STORE", "stow": "STOW-RS"}
WAYS = (
    ("gateway", "c-store"), ("storescp", "c-store"), ("orthanc", "c-store"), ("gateway", "stow"), ("orthanc", "stow"),
)  # fmt: skip

_RECEIVES_ONLY = """\
spool = "spool"

[listener]
port = {dicom}

[web]
port = {web}

[disk]
least_free_gb = 0
most_used_percent = 100

[models]
url = "127.0.0.1:{nobody}"

[[peers]]
name = "results"
kind = "folder"
folder = "results"

[[routes]]
name = "all"
destinations = ["results"]

[routes.complete]
study_silence_s = 36000
series_silence_s = 36000
longest_wait_s = 36000
"""


@dataclass(frozen=True)
class Receiver:
    """A program that receives. pid: of the process under which all of its others are. held: how many it has stored."""

    pid: int
    dicom: DicomTarget
    stow: StowTarget | None
    held: Callable[[], int]


@contextmanager
def running_receiver(program: str, folder: Path) -> Iterator[Receiver]:
    """A program of PROGRAMS, until the end of the block. Raises ServerError that says what is not installed."""
    with {"gateway": _gateway, "storescp": _storescp, "orthanc": _orthanc}[program](folder) as receiver:
        yield receiver


@contextmanager
def _gateway(folder: Path) -> Iterator[Receiver]:
    """It waits for more of each study, for hours: nothing is segmented."""
    dicom, web, nobody = free_port(), free_port(), free_port()
    configuration = _RECEIVES_ONLY.format(dicom=dicom, web=web, nobody=nobody)
    with running_gateway(configuration, folder, dicom) as gateway:
        gateway.wait_for(web)
        stored = folder / "spool" / "instances"
        yield Receiver(
            gateway.process.pid,
            DicomTarget("SWINUNET", dicom),
            StowTarget("/dicom-web/studies", lambda: socket.create_connection((LOOPBACK, web))),
            lambda: sum(path.is_file() for path in stored.rglob("*")),
        )


@contextmanager
def _storescp(folder: Path) -> Iterator[Receiver]:
    with running_storescp(folder, "--fork") as node:
        yield Receiver(
            node.server.process.pid, _inside(node.server, "ANY-SCP"), None, lambda: len(list(node.stored.iterdir()))
        )


@contextmanager
def _orthanc(folder: Path) -> Iterator[Receiver]:
    with running_orthanc(folder) as node:
        yield Receiver(
            node.server.process.pid,
            _inside(node.server, Orthanc.ae_title),
            StowTarget("/dicom-web/studies", lambda: node.server.connect(HTTP_PORT)),
            lambda: int(node.rest("GET", "statistics")["CountInstances"]),
        )


def _inside(server: ClosedServer, ae_title: str) -> DicomTarget:
    return DicomTarget(ae_title, DICOM_PORT, tuple(server.inside([])))
