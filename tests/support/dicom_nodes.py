"""Real DICOM nodes for tests: Orthanc and dcmtk's storescp (Debian: orthanc, orthanc-dicomweb, dcmtk)."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests
from closed_network import LOOPBACK, ClosedServer, Relay

T = TypeVar("T")
_DICOMWEB_PLUGINS = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
_DICOM_PORT, _HTTP_PORT = 4242, 8042  # in the server's own network


def require_dcmtk() -> None:
    """Skip the test where dcmtk's programs are not installed."""
    if not shutil.which("storescu") or not shutil.which("dcmsend"):
        pytest.skip("needs dcmtk (make debian)")


def wait_until(condition: Callable[[], T], what: str, seconds: float = 120) -> T:
    """The first true value of `condition`; fails the test after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)
    return found


class Orthanc:
    """A running Orthanc. dicom, http: its ports as the test reaches them, as relays that can be slow or down."""

    ae_title = "ORTHANC"

    def __init__(self, server: ClosedServer) -> None:
        self._server = server
        self.http: Relay = server.reached(_HTTP_PORT)
        self.dicom: Relay = server.reached(_DICOM_PORT)
        self.url = f"http://{LOOPBACK}:{self.http.port}"
        self.dicomweb_url = f"{self.url}/dicom-web"
        self._session = requests.Session()
        self._session.trust_env = False

    def second_http(self) -> Relay:
        """Another way to its HTTP port, which can be down while this test still asks."""
        return self._server.reached(_HTTP_PORT)

    def rest(self, method: str, path: str, body: Any = None) -> Any:
        """Call its REST interface; the JSON of the answer."""
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body)
        answer = self._session.request(method, f"{self.url}/{path}", data=data, timeout=120)
        assert answer.ok, f"{path}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.content else None

    def upload(self, files: Sequence[Path]) -> None:
        for file in files:
            self.rest("POST", "instances", file.read_bytes())

    def know_modality(self, name: str, ae_title: str, port: int) -> Relay:
        """Make a DICOM node at our `port` known to it under `name`."""
        relay = self._server.reaches(port)
        self.rest(
            "PUT", f"modalities/{name}",
            {"AET": ae_title, "Host": LOOPBACK, "Port": relay.port, "AllowStorageCommitment": True},
        )  # fmt: skip
        return relay

    def know_dicomweb(self, name: str, port: int, path: str = "/", token: str | None = None) -> Relay:
        """Make a DICOMweb server at our `port` known to it under `name`."""
        relay = self._server.reaches(port)
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
    """An Orthanc with its database in `folder`. options: of its configuration file, beside and instead of ours."""
    if not shutil.which("Orthanc") or not Path(_DICOMWEB_PLUGINS).exists():
        pytest.skip("needs orthanc and orthanc-dicomweb (make debian)")
    folder.mkdir(parents=True, exist_ok=True)
    configuration = {
        "Name": "test", "StorageDirectory": "storage", "IndexDirectory": "storage",
        "HttpPort": _HTTP_PORT, "DicomPort": _DICOM_PORT, "DicomAet": Orthanc.ae_title,
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
def running_storescp(folder: Path, *options: str) -> Iterator[tuple[Relay, Path]]:
    """dcmtk's storescp: the relay to its port, and the folder that it writes to."""
    require_dcmtk()
    stored = folder / "stored"
    stored.mkdir(parents=True, exist_ok=True)
    command = ["storescp", *options, "--output-directory", stored, str(_DICOM_PORT)]
    server = ClosedServer(command, folder, {"TCP_NODELAY": "1"})
    try:
        yield server.reached(_DICOM_PORT), stored
    finally:
        server.stop()


def dcmtk(program: str, *arguments: object, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
    """Run a program of dcmtk to its end."""
    require_dcmtk()
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, timeout=timeout_s, check=False
    )
