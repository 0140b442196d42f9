"""Studies that receive: what is known of them, and the transaction that makes one complete and its jobs wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_, func, insert, select, update

from swinunet.gateway.ledger.audit import record
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.ledger.schema import (
    InstanceKind,
    JobState,
    StudyState,
    instances,
    jobs,
    open_associations,
    series,
    studies,
)


@dataclass(frozen=True)
class ReceivedSeries:
    """A series as far as it is here."""

    series_uid: str
    modality: str
    description: str
    activity: int
    images: int
    last_received: float


@dataclass(frozen=True)
class ReceivingStudy:
    """A study of which images may still come. senders: AE titles, or names, of who sent images of it."""

    study_uid: str
    revision: int
    activity: int
    images: int
    expected: int | None
    first_received: float
    last_received: float
    series: tuple[ReceivedSeries, ...]
    senders: tuple[str, ...]
    open_associations: int


@dataclass(frozen=True)
class Planned:
    """What a complete study is to become by one route; without a reason it waits for a model, else it is set aside."""

    route: str
    set_aside: str = ""


def receiving_activity(ledger: Ledger) -> dict[str, tuple[int, int]]:
    """The activity of each study that receives, and how many associations that brought images of it are open."""
    count = func.count(open_associations.c.association)
    asked = (
        select(studies.c.study_uid, studies.c.activity, count)
        .join_from(studies, open_associations, open_associations.c.study_uid == studies.c.study_uid, isouter=True)
        .where(studies.c.state == StudyState.RECEIVING)
        .group_by(studies.c.study_uid, studies.c.activity)
    )
    with ledger.read() as connection:
        return {uid: (activity, opened) for uid, activity, opened in connection.execute(asked)}


def receiving_study(ledger: Ledger, study_uid: str) -> ReceivingStudy | None:
    """What is known of a study; None if it is complete, or forgotten."""
    with ledger.read() as connection:
        study = connection.execute(
            select(studies).where(studies.c.study_uid == study_uid, studies.c.state == StudyState.RECEIVING)
        ).first()
        if study is None:
            return None
        rows = connection.execute(select(series).where(series.c.study_uid == study_uid)).all()
        senders = connection.scalars(
            select(instances.c.sender_name)
            .where(instances.c.study_uid == study_uid, instances.c.kind == InstanceKind.IMAGE)
            .distinct()
        ).all()
        opened = connection.scalar(
            select(func.count()).select_from(open_associations).where(open_associations.c.study_uid == study_uid)
        )
    found = tuple(
        ReceivedSeries(row.series_uid, row.modality, row.description, row.activity, row.images, row.last_received)
        for row in rows
    )
    return ReceivingStudy(
        study.study_uid,
        study.revision,
        study.activity,
        study.images,
        study.expected,
        study.first_received,
        study.last_received,
        found,
        tuple(senders),
        opened or 0,
    )


def note_expected(ledger: Ledger, study_uid: str, expected: int) -> None:
    """Write down how many images a PACS says there are."""
    with ledger.write() as connection:
        connection.execute(update(studies).where(studies.c.study_uid == study_uid).values(expected=expected))


def complete_study(ledger: Ledger, study: ReceivingStudy, planned: Sequence[Planned], reason: str, now: float) -> bool:
    """Make a study complete, with a job for each of `planned`, unless an image came since `study` was read.

    Jobs of earlier revisions that have not begun are set aside. Returns whether it was done.
    """
    revision = study.revision + 1
    with ledger.write() as connection:
        unchanged = and_(
            studies.c.study_uid == study.study_uid,
            studies.c.state == StudyState.RECEIVING,
            studies.c.activity == study.activity,
            studies.c.revision == study.revision,
        )
        changed = connection.execute(
            update(studies).where(unchanged).values(state=StudyState.COMPLETE, revision=revision, reason=reason)
        )
        if not changed.rowcount:
            return False
        new = and_(instances.c.study_uid == study.study_uid, instances.c.revision.is_(None))
        connection.execute(update(instances).where(new).values(revision=revision))
        waiting = and_(
            jobs.c.study_uid == study.study_uid, jobs.c.revision < revision, jobs.c.state == JobState.WAITING
        )
        connection.execute(
            update(jobs).where(waiting).values(
                state=JobState.SET_ASIDE, reason=f"replaced by revision {revision}, which has more images", ended=now
            )
        )  # fmt: skip
        for each in planned:
            state = JobState.SET_ASIDE if each.set_aside else JobState.WAITING
            connection.execute(insert(jobs).values(
                study_uid=study.study_uid, revision=revision, route=each.route, state=state, reason=each.set_aside,
                images=study.images, expected=study.expected, attempts=0, set_at=now, due=now, fence=0, created=now,
                ended=now if each.set_aside else None,
            ))  # fmt: skip
        record(
            connection, now, "study_complete", True,
            study=study.study_uid, revision=revision, images=study.images, reason=reason,
        )  # fmt: skip
    return True
