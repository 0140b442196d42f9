"""Storage commitment: what destinations promised to keep, asked when all of a job's results are there."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import and_, delete, select, update

from swinunet.gateway.contract import CommitmentReport, Reference
from swinunet.gateway.ledger.audit import record
from swinunet.gateway.ledger.clock import is_due
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.ledger.schema import (
    CommitmentState,
    DeliveryState,
    JobState,
    commitments,
    deliveries,
    instances,
    jobs,
    results,
)


@dataclass(frozen=True)
class LeasedCommitment:
    """A request that is being made. references: the job's results that the destination has."""

    transaction_uid: str
    job_id: int
    destination: str
    attempts: int
    fence: int
    owner: str
    references: tuple[Reference, ...]


def lease_commitment(ledger: Ledger, destination: str, owner: str, now: float, new_uid: str) -> LeasedCommitment | None:
    """Take a request that is due to be made; one whose report never came is made anew, as transaction `new_uid`."""
    with ledger.write() as connection:
        row = connection.execute(
            select(commitments)
            .where(
                commitments.c.destination == destination,
                commitments.c.owner.is_(None),
                commitments.c.state.in_([CommitmentState.TO_ASK, CommitmentState.ASKED]),
                is_due(commitments, now),
            )
            .order_by(commitments.c.due)
            .limit(1)
            .with_for_update(skip_locked=True)
        ).first()
        if row is None:
            return None
        uid = new_uid if row.state == CommitmentState.ASKED else row.transaction_uid
        fence, attempts = row.fence + 1, row.attempts + 1
        connection.execute(
            update(commitments).where(commitments.c.transaction_uid == row.transaction_uid).values(
                transaction_uid=uid, state=CommitmentState.TO_ASK, owner=owner, fence=fence, attempts=attempts
            )
        )  # fmt: skip
        found = connection.execute(
            select(results.c.sop_class_uid, results.c.sop_instance_uid)
            .join_from(deliveries, results, results.c.id == deliveries.c.result_id)
            .where(
                deliveries.c.job_id == row.job_id,
                deliveries.c.destination == destination,
                deliveries.c.state == DeliveryState.DELIVERED,
                results.c.sop_instance_uid.is_not(None),
            )
            .order_by(deliveries.c.position)
        )
        references = tuple(Reference(*each) for each in found)
    return LeasedCommitment(uid, row.job_id, destination, attempts, fence, owner, references)


def note_asked(
    ledger: Ledger, commitment: LeasedCommitment, accepted: bool, reason: str, now: float, delay_s: float
) -> None:
    """Note what came of a request: asked, its report expected within `delay_s`; or to be made again after that.

    The report may have come already. Does nothing if the lease was lost.
    """
    state = CommitmentState.ASKED if accepted else CommitmentState.TO_ASK
    mine = and_(
        commitments.c.transaction_uid == commitment.transaction_uid,
        commitments.c.owner == commitment.owner,
        commitments.c.fence == commitment.fence,
        commitments.c.state == CommitmentState.TO_ASK,
    )
    with ledger.write() as connection:
        connection.execute(
            update(commitments).where(mine).values(
                state=state, owner=None, reason=reason, set_at=now, due=now + delay_s
            )
        )  # fmt: skip


def take_report(ledger: Ledger, report: CommitmentReport, now: float) -> bool:
    """Note a destination's report; what it does not hold is sent again. False: there is no such transaction."""
    with ledger.write() as connection:
        row = connection.execute(
            select(commitments).where(commitments.c.transaction_uid == report.transaction_uid).with_for_update()
        ).first()
        if row is None:
            return False
        record(
            connection, now, "commitment_reported", not report.failed,
            job=row.job_id, destination=row.destination, failed=len(report.failed),
        )  # fmt: skip
        if not report.failed:
            connection.execute(
                update(commitments)
                .where(commitments.c.transaction_uid == report.transaction_uid)
                .values(state=CommitmentState.COMMITTED, owner=None, reason="", set_at=now)
            )
            return True
        missing = [each.sop_instance_uid for each in report.failed]
        again = select(results.c.id).where(results.c.job_id == row.job_id, results.c.sop_instance_uid.in_(missing))
        connection.execute(
            update(deliveries)
            .where(deliveries.c.destination == row.destination, deliveries.c.result_id.in_(again))
            .values(state=DeliveryState.WAITING, reason="it was not committed", set_at=now, due=now, ended=None)
        )
        connection.execute(
            update(jobs)
            .where(jobs.c.id == row.job_id, jobs.c.state == JobState.DONE)
            .values(state=JobState.DELIVERING, ended=None)
        )
        connection.execute(delete(commitments).where(commitments.c.transaction_uid == report.transaction_uid))
    return True


def held_by_us(ledger: Ledger, references: list[Reference]) -> set[str]:
    """The SOP Instance UIDs of those that we hold, be they received or our own results."""
    uids = [each.sop_instance_uid for each in references]
    with ledger.read() as connection:
        received = connection.scalars(
            select(instances.c.sop_instance_uid).where(instances.c.sop_instance_uid.in_(uids), instances.c.file != "")
        ).all()
        made = connection.scalars(
            select(results.c.sop_instance_uid)
            .join_from(results, jobs, jobs.c.id == results.c.job_id)
            .where(results.c.sop_instance_uid.in_(uids), jobs.c.folder.is_not(None))
        ).all()
    return {*received, *(uid for uid in made if uid)}
