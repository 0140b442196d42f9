"""Deliveries: a row for each result and destination, sent in order, retried, and each by itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, exists, func, insert, select, update

from swinunet.gateway.contract import Reference
from swinunet.gateway.ledger.audit import record
from swinunet.gateway.ledger.clock import is_due
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.ledger.outbox import post_job_end
from swinunet.gateway.ledger.schema import (
    CommitmentState,
    DeliveryState,
    JobState,
    commitments,
    deliveries,
    jobs,
    results,
)

FOLDER = "folder"  # the kind of result that is all of a job's results together
_ENDS = (DeliveryState.DELIVERED, DeliveryState.REPLACED, DeliveryState.FAILED)


@dataclass(frozen=True)
class Destination:
    """takes_folder: all of a job's results as one folder, and not its DICOM objects one by one."""

    name: str
    takes_folder: bool


@dataclass(frozen=True)
class NewResult:
    """An object, or the folder, that a job made. file: below the spool. position: objects go out in this order.

    twin: of an object that is a label map, or refers to one, for destinations that take none.
    """

    kind: str
    position: int
    file: str
    sop_class_uid: str | None = None
    sop_instance_uid: str | None = None
    twin: bool = False


@dataclass(frozen=True)
class LeasedDelivery:
    """A result on its way. file: below the spool. attempts: this is one. first_tried: wall time."""

    id: int
    job_id: int
    result_id: int
    destination: str
    attempts: int
    first_tried: float
    fence: int
    owner: str
    kind: str
    file: str
    reference: Reference | None


def enqueue(
    connection: Connection,
    job_id: int,
    made: Iterable[tuple[int, NewResult]],
    destinations: Sequence[Destination],
    now: float,
) -> int:
    """A delivery of each result to each destination that takes it; returns how many. made: with the results' ids."""
    rows = []
    for result_id, result in made:
        for destination in destinations:
            if result.twin or (result.kind == FOLDER) != destination.takes_folder:
                continue
            rows.append({
                "job_id": job_id, "result_id": result_id, "destination": destination.name,
                "position": result.position, "state": DeliveryState.WAITING.value, "attempts": 0, "set_at": now,
                "due": now, "fence": 0, "reason": "",
            })  # fmt: skip
    if rows:
        connection.execute(insert(deliveries), rows)
    return len(rows)


