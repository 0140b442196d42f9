"""`swinunet doctor` tells what is there, and names the one command for each thing that is not."""

from __future__ import annotations

import importlib.util
import json
import platform
from pathlib import Path

import pytest
from command_line import run_here

from swinunet.foundation.paths import default_repository


def test_it_fits_the_screen_and_tells_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = run_here("doctor")
    commands = (": apt-get", ": pip", ": export", ": make")
    assert all(len(line) <= 80 or any(each in line for each in commands) for line in done.stdout.splitlines())
    said = " ".join(done.stdout.split())
    assert f"Python {platform.python_version()}" in said
    assert "swin_unet_hippocampus" in said
    assert "Traceback" not in done.stderr


def test_json_says_the_same_for_programs(tritonserver: object) -> None:
    done = run_here("doctor", "--json")
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout)
    checks = {each["name"]: each for each in found["checks"]}
    assert checks["triton"]["status"] == checks["models"]["status"] == "ok"
    assert str(default_repository()) in checks["models"]["found"]
    assert found["works"]["segment"] is True
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    assert f"of {int(total.split()[1]) / 2**20:.1f} GiB" in checks["memory"]["found"]


def test_what_is_missing_has_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = importlib.util.find_spec
    gone = ("pytriton", "torch", "pynetdicom")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in gone else known(name, *rest))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SWINUNET_MODELS", str(tmp_path))
    done = run_here("doctor", "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    mends = {each["name"]: each["mend"] for each in found["checks"] if each["status"] != "ok"}
    assert mends["triton"].startswith("pip install --no-deps nvidia-pytriton")
    assert mends["models"] == "export SWINUNET_MODELS=/a/model/repository"
    assert mends["extra training"] == "pip install 'swinunet[training]'"
    assert mends["extra gateway"] == "pip install 'swinunet[gateway]'"
    assert mends["debian"].startswith("apt-get install --no-install-recommends dicom3tools")
    broken = {verb for verb, fine in found["works"].items() if not fine}
    assert {"segment", "serve", "train", "gateway"} <= broken
    assert found["works"]["inspect"]


def test_models_are_found_where_the_variable_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWINUNET_MODELS", "models")
    assert default_repository() == tmp_path / "models"
    monkeypatch.delenv("SWINUNET_MODELS")
    assert (default_repository() / "swin_unet_hippocampus" / "config.pbtxt").is_file()
