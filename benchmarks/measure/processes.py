"""Worker processes: each holds what is measured, idles until it is told what to do, and ends with its parent.

Orders and replies are lines of JSON over pipes. Standard library only, so that a worker's memory is its engine's.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from swinunet.foundation.errors import SwinUNetError
from swinunet.foundation.python_process import start_module

_PR_SET_PDEATHSIG = 1
_WORKERS = "swinunet.benchmarks.workers"

Handler = Callable[..., dict[str, Any]]


class WorkerError(SwinUNetError):
    """A worker that refused an order, ended or did not answer; the message is the reason, in one line."""


class WorkerProcess:
    """A process that runs a module of `benchmarks/workers`; close it, or use it in a `with` block."""

    def __init__(self, worker: str) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        self._process = start_module(
            f"{_WORKERS}.{worker}",
            str(os.getpid()),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            start_new_session=True,  # Ctrl-C is for us
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def ask(self, do: str, timeout_s: float, **order: Any) -> dict[str, Any]:
        """Give an order and wait for its reply. Raises WorkerError."""
        self.send(do, **order)
        return self.receive(timeout_s)

    def send(self, do: str, **order: Any) -> None:
        """Give an order whose reply is fetched with `receive`. Raises WorkerError if the worker is gone."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **order}).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise WorkerError(self._ended()) from None

    def receive(self, timeout_s: float) -> dict[str, Any]:
        """The reply to the last order. Raises WorkerError, and ends a worker that does not answer in time."""
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], timeout_s)[0]:
            self._process.kill()
            raise WorkerError(f"no answer within {timeout_s:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(self._ended())
        reply: dict[str, Any] = json.loads(line)
        if "refused" in reply:
            raise WorkerError(reply["refused"])
        return reply

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._stderr):
            with contextlib.suppress(OSError):  # an order that it never read
                stream.close()  # type: ignore[union-attr]

    def _ended(self) -> str:
        """How the process ended, with the last line that it wrote."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        status = self._process.returncode
        how = signal.Signals(-status).name if status is not None and status < 0 else f"status {status}"
        with contextlib.suppress(OSError, ValueError):
            self._stderr.seek(0)
            lines = self._stderr.read().decode(errors="replace").strip().splitlines()
            return f"its process ended with {how}" + (f": {lines[-1].strip()}" if lines else "")
        return f"its process ended with {how}"


def serve_orders(handlers: Mapping[str, Handler]) -> None:
    """In the worker: carry out the parent's orders until it closes the pipe or dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(sys.argv[1]):  # it died before we asked to be told
        return
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no reply
    for line in sys.stdin:
        order = json.loads(line)
        try:
            reply = handlers[order.pop("do")](**order)
        except Exception as error:
            reply = {"refused": _reason(error)}
        print(json.dumps(reply), file=replies, flush=True)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, SwinUNetError) else f"{type(error).__name__}: {text}"
