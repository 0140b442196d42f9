"""A small process between us and tritonserver that cleans up whatever happens to either. Standard library only.

    python -I -S keeper.py PARENT_PID GRACE_SECONDS SHM_PREFIX FOLDER COMMAND...

It runs COMMAND inside FOLDER until COMMAND ends, the parent dies (killed outright, even), or SIGTERM comes. Then it
stops the server (SIGTERM, GRACE_SECONDS, SIGKILL), kills stubs left over, and removes the server's shared memory and
FOLDER. SIGQUIT is for a server that has nothing to drain: no grace.

It leads a session of its own, by which everything that the server started can be known, and which keeps the terminal's
Ctrl-C from it: only one order stops it. If it is killed itself, the server gets SIGKILL from the kernel.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_TICK_SECONDS = 0.1


def main(arguments: list[str]) -> int:
    """Keep one server; returns its exit status."""
    parent, grace, prefix, folder = int(arguments[0]), float(arguments[1]), arguments[2], Path(arguments[3])
    stopping = False

    def stop(number: int, _frame: FrameType | None) -> None:
        nonlocal stopping, grace
        stopping, grace = True, 0 if number == signal.SIGQUIT else grace

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGQUIT, stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # orphan stubs become our children, so that they can be reaped
    try:
        server = subprocess.Popen(
            arguments[4:], stdin=subprocess.DEVNULL, cwd=folder, preexec_fn=lambda: _prctl(_PR_SET_PDEATHSIG, 9)
        )
        while server.poll() is None and not stopping and os.getppid() == parent:
            time.sleep(_TICK_SECONDS)
        return _stop(server, grace)
    finally:
        kill_session(os.getpid())
        remove_traces(prefix, folder)


def kill_session(session: int) -> None:
    """SIGKILL every process of `session` but its leader, until none is left, and reap those that are ours."""
    for _ in range(50):
        members = [pid for pid in _processes_of(session) if pid != session]
        if not members:
            return
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def remove_traces(prefix: str, folder: Path) -> None:
    """Remove the shared memory regions whose names begin with `prefix`, and the server's private folder."""
    for region in Path("/dev/shm").glob(f"{prefix}*"):
        region.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _stop(server: subprocess.Popen[bytes], grace: float) -> int:
    if server.poll() is None:
        server.terminate()
        try:
            server.wait(grace)
        except subprocess.TimeoutExpired:
            server.kill()
    return server.wait()


def _processes_of(session: int) -> list[int]:
    """Process ids in `session`, zombies too. /proc/PID/stat: pid (command) state ppid pgrp session ..."""
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                if int(fields[3]) == session:
                    members.append(int(entry.name))
    return members


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) & 0xFF)
