"""The PACS of the demo: Orthanc where it is installed, else dcmtk's storescp, else a storage SCP of pynetdicom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.uid import UID
from pynetdicom import AE, StoragePresentationContexts, evt

from swinunet.samples.closed_network import LOOPBACK
from swinunet.samples.dicom_nodes import running_orthanc, running_storescp, why_no_orthanc, why_no_storescp


@dataclass(frozen=True)
class DemoPacs:
    """A PACS that runs. held: the SOP classes of what it has. commits: whether storage commitment is asked of it."""

    title: str
    ae_title: str
    port: int
    held: Callable[[], list[str]]
    commits: bool = False


@contextmanager
def running_pacs(folder: Path, gateway_ae: str, gateway_port: int) -> Iterator[DemoPacs]:
    """The best PACS that this machine has, on loopback, until the end of the block."""
    folder.mkdir()
    if why_no_orthanc() is None:
        made = _orthanc(folder, gateway_ae, gateway_port)
    else:
        made = _storescp(folder) if why_no_storescp() is None else _pynetdicom()
    with made as pacs:
        yield pacs


@contextmanager
def _orthanc(folder: Path, gateway_ae: str, gateway_port: int) -> Iterator[DemoPacs]:
    with running_orthanc(folder) as orthanc:
        orthanc.know_modality("gateway", gateway_ae, gateway_port)  # to which it reports what it keeps

        def held() -> list[str]:
            return [
                orthanc.rest("GET", f"instances/{instance}/tags?simplify")["SOPClassUID"]
                for instance in orthanc.rest("GET", "instances")
            ]

        yield DemoPacs("Orthanc", orthanc.ae_title, orthanc.dicom.port, held, commits=True)


@contextmanager
def _storescp(folder: Path) -> Iterator[DemoPacs]:
    with running_storescp(folder, "--promiscuous") as node:

        def held() -> list[str]:
            return [dcmread(file, stop_before_pixels=True).SOPClassUID for file in node.stored.iterdir()]

        yield DemoPacs("dcmtk's storescp", "STORESCP", node.dicom.port, held)


@contextmanager
def _pynetdicom() -> Iterator[DemoPacs]:
    received: dict[UID, UID] = {}

    def store(event: Any) -> int:
        received[event.request.AffectedSOPInstanceUID] = event.request.AffectedSOPClassUID
        return 0x0000

    ae = AE("PACS")
    ae.supported_contexts = StoragePresentationContexts
    server = ae.start_server((LOOPBACK, 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    assert server is not None
    try:
        yield DemoPacs("a storage SCP of pynetdicom", "PACS", server.server_address[1], lambda: [*received.values()])
    finally:
        server.shutdown()
