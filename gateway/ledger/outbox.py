"""Messages that are to leave, written in the transaction of what they tell and sent until they are taken."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import ColumnElement, Connection, and_, insert, select, update

from swinunet.gateway.ledger.clock import is_due
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.ledger.schema import jobs, outbox
from swinunet.gateway.names import shown_uid

MessageKind = Literal["webhook", "commitment_report"]


@dataclass(frozen=True)
class LeasedMessage:
    """A message that is being sent. payload: JSON. attempts: this is one. created: wall time."""

    id: int
    kind: str
    payload: str
    attempts: int
    created: float
    fence: int
    owner: str


def post(connection: Connection, kind: MessageKind, payload: dict[str, object], now: float) -> None:
    """Put a message into the outbox."""
    connection.execute(insert(outbox).values(
        kind=kind, payload=json.dumps(payload), attempts=0, set_at=now, due=now, fence=0, created=now,
        given_up=False, reason="",
    ))  # fmt: skip


def post_job_end(connection: Connection, job_id: int, now: float) -> None:
    """Tell the webhook how a job ended: nothing of the patient, and no UID."""
    row = connection.execute(select(jobs).where(jobs.c.id == job_id)).one()
    payload: dict[str, object] = {
        "event": "job_ended",
        "job": row.id,
        "study": shown_uid(row.study_uid),
        "revision": row.revision,
        "route": row.route,
        "model": row.model,
        "state": row.state,
        "images": row.images,
        "expected": row.expected,
        "at": datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
    }
    post(connection, "webhook", payload, now)


def any_message_due(ledger: Ledger, kinds: Sequence[str], now: float) -> bool:
    """Whether `lease_message` would find one; a look that takes no lock."""
    with ledger.read() as connection:
        return connection.scalar(select(outbox.c.id).where(_waits(kinds, now)).limit(1)) is not None


def lease_message(ledger: Ledger, kinds: Sequence[str], owner: str, now: float) -> LeasedMessage | None:
    """Take the oldest message of these kinds that is due; None if there is none."""
    with ledger.write() as connection:
        row = connection.execute(
            select(outbox)
            .where(_waits(kinds, now))
            .order_by(outbox.c.due, outbox.c.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        ).first()
        if row is None:
            return None
        fence, attempts = row.fence + 1, row.attempts + 1
        connection.execute(
            update(outbox).where(outbox.c.id == row.id).values(owner=owner, fence=fence, attempts=attempts)
        )
    return LeasedMessage(row.id, row.kind, row.payload, attempts, row.created, fence, owner)


def _waits(kinds: Sequence[str], now: float) -> ColumnElement[bool]:
    return and_(
        outbox.c.kind.in_(kinds),
        outbox.c.sent.is_(None),
        ~outbox.c.given_up,
        outbox.c.owner.is_(None),
        is_due(outbox, now),
    )


def end_message(ledger: Ledger, message: LeasedMessage, sent: bool, reason: str, now: float, retry_in_s: float) -> None:
    """Note that a message was sent, or try it again; a retry of 0 s gives it up. Does nothing if the lease was lost."""
    values: dict[str, object] = {"owner": None, "reason": reason, "set_at": now, "due": now + retry_in_s}
    if sent:
        values["sent"] = now
    elif not retry_in_s:
        values["given_up"] = True
    mine = (outbox.c.id == message.id, outbox.c.owner == message.owner, outbox.c.fence == message.fence)
    with ledger.write() as connection:
        connection.execute(update(outbox).where(*mine).values(values))
