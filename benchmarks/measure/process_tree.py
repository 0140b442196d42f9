"""Processes and all that they started: which they are, their CPU time and their memory. Linux's /proc."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_LOOK_S, _IDLE = 0.5, 0.1  # share of a core
_LONGEST_S = 120.0
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


def server_processes() -> list[int]:
    """The process ids of tritonserver and everything under it, where it is a descendant of this process."""
    ours = processes_under({os.getpid()})
    return sorted(processes_under({pid for pid in ours if _name(pid) == "tritonserver"}))


def processes_under(roots: Iterable[int]) -> set[int]:
    """`roots` and all their descendants that run now."""
    parents = {
        int(entry.name): int(fields[1])
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and (fields := _stat(int(entry.name)))
    }
    found, added = set(roots), True
    while added:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        found |= more
        added = bool(more)
    return found


def cpu_seconds(root: int) -> float:
    """User and system time so far of a process and its descendants, those included that ended and were waited for."""
    return sum(
        sum(int(ticks) for ticks in fields[11:15]) * _TICK_S  # utime stime cutime cstime
        for pid in processes_under({root})
        if (fields := _stat(pid))
    )


def wait_until_idle(root: int) -> None:
    """Return when a process and its descendants, which may have just started, hardly compute; after two minutes anyway.

    Not before they were seen to wait for half a second.
    """
    deadline, before = time.monotonic() + _LONGEST_S, cpu_seconds(root)
    while time.monotonic() < deadline:
        time.sleep(_LOOK_S)
        now = cpu_seconds(root)
        if now - before < _IDLE * _LOOK_S:
            return
        before = now


def resident_mib(pids: Iterable[int]) -> float:
    """Resident memory of processes now, summed, in MiB; pages that two share count twice."""
    return sum(int(fields[21]) * _PAGE_MIB for pid in pids if (fields := _stat(pid)))


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, from the state on; none for a process that has gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return []


def _name(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    return ""
