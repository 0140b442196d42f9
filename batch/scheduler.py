"""Which worker gets which entry: each entry once, again if its worker died, alone if it may be what killed it."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from swinunet.batch.attempts import Attempts
from swinunet.batch.manifest import ManifestRow
from swinunet.batch.pool import IN_HAND, Died, Event, Finished, Pool, Setback
from swinunet.foundation.errors import ServerError

_TICK_SECONDS = 1.0
_SPARE_SETBACKS = 3


@dataclass
class _Hands:
    """What each worker has in hand."""

    entries: dict[int, set[str]] = field(default_factory=dict)
    alone: set[int] = field(default_factory=set)  # workers that get nothing else until they have ended

    def holder(self, entry: str) -> int | None:
        return next((worker for worker, entries in self.entries.items() if entry in entries), None)

    def take_back(self, entry: str) -> None:
        worker = self.holder(entry)
        if worker is not None:
            self.entries[worker].discard(entry)
            if not self.entries[worker]:
                del self.entries[worker]
                self.alone.discard(worker)


class Scheduler:
    """Runs entries through a pool. deaths: after which an entry is set aside.

    An entry whose worker died goes to a worker that has nothing else in hand then: so the next death is its own.
    """

    def __init__(self, entries: Iterable[str], pool: Pool, attempts: Attempts, deaths: int) -> None:
        self._pool, self._attempts, self._most_deaths = pool, attempts, deaths
        self._waiting: deque[str] = deque()
        self._suspects: deque[str] = deque()
        for entry in entries:
            (self._suspects if attempts.deaths[entry] else self._waiting).append(entry)
        self._hands = _Hands()
        self._failures: Counter[str] = Counter()
        self._setbacks_in_a_row = 0

    @property
    def left(self) -> int:
        """Entries that have not ended."""
        return len(self._waiting) + len(self._suspects) + sum(map(len, self._hands.entries.values()))

    def run(self) -> Iterator[tuple[ManifestRow, ...]]:
        """The rows of each entry as it ends; empty each second in which none does.

        Raises ServerError when nobody answers any more.
        """
        yield from self._already_too_many()
        while self.left:
            self._hand_out()
            events = self._pool.wait(_TICK_SECONDS)
            for event in events:
                yield from self._take(event)
            if not events:
                yield ()

    def let_go(self) -> None:
        """Say that what is in hand was given back: the run ends by its user's wish."""
        for entries in self._hands.entries.values():
            for entry in entries:
                self._attempts.end(entry)

    def _already_too_many(self) -> Iterator[tuple[ManifestRow, ...]]:
        for entry in [each for each in self._suspects if self._attempts.deaths[each] >= self._most_deaths]:
            self._suspects.remove(entry)
            yield self._set_aside(entry, "")

    def _hand_out(self) -> None:
        workers = self._pool.workers()
        for worker in workers:
            if self._suspects and not self._hands.entries.get(worker):
                self._hands.alone.add(worker)
                self._give(worker, self._suspects.popleft())
        for already in range(IN_HAND):  # everybody gets a first entry before anybody gets a second
            for worker in workers:
                if worker not in self._hands.alone and len(self._hands.entries.get(worker, ())) == already:
                    if not self._waiting:
                        return
                    self._give(worker, self._waiting.popleft())

    def _give(self, worker: int, entry: str) -> None:
        self._hands.entries.setdefault(worker, set()).add(entry)
        self._attempts.begin(entry)
        self._pool.submit(worker, entry)

    def _take(self, event: Event) -> Iterator[tuple[ManifestRow, ...]]:
        if isinstance(event, Died):
            for entry in event.entries:
                self._hands.take_back(entry)
                if self._attempts.died(entry) >= self._most_deaths:
                    yield self._set_aside(entry, event.reason)
                else:
                    self._suspects.append(entry)
            return
        self._hands.take_back(event.entry)
        self._attempts.end(event.entry)
        if isinstance(event, Finished):
            self._setbacks_in_a_row = 0
            deaths = self._attempts.deaths[event.entry]
            yield tuple(replace(row, deaths=deaths) for row in event.rows)
        else:
            yield from self._after_setback(event)

    def _after_setback(self, event: Setback) -> Iterator[tuple[ManifestRow, ...]]:
        """Put the entry back; set it aside if it is the one that fails, stop if everything does."""
        self._setbacks_in_a_row += event.server_gone
        if self._setbacks_in_a_row > _SPARE_SETBACKS + IN_HAND * len(self._pool.workers()):
            self._waiting.append(event.entry)
            raise ServerError(f"{event.reason}; nothing was segmented for a while, so the run stops")
        self._failures[event.entry] += not event.server_gone
        if self._failures[event.entry] >= self._most_deaths:
            yield self._set_aside(event.entry, event.reason)
        else:
            self._waiting.append(event.entry)

    def _set_aside(self, entry: str, reason: str) -> tuple[ManifestRow, ...]:
        deaths = self._attempts.deaths[entry]
        said = f"its worker died {deaths} times" if deaths >= self._most_deaths else "it failed again and again"
        return (
            ManifestRow(
                entry, "", "set_aside", reason=f"{said}: {reason}" if reason else said, deaths=deaths, ended=time.time()
            ),
        )
