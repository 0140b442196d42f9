"""What a server leaves in the machine: processes, shared memory, private folders."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil


def session_of(leader: int) -> list[psutil.Process]:
    """Living processes of the session that a server's keeper leads."""
    members = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process)
    return members


def traces(pid: int | None = None) -> list[str]:
    """Shared memory regions and private folders of servers that process `pid` (this one by default) started."""
    regions = [path.name for path in Path("/dev/shm").glob(f"swinunet_{pid or os.getpid()}_*")]
    return regions + [path.name for path in Path(tempfile.gettempdir()).glob(f"swinunet-triton-{pid or os.getpid()}-*")]


def eventually(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether `condition` becomes true. seconds: on an idle machine; a busy one is given ten times as long."""
    deadline = time.monotonic() + 10 * seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()
