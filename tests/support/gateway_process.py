"""A gateway as a process of its own, to be killed with everything it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from swinunet.gateway.config.settings import GatewayConfig

_PROGRAM = """
import os, sys
os.umask(0o077)
from pydantic import TypeAdapter
from swinunet.cli.signals import interrupt_once_on_signals
from swinunet.gateway.config.settings import GatewayConfig
from swinunet.gateway.logs import configure_logs
from swinunet.gateway.process.gateway import Gateway
configure_logs()
gateway = Gateway(TypeAdapter(GatewayConfig).validate_json(sys.stdin.readline()))
interrupt_once_on_signals()
try:
    with gateway:
        print("READY", flush=True)
        gateway.wait()
except KeyboardInterrupt:
    pass
"""


@contextmanager
def gateway_process(
    config: GatewayConfig, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[Any]]:
    """A running gateway, its listeners up; killed at the end of the block if it still runs."""
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            text=True, env={**os.environ, **(environment or {})},
        )  # fmt: skip
    try:
        assert process.stdin
        assert process.stdout
        process.stdin.write(TypeAdapter(GatewayConfig).dump_json(config).decode() + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "READY\n", log.read_text()
        yield process
    finally:
        kill(process)


def kill(process: subprocess.Popen[Any]) -> None:
    """End it by SIGKILL, as a loss of power would; its workers end because nobody is there to hear them."""
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def stop(process: subprocess.Popen[Any], patience_s: float = 600.0) -> int:
    """End it by SIGTERM; returns its exit status."""
    process.send_signal(signal.SIGTERM)
    return process.wait(patience_s)
