"""deploy/compose.yaml as a whole, started by podman-compose: a head goes in by DICOM, and the PACS gets its SEG.

Debian's Prometheus and Orthanc stand for the images that Compose names; Grafana, which Debian lacks, is left out.
Podman 4 needs systemd to run health checks by itself, so they are run here.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from containers import Podman, why_no_containers
from floors import ROOT

from swinunet.gateway.network.dimse.association import DimseAddress, DimseTimeouts
from swinunet.gateway.network.dimse.sender import send_by_dimse
from swinunet.samples.closed_network import free_port
from swinunet.samples.mni152 import write_mni152_series

pytestmark = pytest.mark.skipif(bool(why_no_containers(compose=True)), reason=why_no_containers(compose=True) or "-")
OURS = ("triton", "gateway", "canary")
STARTED = (*OURS, "prometheus", "orthanc")
STAND_INS = """
services:
  prometheus: {{image: {image}, entrypoint: [prometheus], user: nobody}}
  orthanc: {{image: {image}, entrypoint: [Orthanc, /etc/orthanc], user: orthanc}}
"""
PATIENCE_S = 900.0


@dataclass(frozen=True)
class Composed:
    """Services that run. dicom_port, orthanc_port: on loopback."""

    podman: Podman
    project: str
    dicom_port: int
    orthanc_port: int

    def container(self, service: str) -> str:
        return f"{self.project}_{service}_1"

    def inside(self, service: str, *command: str) -> subprocess.CompletedProcess[str]:
        """A command in a service's container."""
        return self.podman.run("exec", self.container(service), *command)

    def is_healthy(self, service: str) -> bool:
        """Whether the service's own health check passes now."""
        return self.podman.run("healthcheck", "run", self.container(service)).returncode == 0

    def ask_orthanc(self, path: str, password: str = "word") -> Any:
        login = base64.b64encode(f"me:{password}".encode()).decode()
        address = f"http://127.0.0.1:{self.orthanc_port}{path}"
        request = urllib.request.Request(address, headers={"Authorization": f"Basic {login}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


@pytest.fixture(scope="module")
def composed(
    podman: Podman, cpu_image: str, services_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Composed]:
    folder, project = tmp_path_factory.mktemp("compose"), f"swinunet-test-{os.getpid()}"
    ports = {name: free_port() for name in ("DICOM", "GRAFANA", "ORTHANC")}
    (folder / "stand-ins.yaml").write_text(STAND_INS.format(image=services_image))
    (folder / "secrets").mkdir()
    (folder / "secrets" / "grafana_password").write_text("word")
    (folder / "secrets" / "orthanc_users.json").write_text('{"RegisteredUsers": {"me": "word"}}')
    models = shutil.copytree(ROOT / "model_repository", folder / "models")
    for path in (*models.rglob("*"), models, *(folder / "secrets").iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)  # the containers' users are none of this machine's
    environment = podman.environment | {
        "SWINUNET_IMAGE": cpu_image,
        "SWINUNET_MODELS": str(models),
        "SWINUNET_SECRETS": str(folder / "secrets"),
        "SWINUNET_DICOM_PORT": f"127.0.0.1:{ports['DICOM']}",
        "SWINUNET_GRAFANA_PORT": str(ports["GRAFANA"]),
        "SWINUNET_ORTHANC_PORT": str(ports["ORTHANC"]),
    }
    files = ("-f", str(ROOT / "deploy" / "compose.yaml"), "-f", str(folder / "stand-ins.yaml"))
    command = [sys.executable, "-P", "-m", "podman_compose", *files, "-p", project, "--profile", "orthanc"]

    def compose(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, check=False)

    try:
        up = compose("up", "-d", "--no-build", *STARTED)
        assert up.returncode == 0, up.stderr[-3000:]
        yield Composed(podman, project, ports["DICOM"], ports["ORTHANC"])
    finally:
        compose("down", "--volumes", "--timeout", "20")


def wait_until_healthy(composed: Composed, service: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not composed.is_healthy(service):
        if time.monotonic() > deadline:
            logs = composed.podman.run("logs", composed.container(service))
            pytest.fail(f"{service} is not healthy:\n{logs.stdout[-2000:]}{logs.stderr[-2000:]}")
        time.sleep(2)


def test_a_head_goes_in_and_its_segmentation_comes_back(composed: Composed, tmp_path: Path) -> None:
    for service in ("triton", "gateway", "canary", "prometheus"):
        wait_until_healthy(composed, service)
    series = write_mni152_series(tmp_path / "head")
    files = sorted(path for path in series.rglob("*") if path.is_file())
    address = DimseAddress("SWINUNET", "127.0.0.1", composed.dicom_port)
    outcomes = send_by_dimse(address, "SCANNER", DimseTimeouts(), files)
    assert all(outcome.accepted for outcome in outcomes)
    deadline, found = time.monotonic() + PATIENCE_S, list[str]()
    while len(found) < 2 and time.monotonic() < deadline:
        time.sleep(2)
        found = [each["MainDicomTags"]["Modality"] for each in composed.ask_orthanc("/series?expand")]
    assert sorted(found) == ["SEG", "SR"], composed.podman.run("logs", composed.container("gateway")).stderr[-2000:]
    (segmentation,) = [
        each for each in composed.ask_orthanc("/instances?expand") if "SegmentSequence" in str(_tags(composed, each))
    ]
    labels = [each["SegmentLabel"] for each in _tags(composed, segmentation)["SegmentSequence"]]
    assert len(labels) == 4  # anterior and posterior, left and right


def _tags(composed: Composed, instance: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = composed.ask_orthanc(f"/instances/{instance['ID']}/simplified-tags")
    return found


@pytest.mark.parametrize("service", OURS)
def test_nobody_is_root_and_nothing_of_the_root_can_be_written(composed: Composed, service: str) -> None:
    assert composed.inside(service, "id", "-u").stdout.strip() == "10001"
    written = composed.inside(service, "sh", "-c", "touch /opt/venv/new")
    assert written.returncode != 0
    assert "Read-only file system" in written.stderr
    status = composed.inside(service, "cat", "/proc/1/status").stdout
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status


def test_others_reach_dicom_and_nothing_else(composed: Composed) -> None:
    """Asked from Orthanc's container, which is another machine to the rest."""
    for service in ("gateway", "triton", "canary", "prometheus"):
        wait_until_healthy(composed, service)
    open_ = {}
    for port in (8001, 8002, 8003, 8042, 9090, 11112):
        asked = composed.inside("orthanc", "bash", "-c", f"exec 3<>/dev/tcp/triton/{port}")
        open_[port] = asked.returncode == 0
    assert open_ == {8001: False, 8002: False, 8003: False, 8042: False, 9090: False, 11112: True}


def test_prometheus_scrapes_all_three(composed: Composed) -> None:
    wait_until_healthy(composed, "prometheus")
    deadline, health = time.monotonic() + PATIENCE_S, dict[str, str]()
    while set(health.values()) != {"up"} and time.monotonic() < deadline:
        time.sleep(2)
        asked = composed.inside("prometheus", "wget", "-q", "-O", "-", "http://127.0.0.1:9090/api/v1/targets")
        targets = json.loads(asked.stdout)["data"]["activeTargets"] if asked.returncode == 0 else []
        health = {each["labels"]["job"]: each["health"] for each in targets}
    assert health == {"triton": "up", "gateway": "up", "canary": "up"}


def test_orthanc_wants_the_password_of_the_secret(composed: Composed) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            composed.ask_orthanc("/system")
            break
        except (urllib.error.URLError, ConnectionError):
            time.sleep(2)
    with pytest.raises(urllib.error.HTTPError, match="401"):
        composed.ask_orthanc("/system", "wrong")
