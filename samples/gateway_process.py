"""`swinunet gateway` as a process of its own, on loopback, for as long as a block lasts."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swinunet.foundation.errors import ServerError
from swinunet.foundation.python_process import start_module
from swinunet.samples.closed_network import LOOPBACK

_START_S, _STOP_S = 120.0, 90.0


@dataclass(frozen=True)
class GatewayProcess:
    """A gateway that receives. config: its file. log: what it says."""

    process: subprocess.Popen[Any]
    config: Path
    log: Path

    def require_running(self) -> None:
        """Raise ServerError, with the last line that it said, if it has ended."""
        if self.process.poll() is not None:
            said = self.log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
            raise ServerError(f"the gateway ended with status {self.process.returncode}: {said[-1]}")

    def wait_for(self, port: int) -> None:
        """Return when it listens on `port`. Raises ServerError if it ends, or does not listen within two minutes."""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            self.require_running()
            with suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
                self.require_running()  # else it is somebody else who listens there
                return
            time.sleep(0.1)
        raise ServerError(f"the gateway does not listen on port {port} after {_START_S:g} s")


@contextmanager
def running_gateway(configuration: str, folder: Path, dicom_port: int) -> Iterator[GatewayProcess]:
    """A gateway with this configuration (TOML), from when it listens on `dicom_port` to the end of the block.

    folder: for its file and its log; paths of the configuration are from there. Raises ServerError if it ends early.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config, log = folder / "gateway.toml", folder / "gateway.log"
    config.write_text(configuration)
    with log.open("ab") as said:
        process = start_module(
            "swinunet", "gateway", "--config", str(config), stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
    gateway = GatewayProcess(process, config, log)
    try:
        gateway.wait_for(dicom_port)
        yield gateway
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
