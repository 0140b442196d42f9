"""What holds for one job, whichever thread asks: its name in the server's traces, its end, its cancellation."""

from __future__ import annotations

import itertools
import math
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from swinunet.foundation.errors import JobCancelledError, ServerError


@dataclass
class Exchange:
    """What went between client and server in one job.

    bytes: of images and answers, by shared memory too. round_trip_s: from sending to answer, summed over requests that
    overlap, so it may exceed the job's wall time.
    """

    requests: int = 0
    retries: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    round_trip_s: float = 0.0
    shared_memory: bool = False


class JobControl:
    """One job: `cancel` may be called from any thread, and ends the job's requests on the server too.

    seconds: from the first request until the job must have ended; None sets no limit.
    turn: entered by `segment_volume` for its requests; a lock that jobs share makes them take turns at the server.
    trace: 32 hex digits; requests are called `<trace>-<n>`, as Triton's traces and log call them.
    """

    def __init__(self, seconds: float | None = None, turn: AbstractContextManager[object] | None = None) -> None:
        self.trace = uuid.uuid4().hex
        self.turn = turn if turn is not None else nullcontext()
        self.exchange = Exchange()
        self._seconds, self._end = seconds, math.inf
        self._begun = False
        self._numbers = itertools.count(1)
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._calls: set[Callable[[], None]] = set()

    def next_request_id(self) -> str:
        """The name of the job's next request."""
        return f"{self.trace}-{next(self._numbers)}"

    def remaining_s(self, at_most: float) -> float:
        """Seconds that a call may take now. Raises JobCancelledError, or ServerError if the job's time is over."""
        if self._cancelled.is_set():
            raise JobCancelledError("the job was cancelled")
        if not self._begun:
            self._begun = True
            self._end = math.inf if self._seconds is None else time.monotonic() + self._seconds
        remaining = min(at_most, self._end - time.monotonic())
        if remaining <= 0:
            raise ServerError(f"the job did not end within {self._seconds:g} s; allow more time (--timeout job=...)")
        return remaining

    def sleep(self, seconds: float) -> None:
        """Sleep, but not beyond the job's end or cancellation; raises what `remaining_s` raises."""
        self._cancelled.wait(self.remaining_s(seconds))
        self.remaining_s(seconds)

    def cancel(self) -> None:
        """End the job: calls under way are cancelled here and on the server, and nothing more is asked."""
        self._cancelled.set()
        self.cancel_calls()

    def cancel_calls(self) -> None:
        """Cancel the calls under way, here and on the server."""
        with self._lock:
            calls = list(self._calls)
        for cancel in calls:
            cancel()

    def under_way(self, cancel: Callable[[], None]) -> None:
        """Remember how to cancel a call that is under way now."""
        with self._lock:
            self._calls.add(cancel)
        if self._cancelled.is_set():
            cancel()

    def ended(self, cancel: Callable[[], None]) -> None:
        """Forget a call."""
        with self._lock:
            self._calls.discard(cancel)
