"""Work on many files in as many processes as there are cores: pydicom holds Python's lock while it parses.

The processes are plain ones that run this module. Those of `multiprocessing` fork a process whose gRPC threads do not
survive it, or run the caller's script anew.
"""

from __future__ import annotations

import atexit
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

from swinunet.foundation.errors import InputError
from swinunet.foundation.python_process import start_module

T = TypeVar("T")
R = TypeVar("R")

CHUNK = 64  # items sent to a process at once
LIMIT_S = 300.0  # for one call: a frame, or a chunk; a frame of JPEG 2000, 512 x 512, takes 0.03
_FEWEST = 1500  # headers (1 ms each) from which starting processes (0.75 s each) pays on two cores
_AHEAD = 2  # chunks in flight for each process
_MARK = "SWINUNET_DICOM_WORKER"  # in the environment of the processes made here
_ONE_AT_A_TIME = threading.Lock()
_kept: list[_Worker] = []  # none or one, idle


class WorkerError(InputError):
    """A process gave no answer. what: "died (status -11)" or "gave no answer for 300 s"."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"a process that reads DICOM files {what}; one of the files may be hostile, or the machine short of memory"
        )
        self.what = what


def map_in_processes(
    function: Callable[[T], R], items: Sequence[T], *, fewest: int = _FEWEST, chunk: int = CHUNK
) -> Iterator[R]:
    """`map(function, items)`, in order, in a process for each core this one may use if there are `fewest` items.

    function: of a module's top level; arguments and results must be picklable. No more than a few chunks of results
    wait at any time. Raises what `function` raises, and WorkerError if a process dies of an item, or takes LIMIT_S
    over a chunk.
    """
    processes = min(len(os.sched_getaffinity(0)), len(items) // chunk)
    if processes < 2 or len(items) < fewest:
        yield from map(function, items)
        return
    idle: SimpleQueue[_Worker] = SimpleQueue()
    workers = [_Worker() for _ in range(processes)]
    for worker in workers:
        idle.put(worker)

    def call(part: Sequence[T]) -> list[R]:
        worker = idle.get()
        try:
            return worker.call(function, part)
        finally:
            idle.put(worker)

    waiting: list[Future[list[R]]] = []
    starts = iter(range(0, len(items), chunk))
    try:
        with ThreadPoolExecutor(processes) as pool:
            try:
                for start in starts:
                    waiting.append(pool.submit(call, items[start : start + chunk]))
                    if len(waiting) >= _AHEAD * processes:
                        yield from waiting.pop(0).result()
                while waiting:
                    yield from waiting.pop(0).result()
            finally:
                for future in waiting:
                    future.cancel()
    finally:
        for worker in workers:
            worker.stop()


def call_in_process(function: Callable[[T], R], item: T) -> R:
    """`function(item)` in a process that may die of it; it is kept for the next call.

    As `map_in_processes`; raises WorkerError if the process dies, or takes LIMIT_S. In a process of `map_in_processes`,
    which may die itself, it is a plain call.
    """
    if _MARK in os.environ:
        return function(item)
    with _ONE_AT_A_TIME:
        worker = _kept.pop() if _kept else _Worker()
        try:
            (result,) = worker.call(function, [item])
        except WorkerError:
            worker.stop()
            raise
        except Exception:
            _kept.append(worker)
            raise
        _kept.append(worker)
        return result


class _Worker:
    """One process; its standard input and output carry pickles of this software's own making."""

    def __init__(self) -> None:
        self._process = start_module(
            "swinunet.client.dicom.workers",
            environment={_MARK: "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        atexit.register(self._process.kill)

    def call(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        late, began = threading.Timer(LIMIT_S, self._process.kill), time.monotonic()
        late.start()
        try:
            pickle.dump((function, items), self._process.stdin, pickle.HIGHEST_PROTOCOL)
            self._process.stdin.flush()
            results, error = pickle.load(self._process.stdout)  # noqa: S301  our own process wrote it
        except (OSError, EOFError, pickle.UnpicklingError):
            self._process.kill()
            overdue = time.monotonic() - began >= LIMIT_S
            raise WorkerError(
                f"gave no answer for {LIMIT_S:g} s" if overdue else f"died (status {self._process.wait()})"
            ) from None
        finally:
            late.cancel()
        if error is not None:
            raise error
        return list(results)

    def stop(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        atexit.unregister(self._process.kill)
        self._process.kill()
        self._process.wait()
        with suppress(BrokenPipeError):  # it may have died with a call unread
            self._process.stdin.close()
        self._process.stdout.close()


def _serve() -> None:
    """Answer calls until standard input ends."""
    calls, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # no library's print may come between
    while True:
        try:
            function, items = pickle.load(calls)  # noqa: S301  our own process wrote it
        except EOFError:
            return
        answer: tuple[list[Any] | None, Exception | None]
        try:
            answer = [function(item) for item in items], None
        except Exception as error:
            answer = None, error
        pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()


if __name__ == "__main__":
    _serve()
