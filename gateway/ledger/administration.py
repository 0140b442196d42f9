"""What a person does to the ledger: look, try a job again, forget a study, drain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, func, select, update

from swinunet.foundation.errors import InputError
from swinunet.gateway.ledger.audit import record
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.ledger.schema import (
    DeliveryState,
    JobState,
    StudyState,
    commitments,
    deliveries,
    instances,
    jobs,
    ledger_facts,
    open_associations,
    results,
    series,
    studies,
)
from swinunet.gateway.names import shown_uid

_DRAINING = "draining"
RETRIED = (JobState.FAILED, JobState.REFUSED, JobState.SET_ASIDE)


@dataclass(frozen=True)
class DeliveryStatus:
    """A result on its way to a destination, for a person."""

    destination: str
    kind: str
    state: str
    attempts: int
    reason: str


@dataclass(frozen=True)
class JobStatus:
    """A job, or a study that receives (id None), for a person. study: part of its UID's hash. Times: wall clock."""

    id: int | None
    study: str
    revision: int
    route: str
    model: str | None
    state: str
    reason: str
    images: int
    expected: int | None
    attempts: int
    created: float
    started: float | None
    ended: float | None
    due: float
    folder: str | None
    deliveries: tuple[DeliveryStatus, ...]


def status(ledger: Ledger, most: int = 100) -> list[JobStatus]:
    """Studies that receive, then jobs, the newest first, `most` at most."""
    with ledger.read() as connection:
        receiving = connection.execute(
            select(studies)
            .where(studies.c.state == StudyState.RECEIVING)
            .order_by(studies.c.first_received.desc())
            .limit(most)
        ).all()
        rows = connection.execute(select(jobs).order_by(jobs.c.id.desc()).limit(most)).all()
        sent = _deliveries(connection, [row.id for row in rows])
    found = [
        JobStatus(
            None, shown_uid(row.study_uid), row.revision + 1, "", None, StudyState.RECEIVING.value, "", row.images,
            row.expected, 0, row.first_received, None, None, 0.0, None, (),
        )
        for row in receiving
    ]  # fmt: skip
    found += [_job_status(row, sent) for row in rows]
    return found[:most]


def status_of_job(ledger: Ledger, job_id: int) -> JobStatus | None:
    """One job, as `status` has it; None if there is none of this number."""
    with ledger.read() as connection:
        row = connection.execute(select(jobs).where(jobs.c.id == job_id)).first()
        return None if row is None else _job_status(row, _deliveries(connection, [job_id]))


def counts(ledger: Ledger) -> dict[str, int]:
    """Studies that receive and jobs by state, each state named."""
    found = {StudyState.RECEIVING.value: 0, **{state.value: 0 for state in JobState}}
    with ledger.read() as connection:
        found[StudyState.RECEIVING.value] = (
            connection.scalar(select(func.count()).where(studies.c.state == StudyState.RECEIVING)) or 0
        )
        for state, count in connection.execute(select(jobs.c.state, func.count()).group_by(jobs.c.state)):
            found[state] = count
    return found


def retry(ledger: Ledger, job_id: int, now: float) -> str:
    """Let a job that failed, was refused or set aside wait again; returns what will happen, in words.

    Where only deliveries failed, only they are tried again. Raises InputError for a job that is not there, or goes on.
    """
    with ledger.write() as connection:
        row = connection.execute(select(jobs).where(jobs.c.id == job_id).with_for_update()).first()
        if row is None:
            raise InputError(f"there is no job {job_id}; `swinunet gateway status` lists them")
        if row.state not in RETRIED:
            raise InputError(f"job {job_id} is {row.state}; only what failed, was refused or set aside is retried")
        if not row.route:
            raise InputError(f"job {job_id} has no route: {row.reason}; change the routes and send the study again")
        record(connection, now, "job_retried", True, job=job_id, study=row.study_uid)
        again = and_(deliveries.c.job_id == job_id, deliveries.c.state == DeliveryState.FAILED)
        values = {"state": DeliveryState.WAITING, "attempts": 0, "first_tried": None, "set_at": now, "due": now}
        if connection.execute(update(deliveries).where(again).values(**values, ended=None)).rowcount:
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(state=JobState.DELIVERING, ended=None))
            return f"job {job_id}: its results are delivered again"
        connection.execute(
            update(jobs).where(jobs.c.id == job_id).values(
                state=JobState.WAITING, reason="", attempts=0, owner=None, set_at=now, due=now, ended=None, model=None,
                series_uid=None,
            )
        )  # fmt: skip
        return f"job {job_id}: waits to be run again"


