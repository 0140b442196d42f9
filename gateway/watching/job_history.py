"""One job, for the page that shows it: what happened when, and the picture of its result."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import and_, or_, select

from swinunet.gateway.ledger.administration import JobStatus, status_of_job
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.ledger.schema import audit, commitments, jobs

OVERLAY = "overlay.png"
_SHOWN = ("sender", "instances", "model", "state", "destination", "reason")


@dataclass(frozen=True)
class HistoryEvent:
    """Something that happened to a job or its study. at: wall clock."""

    at: float
    event: str
    success: bool
    words: str


@dataclass(frozen=True)
class JobHistory:
    """A job with its past. commitments: (destination, state, reason). has_picture: whether `overlay_file` finds one."""

    job: JobStatus
    events: tuple[HistoryEvent, ...]
    commitments: tuple[tuple[str, str, str], ...]
    has_picture: bool


def job_history(ledger: Ledger, spool: Path, job_id: int) -> JobHistory | None:
    """A job and what happened to it and its study; None if there is none of that number."""
    job = status_of_job(ledger, job_id)
    if job is None:
        return None
    with ledger.read() as connection:
        study_uid = connection.scalar(select(jobs.c.study_uid).where(jobs.c.id == job_id))
        of_study = audit.c.details.contains(json.dumps(study_uid), autoescape=True)
        of_job = audit.c.details.contains(f'"job": {job_id},', autoescape=True)
        asked = select(audit).where(or_(of_study, and_(audit.c.event == "instances_sent", of_job))).order_by(audit.c.id)
        rows = [(row, json.loads(row.details)) for row in connection.execute(asked)]
        promised = connection.execute(
            select(commitments.c.destination, commitments.c.state, commitments.c.reason)
            .where(commitments.c.job_id == job_id)
            .order_by(commitments.c.destination)
        ).all()
    events = tuple(
        HistoryEvent(row.at, row.event, row.success, _words(details))
        for row, details in rows
        if details.get("job", job_id) == job_id
    )
    return JobHistory(
        job,
        events,
        tuple((row.destination, row.state, row.reason) for row in promised),
        overlay_file(spool, job) is not None,
    )


def overlay_file(spool: Path, job: JobStatus) -> Path | None:
    """The picture of a job's result, if it is still there."""
    if not job.folder:
        return None
    found = sorted((spool / job.folder).rglob(OVERLAY))
    return found[0] if found else None


def _words(details: dict[str, object]) -> str:
    said = [f"{name.replace('_', ' ')} {details[name]}" for name in _SHOWN if details.get(name) not in (None, "")]
    return ", ".join(said)
