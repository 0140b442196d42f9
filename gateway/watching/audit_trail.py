"""Takes the ledger's events to the audit trail, in their order, at least once each."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.exc import SQLAlchemyError

from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.ledger.schema import audit
from swinunet.gateway.watching.audit_messages import audit_message
from swinunet.gateway.watching.audit_sinks import AuditSink

_log = logging.getLogger(__name__)
_AT_ONCE = 200
_LOOK_S = 2.0
_LONGEST_WAIT_S = 60.0


class AuditTrail:
    """Writes what is not written yet, now and every two seconds. An event is marked once the sink has it, so what a
    crash interrupts is written twice rather than never. title: our AE title."""

    def __init__(self, ledger: Ledger, sink: AuditSink, title: str) -> None:
        self._ledger, self._sink, self._title = ledger, sink, title
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit-trail", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Write what there is, once more, and end."""
        self._stop.set()
        self._thread.join()
        try:
            self.write_waiting()
        except (OSError, SQLAlchemyError) as error:
            _log.error("audit messages wait for the next start: %s", type(error).__name__)
        self._sink.close()

    def write_waiting(self) -> int:
        """Write all events that are not written; returns how many. Raises OSError of the sink, SQLAlchemyError."""
        written = 0
        while rows := self._waiting():
            messages = [
                (row.at, text)
                for row in rows
                if (text := audit_message(row.event, row.at, row.success, json.loads(row.details), self._title))
            ]
            self._sink.write(messages)
            with self._ledger.write() as connection:
                done = [row.id for row in rows]
                connection.execute(update(audit).where(audit.c.id.in_(done)).values(written=True))
            written += len(rows)
        return written

    def _waiting(self) -> Sequence[Row[Any]]:
        with self._ledger.read() as connection:
            asked = select(audit).where(~audit.c.written).order_by(audit.c.id).limit(_AT_ONCE)
            return connection.execute(asked).all()

    def _run(self) -> None:
        wait = _LOOK_S
        while not self._stop.wait(wait):
            try:
                self.write_waiting()
                wait = _LOOK_S
            except (OSError, SQLAlchemyError) as error:
                wait = min(2 * wait, _LONGEST_WAIT_S)
                _log.error("the audit trail cannot be written (%s); tried again in %.0f s", type(error).__name__, wait)