def lease_deliveries(ledger: Ledger, destination: str, owner: str, now: float) -> list[LeasedDelivery]:
    """Take what is due of the first job that has something for a destination, in the order in which it is sent.

    Only the first object where a label map may have to be replaced by its twin. Empty if nothing is due.
    """
    with ledger.write() as connection:
        first = connection.execute(
            select(deliveries)
            .where(_waits(destination), is_due(deliveries, now), ~_blocked())
            .order_by(deliveries.c.due, deliveries.c.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        ).first()
        if first is None:
            return []
        has_twins = connection.scalar(select(exists().where(results.c.job_id == first.job_id, results.c.twin)))
        rows = connection.execute(
            select(deliveries, results.c.kind, results.c.file, results.c.sop_class_uid, results.c.sop_instance_uid)
            .join_from(deliveries, results, results.c.id == deliveries.c.result_id)
            .where(_waits(destination), deliveries.c.job_id == first.job_id, deliveries.c.position >= first.position)
            .order_by(deliveries.c.position)
            .with_for_update(skip_locked=True, of=deliveries)
        ).all()
        return [_lease_row(connection, row, owner, now) for row in (rows[:1] if has_twins else rows)]


def _lease_row(connection: Connection, row: Row[Any], owner: str, now: float) -> LeasedDelivery:
    fence, attempts, tried = row.fence + 1, row.attempts + 1, row.first_tried or now
    connection.execute(
        update(deliveries).where(deliveries.c.id == row.id).values(
            state=DeliveryState.SENDING, owner=owner, fence=fence, attempts=attempts, first_tried=tried
        )
    )  # fmt: skip
    reference = Reference(row.sop_class_uid, row.sop_instance_uid) if row.sop_instance_uid else None
    lease = (row.id, row.job_id, row.result_id, row.destination, attempts, tried, fence, owner)
    return LeasedDelivery(*lease, row.kind, row.file, reference)


def _waits(destination: str) -> ColumnElement[bool]:
    return and_(deliveries.c.destination == destination, deliveries.c.state == DeliveryState.WAITING)


def _blocked() -> ColumnElement[bool]:
    """Deliveries that wait for those of their job that stand before them."""
    before = deliveries.alias()
    return exists().where(
        before.c.job_id == deliveries.c.job_id,
        before.c.destination == deliveries.c.destination,
        before.c.position < deliveries.c.position,
        before.c.state.not_in([DeliveryState.DELIVERED, DeliveryState.REPLACED]),
    )


def any_delivery_due(ledger: Ledger, destination: str, now: float) -> bool:
    """Whether there may be one; a look that takes no lock."""
    asked = select(deliveries.c.id).where(_waits(destination), is_due(deliveries, now)).limit(1)
    with ledger.read() as connection:
        return connection.scalar(asked) is not None


def end_delivery(
    ledger: Ledger, delivery: LeasedDelivery, delivered: bool, reason: str, now: float, *,
    ask_commitment: str | None = None, webhook: bool = False,
) -> bool:  # fmt: skip
    """Note that a result arrived, or will not. The last one ends its job. False: the lease was lost.

    ask_commitment: UID of the transaction in which the destination is to be asked to keep the job's results, once all
    of them are there.
    """
    state = DeliveryState.DELIVERED if delivered else DeliveryState.FAILED
    with ledger.write() as connection:
        connection.execute(select(jobs.c.id).where(jobs.c.id == delivery.job_id).with_for_update())
        changed = connection.execute(
            update(deliveries).where(_lease(delivery)).values(
                state=state, owner=None, reason=reason, set_at=now, ended=now
            )
        )  # fmt: skip
        if not changed.rowcount:
            return False
        if not delivered:  # what refers to it is not sent without it
            following = and_(
                deliveries.c.job_id == delivery.job_id,
                deliveries.c.destination == delivery.destination,
                deliveries.c.state == DeliveryState.WAITING,
            )
            words = "what it refers to was not taken"
            connection.execute(update(deliveries).where(following).values(state=state, reason=words, ended=now))
        record(
            connection, now, "instances_sent", delivered,
            job=delivery.job_id, destination=delivery.destination, reason=reason,
            instance=delivery.reference.sop_instance_uid if delivery.reference else None,
        )  # fmt: skip
        if delivered and ask_commitment and not _open(connection, delivery.job_id, delivery.destination):
            connection.execute(insert(commitments).values(
                transaction_uid=ask_commitment, job_id=delivery.job_id, destination=delivery.destination,
                state=CommitmentState.TO_ASK, attempts=0, set_at=now, due=now, fence=0, reason="",
            ))  # fmt: skip
        end_delivered_job(connection, delivery.job_id, now, webhook)
    return True


def put_off_delivery(ledger: Ledger, delivery: LeasedDelivery, reason: str, now: float, delay_s: float) -> bool:
    """Let a delivery wait before its next attempt. False: the lease was lost."""
    with ledger.write() as connection:
        changed = connection.execute(
            update(deliveries).where(_lease(delivery)).values(
                state=DeliveryState.WAITING, owner=None, reason=reason, set_at=now, due=now + delay_s
            )
        )  # fmt: skip
    return bool(changed.rowcount)


def replace_by_twins(ledger: Ledger, delivery: LeasedDelivery, reason: str, now: float) -> bool:
    """Send a job's binary twins to a destination that takes no label map, in place of everything not yet there.

    False: there are none, or the lease was lost.
    """
    with ledger.write() as connection:
        twins = connection.execute(
            select(results).where(results.c.job_id == delivery.job_id, results.c.twin).order_by(results.c.position)
        ).all()
        held = connection.scalar(select(func.count()).select_from(deliveries).where(_lease(delivery)))
        if not twins or not held:
            return False
        open_ones = and_(
            deliveries.c.job_id == delivery.job_id,
            deliveries.c.destination == delivery.destination,
            deliveries.c.state.in_([DeliveryState.WAITING, DeliveryState.SENDING]),
        )
        connection.execute(
            update(deliveries).where(open_ones).values(
                state=DeliveryState.REPLACED, owner=None, reason=reason, ended=now
            )
        )  # fmt: skip
        for twin in twins:
            connection.execute(insert(deliveries).values(
                job_id=delivery.job_id, result_id=twin.id, destination=delivery.destination, position=twin.position,
                state=DeliveryState.WAITING, attempts=0, set_at=now, due=now, fence=0, reason="",
            ))  # fmt: skip
    return True


def end_delivered_job(connection: Connection, job_id: int, now: float, webhook: bool) -> None:
    """End a job that is being delivered once nothing of it is on its way: done, or failed if something failed."""
    if _open(connection, job_id, None):
        return
    failed = connection.execute(
        select(deliveries.c.destination, deliveries.c.reason)
        .where(deliveries.c.job_id == job_id, deliveries.c.state == DeliveryState.FAILED)
        .order_by(deliveries.c.id)
    ).all()
    state = JobState.FAILED if failed else JobState.DONE
    reason = "; ".join(dict.fromkeys(f"{row.destination}: {row.reason}" for row in failed))
    ended = connection.execute(
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.state == JobState.DELIVERING)
        .values(state=state, reason=reason, ended=now)
    )
    if ended.rowcount and webhook:
        post_job_end(connection, job_id, now)


def _open(connection: Connection, job_id: int, destination: str | None) -> int:
    """How many of a job's deliveries, to one destination or all, have not ended."""
    asked = select(func.count()).select_from(deliveries).where(
        deliveries.c.job_id == job_id, deliveries.c.state.not_in(_ENDS)
    )  # fmt: skip
    if destination is not None:
        asked = asked.where(deliveries.c.destination == destination)
    return connection.scalar(asked) or 0


def _lease(delivery: LeasedDelivery) -> ColumnElement[bool]:
    return and_(
        deliveries.c.id == delivery.id,
        deliveries.c.owner == delivery.owner,
        deliveries.c.fence == delivery.fence,
        deliveries.c.state == DeliveryState.SENDING,
    )