def find_study(ledger: Ledger, name: str) -> str:
    """The Study Instance UID that a UID, or the part of its hash that logs show, means. Raises InputError."""
    with ledger.read() as connection:
        known = set(connection.scalars(select(instances.c.study_uid).distinct()))
        known |= set(connection.scalars(select(studies.c.study_uid)))
    found = [uid for uid in known if name == uid or (len(name) >= 4 and shown_uid(uid).startswith(name))]
    if len(found) != 1:
        what = "several studies are" if found else "no study is"
        raise InputError(f"{what} called {name}; give the Study Instance UID, or the name that status shows")
    return found[0]


def forget_study(ledger: Ledger, study_uid: str, now: float, *, say: bool = True) -> list[str]:
    """Remove all rows of a study; returns its files and folders, below the spool, which are then nobody's.

    say: whether the audit trail hears of it.
    """
    with ledger.write() as connection:
        files = list(connection.scalars(select(instances.c.file).where(instances.c.study_uid == study_uid)))
        its_jobs = connection.execute(select(jobs.c.id, jobs.c.folder).where(jobs.c.study_uid == study_uid)).all()
        ids = [row.id for row in its_jobs]
        for table in (commitments, deliveries, results):
            connection.execute(delete(table).where(table.c.job_id.in_(ids)))
        for table in (jobs, instances, series, studies, open_associations):
            connection.execute(delete(table).where(table.c.study_uid == study_uid))
        if say:
            record(connection, now, "study_forgotten", True, study=study_uid, instances=len(files))
    return [*filter(None, files), *(row.folder for row in its_jobs if row.folder)]


def set_draining(ledger: Ledger, draining: bool) -> None:
    """Tell the gateways on this ledger to take nothing more and to end when all is done, or not to."""
    with ledger.write() as connection:
        connection.execute(delete(ledger_facts).where(ledger_facts.c.name == _DRAINING))
        if draining:
            connection.execute(ledger_facts.insert().values(name=_DRAINING, value="yes"))


def is_draining(ledger: Ledger) -> bool:
    """Whether the gateways on this ledger were told to drain."""
    with ledger.read() as connection:
        return connection.scalar(select(ledger_facts.c.value).where(ledger_facts.c.name == _DRAINING)) is not None


def under_way(found: dict[str, int]) -> int:
    """How many studies and jobs are not at an end, of `counts`."""
    states: Sequence[str] = (StudyState.RECEIVING, JobState.WAITING, JobState.RUNNING, JobState.DELIVERING)
    return sum(found[state] for state in states)


def _job_status(row: Row[Any], sent: Mapping[int, Sequence[DeliveryStatus]]) -> JobStatus:
    return JobStatus(
        row.id, shown_uid(row.study_uid), row.revision, row.route, row.model, row.state, row.reason, row.images,
        row.expected, row.attempts, row.created, row.started, row.ended, row.due, row.folder,
        tuple(sent.get(row.id, ())),
    )  # fmt: skip


def _deliveries(connection: Connection, job_ids: Sequence[int]) -> dict[int, list[DeliveryStatus]]:
    asked = (
        select(deliveries, results.c.kind)
        .join_from(deliveries, results, results.c.id == deliveries.c.result_id)
        .where(deliveries.c.job_id.in_(job_ids))
        .order_by(deliveries.c.destination, deliveries.c.position, deliveries.c.id)
    )
    found: dict[int, list[DeliveryStatus]] = {}
    for row in connection.execute(asked):
        line = DeliveryStatus(row.destination, row.kind, row.state, row.attempts, row.reason)
        found.setdefault(row.job_id, []).append(line)
    return found
