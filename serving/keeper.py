"""A small process between us and tritonserver that cleans up whatever happens to either. Standard library only.

    python -I -S keeper.py PARENT_PID GRACE_SECONDS SHM_PREFIX FOLDER COMMAND...

An argument of COMMAND that is the name of an environment variable beginning with SWINUNET_HIDDEN_ stands for that
variable's value: a secret, which `ps` would show to every user of the machine were it an ordinary argument. What the
server makes (shared memory, files) only its owner may read.

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
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

HIDDEN = "SWINUNET_HIDDEN_"  # how the names of variables that hold a secret argument begin

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 22, 36, 38
_SECCOMP_MODE_FILTER = 2
_PTRACE_TRACEME, _PTRACE_DETACH = 0, 17
_WORD = struct.calcsize("N")
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
    os.umask(0o077)
    _keep_files_private()
    try:
        server = _start(arguments[4:], folder)
        while server.poll() is None and not stopping and os.getppid() == parent:
            time.sleep(_TICK_SECONDS)
        return _stop(server, grace)
    finally:
        kill_session(os.getpid())
        remove_traces(prefix, folder)


def _start(command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """Start the server; its hidden arguments appear in no process listing."""
    hidden = [argument for argument in command if argument.startswith(HIDDEN)]
    try:
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, cwd=folder, preexec_fn=_prepare_traced if hidden else _prepare
        )
    except subprocess.SubprocessError:  # ptrace is forbidden, by a container's seccomp profile or by Yama
        print(
            "WARNING ptrace is forbidden here, so other users of this machine can see the server's secret", flush=True
        )
        plain = [os.environ[argument] if argument in hidden else argument for argument in command]
        return subprocess.Popen(plain, stdin=subprocess.DEVNULL, cwd=folder, preexec_fn=_prepare)
    if hidden:
        os.waitpid(server.pid, 0)  # stopped by the kernel before its first instruction
        _reveal_hidden_arguments(server.pid)
        _ptrace(_PTRACE_DETACH, server.pid)
    return server


def _prepare() -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prepare_traced() -> None:
    _prepare()
    if _ptrace(_PTRACE_TRACEME, 0) != 0:
        raise OSError("ptrace")


def _reveal_hidden_arguments(pid: int) -> None:
    """Point each hidden argument of a process that was just started at the value of its environment variable.

    The kernel shows the memory between arg_start and arg_end to everybody (/proc/PID/cmdline), that of the environment
    to the owner only. argv is an array of pointers at the top of the stack: argc, argv..., NULL, envp..., NULL.
    """
    start_of_stack = int(_stat(Path(f"/proc/{pid}"))[25])
    with Path(f"/proc/{pid}/mem").open("r+b", buffering=0) as memory:

        def words(address: int, count: int) -> tuple[int, ...]:
            return struct.unpack(f"{count}N", os.pread(memory.fileno(), count * _WORD, address))

        def text(address: int) -> bytes:
            found = b""
            while b"\0" not in found:
                found += os.pread(memory.fileno(), 64, address + len(found))
            return found.partition(b"\0")[0]

        (count,) = words(start_of_stack, 1)
        argv = start_of_stack + _WORD
        values: dict[bytes, int] = {}
        entry = argv + (count + 1) * _WORD
        while (address := words(entry, 1)[0]) != 0:
            name = text(address).partition(b"=")[0]
            values[name] = address + len(name) + 1
            entry += _WORD
        for number, address in enumerate(words(argv, count)):
            name = text(address)
            if name.startswith(HIDDEN.encode()):
                os.pwrite(memory.fileno(), struct.pack("N", values[name]), argv + number * _WORD)


def _keep_files_private() -> None:
    """Let no process from here on open a file of its own to others by fchmod: such calls succeed and do nothing.

    Triton's Python backend makes its shared memory under our umask, then sets it to 0644 before data are in it; whoever
    opens it in that moment keeps it open. The filter is seccomp's (BPF over struct seccomp_data).
    """
    arch, fchmod = {"x86_64": (0xC000003E, 91), "aarch64": (0xC00000B7, 52)}.get(os.uname().machine, (0, 0))
    load, equal, any_bit, answer, allow = 0x20, 0x15, 0x45, 0x06, 0x7FFF0000
    instructions = (
        (load, 0, 0, 4),  # the architecture of the call
        (equal, 0, 5, arch),
        (load, 0, 0, 0),  # its number
        (equal, 0, 3, fchmod),
        (load, 0, 0, 24),  # its second argument, the mode
        (any_bit, 0, 1, 0o077),
        (answer, 0, 0, 0x00050000),  # an error number of 0, which is success
        (answer, 0, 0, allow),
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in instructions))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(instructions), ctypes.addressof(code)))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if not arch or _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(program)) != 0:
        print("WARNING seccomp is not to be had here, so other users of this machine may read images", flush=True)


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
    """Process ids in `session`, zombies too."""
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if int(_stat(entry)[3]) == session:
                    members.append(int(entry.name))
    return members


def _stat(process: Path) -> list[str]:
    """Fields of /proc/PID/stat from the third on: state, ppid, pgrp, session ..."""
    return (process / "stat").read_text(errors="replace").rpartition(")")[2].split()


def _prctl(option: int, value: int, further: int = 0) -> int:
    call = ctypes.CDLL(None).prctl
    call.restype, call.argtypes = ctypes.c_int, [ctypes.c_int, *[ctypes.c_ulong] * 4]
    return int(call(option, value, further, 0, 0))


def _ptrace(request: int, pid: int) -> int:
    call = ctypes.CDLL(None).ptrace
    call.restype, call.argtypes = ctypes.c_long, [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    return int(call(request, pid, None, None))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) & 0xFF)
