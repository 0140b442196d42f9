"""Runs commands where every packet is seen and none gets out: a network namespace whose only device is loopback.

Every address is routed to it, so that a name look-up or a connection elsewhere becomes a packet on loopback whose
destination is not a loopback address.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from swinunet.foundation.telemetry import SILENCED_BY_VARIABLE

# Some telemetry is silent in a CI, and would be missed; and the variables that we set, the command must set itself.
_LEFT_OUT = ("CI", "TF_BUILD", "JENKINS_URL", *SILENCED_BY_VARIABLE)
_GUARD = """
import ipaddress, json, os, signal, socket, subprocess, sys, threading
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
subprocess.run(["ip", "route", "add", "local", "default", "dev", "lo"], check=True)
sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
sniffer.bind(("lo", 0))
seen = set()
def watch():
    while True:
        packet = sniffer.recv(65536)
        address = packet[16:20] if packet[0] >> 4 == 4 else packet[24:40]
        if not ipaddress.ip_address(address).is_loopback:
            seen.add(f"to {ipaddress.ip_address(address)}: {bytes(packet[-60:])!r}")
threading.Thread(target=watch, daemon=True).start()
report, until, *command = sys.argv[1:]
with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
    if until:
        said = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        rest, errors = process.communicate(timeout=60)
        said += rest
    else:
        said, errors = process.communicate(timeout=540)
with open(report, "w") as file:
    json.dump({"status": process.returncode, "said": said, "errors": errors, "packets": sorted(seen)}, file)
"""


@dataclass(frozen=True)
class Guarded:
    """How a command ended, the packets that would have left the machine, and the files that it left in its HOME."""

    status: int
    said: str
    errors: str
    packets: list[str]
    home: list[str]


def run_guarded(folder: Path, *command: object, stop_after_a_line: bool = False) -> Guarded:
    """Run a command in `folder` with a HOME of its own. Skips where no network namespace can be made."""
    home, report = folder / "home", folder / "guard.json"
    home.mkdir(parents=True)
    environment = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT and name[:3] != "XDG"}
    guard = [sys.executable, "-P", "-c", _GUARD, str(report), "line" if stop_after_a_line else ""]
    done = subprocess.run(
        ["unshare", "-n" if os.geteuid() == 0 else "-rn", *guard, *map(str, command)],
        cwd=folder,
        env=environment | {"HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if not report.exists():
        pytest.skip(f"no network namespace can be made here: {done.stderr.strip()[-200:]}")
    found = json.loads(report.read_text())
    files = sorted(str(path.relative_to(home)) for path in home.rglob("*") if not path.is_dir())
    return Guarded(found["status"], found["said"], found["errors"], found["packets"], files)
