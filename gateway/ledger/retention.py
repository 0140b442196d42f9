"""Which local copies may go: of studies whose jobs have ended, and whose destinations have promised to keep them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, exists, func, select, update

from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.ledger.schema import (
    CommitmentState,
    JobState,
    StudyState,
    commitments,
    instances,
    jobs,
    studies,
)

_ENDED = (JobState.DONE, JobState.REFUSED, JobState.FAILED, JobState.SET_ASIDE)


@dataclass(frozen=True)
class OldStudy:
    """A study of which nothing is under way. ended: when its last job did, or its last instance came; wall clock.

    segmented: whether a job of it is done.
    """

    study_uid: str
    ended: float
    segmented: bool


def studies_at_an_end(ledger: Ledger) -> list[OldStudy]:
    """Studies that have files here and of which nothing is under way, nor a commitment awaited."""
    has_files = exists().where(instances.c.study_uid == studies.c.study_uid, instances.c.file != "")
    going_on = exists().where(jobs.c.study_uid == studies.c.study_uid, jobs.c.state.not_in(_ENDED))
    awaited = exists().where(jobs.c.study_uid == studies.c.study_uid, _awaited())
    done = exists().where(jobs.c.study_uid == studies.c.study_uid, jobs.c.state == JobState.DONE)
    last_ended = select(func.max(jobs.c.ended)).where(jobs.c.study_uid == studies.c.study_uid).scalar_subquery()
    asked = select(studies.c.study_uid, studies.c.last_received, last_ended, done).where(
        studies.c.state == StudyState.COMPLETE, has_files, ~going_on, ~awaited
    )
    with ledger.read() as connection:
        return [OldStudy(uid, max(last, ended or 0.0), bool(is_done)) for uid, last, ended, is_done
                in connection.execute(asked)]  # fmt: skip


def release_inputs(ledger: Ledger, study_uid: str) -> list[str]:
    """Note that the files of a study go, unless it has begun to receive again; returns them, below the spool."""
    with ledger.write() as connection:
        state = connection.scalar(select(studies.c.state).where(studies.c.study_uid == study_uid).with_for_update())
        if state != StudyState.COMPLETE:
            return []
        here = and_(instances.c.study_uid == study_uid, instances.c.file != "", instances.c.revision.is_not(None))
        # What is no image is part of no revision.
        other = and_(instances.c.study_uid == study_uid, instances.c.file != "", instances.c.kind != "image")
        files = list(connection.scalars(select(instances.c.file).where(here | other)))
        connection.execute(update(instances).where(here | other).values(file=""))
    return files


def jobs_with_results(ledger: Ledger) -> list[tuple[int, float, str]]:
    """(id, when it ended, folder) of the jobs that are done, no commitment awaited, and whose results are here."""
    with ledger.read() as connection:
        rows = connection.execute(
            select(jobs.c.id, jobs.c.ended, jobs.c.folder).where(
                jobs.c.state == JobState.DONE, jobs.c.folder.is_not(None), ~_awaited()
            )
        )
        return [(row.id, row.ended or 0.0, row.folder) for row in rows]


def release_results(ledger: Ledger, job_id: int) -> None:
    """Note that the results of a job go."""
    with ledger.write() as connection:
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(folder=None))


def studies_without_files(ledger: Ledger) -> list[tuple[str, float]]:
    """(study, when it was last heard of) where nothing but rows is left."""
    has_files = exists().where(instances.c.study_uid == studies.c.study_uid, instances.c.file != "")
    has_results = exists().where(jobs.c.study_uid == studies.c.study_uid, jobs.c.folder.is_not(None))
    going_on = exists().where(jobs.c.study_uid == studies.c.study_uid, jobs.c.state.not_in(_ENDED))
    asked = select(studies.c.study_uid, studies.c.last_received).where(
        studies.c.state == StudyState.COMPLETE, ~has_files, ~has_results, ~going_on
    )
    with ledger.read() as connection:
        return [(uid, last) for uid, last in connection.execute(asked)]


def _awaited() -> ColumnElement[bool]:
    """A commitment of a job has been, or is to be, asked for and is not there."""
    states = (CommitmentState.TO_ASK, CommitmentState.ASKED)
    return exists().where(commitments.c.job_id == jobs.c.id, commitments.c.state.in_(states)).correlate(jobs)
