"""deploy/: what starts everything is what Compose, Prometheus and the gateway read, and nothing is left open."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from floors import FLOORS, ROOT

yaml = pytest.importorskip("ruamel.yaml", reason="ruamel.yaml (with check-jsonschema, extra: dev) is not installed")
DEPLOY = ROOT / "deploy"
COMPOSE = [DEPLOY / "compose.yaml", DEPLOY / "compose.gpu.yaml"]


def read(path: Path) -> dict[str, Any]:
    """A YAML file with its anchors and merges resolved."""
    found: dict[str, Any] = yaml.YAML(typ="safe", pure=True).load(path.read_text())
    return found


def services() -> dict[str, dict[str, Any]]:
    return dict(read(DEPLOY / "compose.yaml")["services"])


def check_schema(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.skipif(importlib.util.find_spec("check_jsonschema") is None, reason="check-jsonschema is not installed")
def test_compose_files_are_of_the_compose_specification(tmp_path: Path) -> None:
    done = check_schema(*COMPOSE)
    assert done.returncode == 0, done.stdout
    (tmp_path / "wrong.yaml").write_text(COMPOSE[0].read_text().replace("read_only: true", "read_only: [maybe]"))
    assert check_schema(tmp_path / "wrong.yaml").returncode != 0


@pytest.mark.parametrize("name", services())
def test_no_service_can_write_its_root_or_gain_rights(name: str) -> None:
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged")
    if service["image"].startswith("${SWINUNET_IMAGE"):
        assert service["user"] == "${SWINUNET_USER:-10001:10001}"


def test_dicom_is_the_only_port_that_is_open_to_others() -> None:
    ports = {name: service.get("ports", []) for name, service in services().items()}
    to_others = {name: [each for each in found if not each.startswith("127.0.0.1:")] for name, found in ports.items()}
    assert {name: found for name, found in to_others.items() if found} == {
        "triton": ["${SWINUNET_DICOM_PORT:-11112}:11112"]
    }
    assert {name for name, found in ports.items() if found} == {"triton", "orthanc"}
    for name in ("gateway", "canary", "prometheus", "grafana"):
        assert services()[name]["network_mode"] == "service:triton"


def test_no_secret_stands_in_the_file() -> None:
    found = read(DEPLOY / "compose.yaml")
    for name, secret in found["secrets"].items():
        assert secret["file"].startswith("${SWINUNET_SECRETS:-./secrets}/"), name
    for name, service in found["services"].items():
        for key in service.get("environment", {}):
            assert not any(word in key for word in ("PASSWORD", "TOKEN", "SECRET")) or key.endswith("__FILE"), name
    ignored = subprocess.run(
        ["git", "check-ignore", "deploy/secrets/grafana_password"], cwd=ROOT, capture_output=True, check=False
    )
    if (ROOT / ".git").exists():
        assert ignored.returncode == 0


@pytest.mark.parametrize("name", [name for name in services() if name != "orthanc"])
def test_every_service_is_watched(name: str) -> None:
    assert services()[name]["healthcheck"]["test"][0] == "CMD"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed")
def test_prometheus_reads_its_file() -> None:
    command = ["promtool", "check", "config", str(DEPLOY / "prometheus" / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr


def test_the_gateway_reads_its_file() -> None:
    reading = pytest.importorskip("swinunet.gateway.config.reading", reason="there is no gateway in this checkout")
    config = reading.read_config(DEPLOY / "gateway" / "gateway.toml")
    assert config.models.url == "127.0.0.1:8001"
    assert config.listener.port == 11112
    assert config.web.host == "127.0.0.1"


def test_images_are_made_of_every_folder_of_ours() -> None:
    """`.dockerignore` lets in what it names, and nothing else: no data, no environment, no secret."""
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {*filter(None, FLOORS), "swinunet", "model_repository", "pyproject.toml"} <= let_in
    assert not let_in & {"tests", "deploy", ".git", ".venv"}


@pytest.mark.parametrize("path", sorted(DEPLOY.glob("*.Dockerfile")), ids=lambda path: path.stem)
def test_no_image_runs_as_root(path: Path) -> None:
    if path.stem == "engine":
        pytest.skip("`make engine` gives the user")
    assert "USER 10001:10001" in path.read_text().splitlines()
