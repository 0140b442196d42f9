"""Jobs: leased by one owner at a time, ended only by the owner that still holds the lease."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, insert, select, update

from swinunet.gateway.ledger.audit import record
from swinunet.gateway.ledger.clock import is_due
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.ledger.deliveries import Destination, NewResult, enqueue
from swinunet.gateway.ledger.outbox import post_job_end
from swinunet.gateway.ledger.schema import InstanceKind, JobState, instances, jobs, results


@dataclass(frozen=True)
class LeasedJob:
    """A job under way here. model None: it is to be given to models. fence: proves the lease. attempts: this is one."""

    id: int
    fence: int
    owner: str
    study_uid: str
    series_uid: str | None
    revision: int
    route: str
    model: str | None
    attempts: int


@dataclass(frozen=True)
class ModelChoice:
    """A model that reads a series, as routing found."""

    model: str
    series_uid: str


def lease_job(ledger: Ledger, owner: str, now: float) -> LeasedJob | None:
    """Take the oldest job that is due; None if there is none."""
    with ledger.write() as connection:
        row = connection.execute(
            select(jobs)
            .where(jobs.c.state == JobState.WAITING, is_due(jobs, now))
            .order_by(jobs.c.due, jobs.c.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        ).first()
        if row is None:
            return None
        fence, attempts = row.fence + 1, row.attempts + 1
        connection.execute(
            update(jobs).where(jobs.c.id == row.id).values(
                state=JobState.RUNNING, owner=owner, fence=fence, attempts=attempts, started=now
            )
        )  # fmt: skip
    return LeasedJob(row.id, fence, owner, row.study_uid, row.series_uid, row.revision, row.route, row.model, attempts)


def any_job_due(ledger: Ledger, now: float) -> bool:
    """Whether `lease_job` would find one; a look that takes no lock."""
    with ledger.read() as connection:
        asked = select(jobs.c.id).where(jobs.c.state == JobState.WAITING, is_due(jobs, now)).limit(1)
        return connection.scalar(asked) is not None


def files_of_job(ledger: Ledger, job: LeasedJob) -> list[tuple[str, str]]:
    """(series UID, file below the spool) of the images that a job is made from; those of later revisions are not."""
    with ledger.read() as connection:
        rows = connection.execute(
            select(instances.c.series_uid, instances.c.file).where(
                instances.c.study_uid == job.study_uid,
                instances.c.kind == InstanceKind.IMAGE,
                instances.c.revision <= job.revision,
            ).order_by(instances.c.sop_instance_uid)
        )  # fmt: skip
        return [(row.series_uid, row.file) for row in rows]


def split_job(ledger: Ledger, job: LeasedJob, choices: Sequence[ModelChoice], now: float) -> LeasedJob | None:
    """Give a job that was for any model to the first choice, under the same lease; the others get jobs of their own.

    Returns the job as it is then; None: the lease was lost.
    """
    first, *others = choices
    with ledger.write() as connection:
        row = _held(connection, job)
        if row is None:
            return None
        connection.execute(
            update(jobs).where(jobs.c.id == job.id).values(model=first.model, series_uid=first.series_uid)
        )
        for each in others:
            connection.execute(insert(jobs).values(
                study_uid=job.study_uid, series_uid=each.series_uid, revision=job.revision, route=job.route,
                model=each.model, state=JobState.WAITING, reason="", images=row.images, expected=row.expected,
                attempts=0, set_at=now, due=now, fence=0, created=row.created,
            ))  # fmt: skip
    return replace(job, model=first.model, series_uid=first.series_uid)


def finish_job(
    ledger: Ledger,
    job: LeasedJob,
    folder: str,
    made: Sequence[NewResult],
    destinations: Sequence[Destination],
    now: float,
    webhook: bool,
) -> bool:
    """Write down a job's results, and their deliveries, in one transaction. False: the lease was lost."""
    with ledger.write() as connection:
        if _held(connection, job) is None:
            return False
        ids = []
        for each in made:
            inserted = connection.execute(insert(results).values(
                job_id=job.id, kind=each.kind, position=each.position, sop_class_uid=each.sop_class_uid,
                sop_instance_uid=each.sop_instance_uid, file=each.file, twin=each.twin,
            ))  # fmt: skip
            assert inserted.inserted_primary_key
            ids.append(inserted.inserted_primary_key[0])
        waiting = enqueue(connection, job.id, zip(ids, made, strict=True), destinations, now)
        state = JobState.DELIVERING if waiting else JobState.DONE
        _end(connection, job, state, "", now, webhook, folder=folder)
    return True


def end_job(ledger: Ledger, job: LeasedJob, state: JobState, reason: str, now: float, webhook: bool) -> bool:
    """Write down that a job was refused, or failed. False: the lease was lost."""
    with ledger.write() as connection:
        if _held(connection, job) is None:
            return False
        _end(connection, job, state, reason, now, webhook)
    return True


def put_off_job(ledger: Ledger, job: LeasedJob, reason: str, now: float, delay_s: float, counts: bool = True) -> bool:
    """Let a job wait before its next attempt. counts: whether this was one. False: the lease was lost."""
    attempts = job.attempts if counts else job.attempts - 1
    with ledger.write() as connection:
        changed = connection.execute(
            update(jobs).where(_lease(job)).values(
                state=JobState.WAITING, owner=None, reason=reason, attempts=attempts, set_at=now, due=now + delay_s
            )
        )  # fmt: skip
    return bool(changed.rowcount)


def still_held(ledger: Ledger, job: LeasedJob) -> bool:
    """Whether a job is still ours: nobody took it up, forgot or replaced it."""
    with ledger.read() as connection:
        return connection.scalar(select(func.count()).select_from(jobs).where(_lease(job))) == 1


def _end(
    connection: Connection, job: LeasedJob, state: JobState, reason: str, now: float, webhook: bool,
    folder: str | None = None,
) -> None:  # fmt: skip
    ended = None if state is JobState.DELIVERING else now
    connection.execute(
        update(jobs).where(jobs.c.id == job.id).values(
            state=state, reason=reason, owner=None, ended=ended, folder=folder
        )
    )  # fmt: skip
    record(
        connection, now, "job_ended", state in (JobState.DELIVERING, JobState.DONE),
        study=job.study_uid, job=job.id, model=job.model, route=job.route, state=state.value, reason=reason,
    )  # fmt: skip
    if webhook and ended is not None:
        post_job_end(connection, job.id, now)


def _lease(job: LeasedJob) -> ColumnElement[bool]:
    return and_(
        jobs.c.id == job.id, jobs.c.owner == job.owner, jobs.c.fence == job.fence, jobs.c.state == JobState.RUNNING
    )


def _held(connection: Connection, job: LeasedJob) -> Row[Any] | None:
    """The job's row if the lease is still ours, locked until the transaction ends."""
    return connection.execute(select(jobs).where(_lease(job)).with_for_update()).first()
