"""Real DICOM nodes kept on loopback: Orthanc and dcmtk's storescp (Debian: orthanc, orthanc-dicomweb, dcmtk)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from swinunet.foundation.errors import ServerError
from swinunet.samples.closed_network import LOOPBACK, ClosedServer, Relay, why_no_closed_network

_DICOMWEB_PLUGINS = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
DICOM_PORT, HTTP_PORT = 4242, 8042  # of both, in the server's own network


def why_no_orthanc() -> str | None:
    """What is missing to run Orthanc; None if nothing is."""
    if not shutil.which("Orthanc") or not Path(_DICOMWEB_PLUGINS).exists():
        return "needs orthanc and orthanc-dicomweb (make debian)"
    return why_no_closed_network()


def why_no_storescp() -> str | None:
    """What is missing to run dcmtk's storescp; None if nothing is."""
    return why_no_closed_network() if shutil.which("storescp") else "needs dcmtk (make debian)"


@dataclass(frozen=True)
class StoreScp:
    """A running storescp of dcmtk. dicom: its port as we reach it. stored: the folder that it writes to."""

    server: ClosedServer
    dicom: Relay
    stored: Path


class Orthanc:
    """A running Orthanc. dicom, http: its ports as we reach them, as relays that can be slow or down."""

    ae_title = "ORTHANC"

    def __init__(self, server: ClosedServer) -> None:
        self.server = server
        self.http: Relay = server.reached(HTTP_PORT)
        self.dicom: Relay = server.reached(DICOM_PORT)
        self.url = f"http://{LOOPBACK}:{self.http.port}"
        self.dicomweb_url = f"{self.url}/dicom-web"
        self._session = requests.Session()
        self._session.trust_env = False

    def second_http(self) -> Relay:
        """Another way to its HTTP port, which can be down while we still ask."""
        return self.server.reached(HTTP_PORT)

    def rest(self, method: str, path: str, body: Any = None) -> Any:
        """Call its REST interface; the JSON of the answer. Raises ServerError."""
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body)
        answer = self._session.request(method, f"{self.url}/{path}", data=data, timeout=120)
        if not answer.ok:
            raise ServerError(f"Orthanc, {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json() if answer.content else None

    def upload(self, files: Sequence[Path]) -> None:
        """Give it files by its REST interface."""
        for file in files:
            self.rest("POST", "instances", file.read_bytes())

    def know_modality(self, name: str, ae_title: str, port: int) -> Relay:
        """Make a DICOM node at our `port` known to it under `name`."""
        relay = self.server.reaches(port)
        self.rest(
            "PUT", f"modalities/{name}",
            {"AET": ae_title, "Host": LOOPBACK, "Port": relay.port, "AllowStorageCommitment": True},
        )  # fmt: skip
        return relay

    def know_dicomweb(self, name: str, port: int, path: str = "/", token: str | None = None) -> Relay:
        """Make a DICOMweb server at our `port` known to it under `name`."""
        relay = self.server.reaches(port)
        server: dict[str, Any] = {"Url": f"http://{LOOPBACK}:{relay.port}{path}"}
        if token:
            server["HttpHeaders"] = {"Authorization": f"Bearer {token}"}
        self.rest("PUT", f"dicom-web/servers/{name}", server)
        return relay

    def find(self, level: str, **query: str) -> list[str]:
        """Orthanc's identifiers of what it holds at a level (Study, Series, Instance), by DICOM attributes."""
        found: list[str] = self.rest("POST", "tools/find", {"Level": level, "Query": query})
        return found

    def instance_uids(self, **query: str) -> set[str]:
        """SOP Instance UIDs of what it holds."""
        body = {"Level": "Instance", "Query": query, "Expand": True}
        return {each["MainDicomTags"]["SOPInstanceUID"] for each in self.rest("POST", "tools/find", body)}


@contextmanager
def running_orthanc(folder: Path, **options: Any) -> Iterator[Orthanc]:
    """An Orthanc with its database in `folder`. options: of its configuration file, beside and instead of ours.

    Raises ServerError where it is not installed or cannot be kept on loopback.
    """
    if reason := why_no_orthanc():
        raise ServerError(reason)
    folder.mkdir(parents=True, exist_ok=True)
    configuration = {
        "Name": "ORTHANC", "StorageDirectory": "storage", "IndexDirectory": "storage",
        "HttpPort": HTTP_PORT, "DicomPort": DICOM_PORT, "DicomAet": Orthanc.ae_title,
        "RemoteAccessAllowed": True, "AuthenticationEnabled": False,
        "DicomAlwaysAllowFind": True, "DicomAlwaysAllowMove": True, "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowStore": True, "DicomAssociationCloseDelay": 0, "StableAge": 1,
        "Plugins": [_DICOMWEB_PLUGINS], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}, **options,
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    server = ClosedServer(["Orthanc", "orthanc.json"], folder, {"TCP_NODELAY": "1"})  # else 40 ms an answer
    try:
        yield Orthanc(server)
    finally:
        server.stop()


@contextmanager
def running_storescp(folder: Path, *options: str) -> Iterator[StoreScp]:
    """dcmtk's storescp, with its folder below `folder`.

    Raises ServerError where it is not installed or cannot be kept on loopback.
    """
    if reason := why_no_storescp():
        raise ServerError(reason)
    stored = folder / "stored"
    stored.mkdir(parents=True, exist_ok=True)
    command = ["storescp", *options, "--output-directory", stored, str(DICOM_PORT)]
    server = ClosedServer(command, folder, {"TCP_NODELAY": "1"})
    try:
        yield StoreScp(server, server.reached(DICOM_PORT), stored)
    finally:
        server.stop()
