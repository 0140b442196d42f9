"""Many senders, one transaction: whatever waits when the ledger is free is written down together."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field

from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.ledger.received import NewInstance, record_received

_MOST = 64  # instances of one transaction


@dataclass(frozen=True, eq=False)
class _Waiting:
    instance: NewInstance
    written: Future[bool] = field(default_factory=Future)


class GroupCommit:
    """Writes received instances to the ledger from one thread. `write` blocks until its instance is committed."""

    def __init__(self, ledger: Ledger, owner: str) -> None:
        self._ledger, self._owner = ledger, owner
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="intake-ledger", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, then end."""
        self._waiting.put(None)
        self._thread.join()

    def write(self, instance: NewInstance) -> bool:
        """Whether the instance is new; it is committed when this returns. Raises what the database raises."""
        waiting = _Waiting(instance)
        self._waiting.put(waiting)
        return waiting.written.result()

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch, ended = [first], False
            while len(batch) < _MOST and not ended:
                try:
                    following = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    ended = True
                else:
                    batch.append(following)
            self._commit(batch)
            if ended:
                return

    def _commit(self, batch: list[_Waiting]) -> None:
        try:
            new = record_received(self._ledger, [each.instance for each in batch], self._owner)
        except Exception as error:
            if len(batch) > 1:  # one that the database does not take must not cost the others
                for each in batch:
                    self._commit([each])
            else:
                batch[0].written.set_exception(error)
            return
        for each, is_new in zip(batch, new, strict=True):
            each.written.set_result(is_new)
