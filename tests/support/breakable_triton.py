"""Servers that tests slow down, kill, hang, restart, and serve by TLS; and studies for the small model."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
from server_traces import eventually, session_of

from swinunet.imaging import Volume
from swinunet.serving import TritonServer
from swinunet.serving.canary import ServedModel
from swinunet.serving.ports import is_listening

CLIENT_REGIONS = "swinunet_client_*"


def small_study(slices: int = 48, seed: int = 0) -> Volume:
    """A volume of `slices` sagittal slices that the small model takes whole."""
    voxels = np.random.default_rng(seed).normal(100, 20, (slices, 30, 28)).astype(np.float32)
    return Volume(voxels, np.eye(4))


def slow_down(repository: Path, seconds: float, version: str = "1") -> Path:
    """Make each execution of the small model last `seconds` longer."""
    path = repository / "small" / version / "model.py"
    body = "        images = [self._image"
    assert body in path.read_text()
    path.write_text(path.read_text().replace(body, f"        time.sleep({seconds})\n{body}"))
    return repository


def add_version(repository: Path, version: str) -> None:
    """Put another version of the small model in place, as an export does: whole, by renaming."""
    model = repository / "small"
    shutil.copytree(model / "1", model / f".{version}")
    (model / f".{version}").rename(model / version)


def signal_server(server: TritonServer, number: signal.Signals) -> None:
    """Send a signal to tritonserver itself, past its keeper."""
    for process in session_of(server.pid or 0):
        if process.name() == "tritonserver":
            os.kill(process.pid, number)


def signal_stubs(server: TritonServer, number: signal.Signals) -> None:
    """Send a signal to the processes that compute the server's models."""
    for process in session_of(server.pid or 0):
        if "python_backend_stub" in process.name():
            os.kill(process.pid, number)


def client_regions() -> list[str]:
    """Shared memory that clients have made and not removed; that of another run's living clients is left out."""
    found = sorted(path.name for path in Path("/dev/shm").glob(CLIENT_REGIONS))
    return [name for name in found if not _of_another_run(int(name.rsplit("_", 2)[1]))]


def _of_another_run(pid: int) -> bool:
    """Whether a process lives, and is neither this one nor one that it started."""
    this = psutil.Process()
    return psutil.pid_exists(pid) and pid not in {this.pid, *(each.pid for each in this.children(recursive=True))}


class UncheckedTriton(TritonServer):
    """A server that is up when it listens: its canary would speak plain gRPC, without headers."""

    def check(self, timeout: float = 60.0) -> list[ServedModel]:
        """Wait for the port only."""
        assert eventually(lambda: is_listening(self._ports["gRPC"]), timeout)
        return []


def unchecked(repository: Path, options: Sequence[str]) -> UncheckedTriton:
    """A server with options that keep its own canary out."""
    return UncheckedTriton(repository, options=options, grace=2)
