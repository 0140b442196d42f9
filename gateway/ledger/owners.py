"""Owners of leases, and how others find out that one is gone: its beat stands still.

Nobody compares clocks: each watcher measures, by a clock of its own that only advances, for how long a beat has not
changed. An owner that was taken for dead and comes back finds its row gone, and every lease fenced.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, and_, delete, insert, select, update

from swinunet.gateway.ledger.clock import Clock
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.ledger.schema import (
    CommitmentState,
    DeliveryState,
    JobState,
    commitments,
    deliveries,
    jobs,
    open_associations,
    outbox,
    owners,
)

_log = logging.getLogger(__name__)
_BEAT_S = 1.0


@dataclass(frozen=True)
class _Seen:
    beat: int
    at: float


class Watch:
    """Keeps this process's beat, and releases what dead owners held.

    owner: this process. lease_s: seconds without a beat after which an owner is dead. released: called with each owner
    that was found dead, after its leases were released. beat_only: leave it to others to find dead owners.
    """

    def __init__(
        self,
        ledger: Ledger,
        owner: str,
        lease_s: float,
        clock: Clock | None = None,
        released: Callable[[str], None] = lambda owner: None,
        beat_only: bool = False,
    ) -> None:
        self._ledger, self._owner, self._lease_s = ledger, owner, lease_s
        self._clock, self._released, self._beat_only = clock or Clock(), released, beat_only
        self._seen: dict[str, _Seen] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ledger-watch", daemon=True)

    def start(self, alone: bool) -> None:
        """Register, and watch from now on. alone: nobody else can be alive, so all that others held is released."""
        with self._ledger.write() as connection:
            _register(connection, self._owner, self._clock.wall())
            others = list(connection.scalars(select(owners.c.name).where(owners.c.name != self._owner)))
        for name in others if alone else []:
            release_owner(self._ledger, name)
            self._released(name)
        self._thread.start()

    def stop(self) -> None:
        """Release what this process still holds, and take its name off."""
        self._stopped.set()
        self._thread.join()
        release_owner(self._ledger, self._owner)

    def _run(self) -> None:
        while not self._stopped.wait(min(_BEAT_S, self._lease_s / 4)):
            try:
                self.look()
            except Exception as error:  # the database may be away for a while
                _log.warning("the ledger did not take the beat (%s)", type(error).__name__)

    def look(self) -> None:
        """Beat once, and release the owners whose beat has stood still for too long."""
        with self._ledger.write() as connection:
            beaten = connection.execute(
                update(owners).where(owners.c.name == self._owner).values(beat=owners.c.beat + 1)
            )
            if not beaten.rowcount:  # taken for dead; what it held is fenced
                _register(connection, self._owner, self._clock.wall())
            if self._beat_only:
                return
            beats = {row.name: row.beat for row in connection.execute(select(owners.c.name, owners.c.beat))}
        now = self._clock.monotonic()
        beats.pop(self._owner, None)
        self._seen = {
            name: seen if (seen := self._seen.get(name)) and seen.beat == beat else _Seen(beat, now)
            for name, beat in beats.items()
        }
        for name, seen in self._seen.items():
            if now - seen.at > self._lease_s and release_owner(self._ledger, name, seen.beat):
                _log.warning("an owner is gone (%s); its work is taken up again", name)
                self._released(name)


def living_owners(ledger: Ledger) -> set[str]:
    """The owners that are registered: alive, or not yet found dead."""
    with ledger.read() as connection:
        return set(connection.scalars(select(owners.c.name)))


def release_owner(ledger: Ledger, name: str, beat: int | None = None) -> bool:
    """Give back what an owner held, and forget it. beat: only if it still stands there; returns whether it did."""
    with ledger.write() as connection:
        same = [owners.c.name == name, *([] if beat is None else [owners.c.beat == beat])]
        if not connection.execute(delete(owners).where(*same)).rowcount and beat is not None:
            return False
        for table, held, free in (
            (jobs, JobState.RUNNING, JobState.WAITING),
            (deliveries, DeliveryState.SENDING, DeliveryState.WAITING),
        ):
            mine = and_(table.c.owner == name, table.c.state == held)
            connection.execute(update(table).where(mine).values(state=free, owner=None, due=0.0))
        asking = and_(commitments.c.owner == name, commitments.c.state == CommitmentState.TO_ASK)
        connection.execute(update(commitments).where(asking).values(owner=None, due=0.0))
        connection.execute(update(outbox).where(outbox.c.owner == name).values(owner=None))
        connection.execute(delete(open_associations).where(open_associations.c.owner == name))
    return True


def _register(connection: Connection, owner: str, now: float) -> None:
    connection.execute(insert(owners).values(name=owner, beat=0, started=now))
