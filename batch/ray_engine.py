"""The Ray engine: a worker is a Ray core actor, pinned to its node; what a dead one held is put back.

Core actors, not Ray Data, which loses retries (ray #59522, #39800). `max_task_retries` is not used: it does not cover
an actor that is out of reach for a while (ActorUnavailableError), and would run an entry that kills again and again.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from swinunet.batch.pool import IN_HAND, Died, Event, Finished, Setback
from swinunet.batch.ray_cluster import RayOptions, connected
from swinunet.batch.settings import BatchSettings
from swinunet.batch.worker import SetbackError, StudyWorker
from swinunet.foundation.errors import DiskFullError, JobCancelledError, ServerError, SwinUNetError

_NODES_SECONDS = 2.0  # how often the cluster is asked which nodes it has
_CLOSING_SECONDS = 20.0
_STARTS = 3  # of a worker on one node, that fail one after another


class RayWorker:
    """The actor. `start` first: what a constructor raises comes back without its words."""

    def __init__(self, settings: BatchSettings) -> None:
        self._settings = settings
        self._worker: StudyWorker | None = None

    def start(self) -> str:
        """Start Triton and client; returns why that failed, empty if it did not."""
        try:
            self._worker = StudyWorker(self._settings)
        except SwinUNetError as error:
            return str(error)
        return ""

    def segment(self, entry: str) -> Event | DiskFullError | None:
        """What became of an entry; None if this worker was stopped."""
        assert self._worker is not None
        try:
            return Finished(entry, self._worker.segment(entry))
        except SetbackError as error:
            return Setback(entry, error.reason, error.server_gone)
        except DiskFullError as error:
            return error
        except JobCancelledError:
            return None

    def close(self) -> None:
        """Cancel what is under way, and stop Triton."""
        if self._worker:
            self._worker.stop()
            self._worker.close()


@dataclass(eq=False)
class _Actor:
    handle: Any
    node: str
    ready: bool = False


class RayPool:
    """A pool of actors, as many on each node as the options say. Connects to Ray, or starts it, when it is entered."""

    def __init__(self, settings: BatchSettings, options: RayOptions) -> None:
        self._settings, self._options = settings, options
        self._actors: dict[int, _Actor] = {}
        self._calls: dict[Any, tuple[int, str | None]] = {}  # by reference: worker, and entry; None is its start
        self._failed_starts: Counter[str] = Counter()
        self._reason = ""
        self._number, self._looked = 0, -_NODES_SECONDS
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._open.enter_context(connected(self._options))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            closing = [actor.handle.close.remote() for actor in self._actors.values() if actor.ready]
            if closing:
                ray.wait(closing, num_returns=len(closing), timeout=_CLOSING_SECONDS)
            for actor in self._actors.values():
                ray.kill(actor.handle)
        finally:
            self._open.close()

    def workers(self) -> list[int]:
        """Those that have started. Raises ServerError if none has, nor will."""
        self._look_for_nodes()
        if not self._actors and self._reason:
            raise ServerError(self._reason)
        return [number for number, actor in self._actors.items() if actor.ready]

    def submit(self, worker: int, entry: str) -> None:
        """Give a worker an entry."""
        self._calls[self._actors[worker].handle.segment.remote(entry)] = worker, entry

    def wait(self, seconds: float) -> list[Event]:
        """What has happened to entries; starts and ends of workers are dealt with."""
        if not self._calls:
            time.sleep(seconds)
            return []
        done, _ = ray.wait(list(self._calls), num_returns=1, timeout=seconds)
        if done:
            done, _ = ray.wait(list(self._calls), num_returns=len(self._calls), timeout=0)
        events: list[Event] = []
        for reference in done:
            if reference in self._calls:  # else its worker was found dead by another call
                events += self._ended(reference)
        return events

    def _ended(self, reference: Any) -> list[Event]:
        worker, entry = self._calls[reference]
        try:
            said = ray.get(reference)
        except RayTaskError:
            raise  # a defect of ours: what is wrong with an entry is said in words
        except RayError as error:
            return self._bury(worker, type(error).__name__)
        del self._calls[reference]
        if entry is None:
            return self._started(worker, said)
        if isinstance(said, DiskFullError):
            raise said
        if said is None:
            return [Setback(entry, "its worker was stopped", server_gone=True)]
        if isinstance(said, Setback) and said.server_gone and self._settings.url is None:
            return [said, *self._bury(worker, said.reason)]  # its own Triton is gone for good
        return [said]

    def _started(self, worker: int, reason: str) -> list[Event]:
        actor = self._actors[worker]
        if reason:
            self._reason = reason
            self._failed_starts[actor.node] += 1
            return self._bury(worker, reason)
        actor.ready = True
        self._failed_starts.pop(actor.node, None)
        return []

    def _bury(self, worker: int, reason: str) -> list[Event]:
        """Make sure that a worker is dead, and give back what it held."""
        actor = self._actors.pop(worker)
        ray.kill(actor.handle)  # one that is out of reach might come back, and write
        held = tuple(entry for number, entry in self._calls.values() if number == worker and entry is not None)
        self._calls = {call: held_by for call, held_by in self._calls.items() if held_by[0] != worker}
        if not actor.ready and not self._reason:
            self._failed_starts[actor.node] += 1
        self._looked = -_NODES_SECONDS
        return [Died(held, reason)] if held else []

    def _look_for_nodes(self) -> None:
        """Start the actors that are missing on any node."""
        if time.monotonic() - self._looked < _NODES_SECONDS:
            return
        self._looked = time.monotonic()
        alive = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
        have = Counter(actor.node for actor in self._actors.values())
        for node in alive:
            for _ in range(self._options.workers_per_node - have[node]):
                if self._failed_starts[node] < _STARTS:
                    self._start_on(node)

    def _start_on(self, node: str) -> None:
        options = self._options
        remote = ray.remote(RayWorker).options(
            num_cpus=options.cpus,
            num_gpus=options.gpus,
            max_concurrency=IN_HAND + 1,  # and `close`
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        )
        self._number += 1
        self._actors[self._number] = actor = _Actor(remote.remote(self._settings), node)
        self._calls[actor.handle.start.remote()] = self._number, None
