"""Instances that were received, written down many at a time, and what they mean for their study and series."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, case, delete

from swinunet.gateway.contract import Sender
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.ledger.schema import (
    InstanceKind,
    StudyState,
    instances,
    open_associations,
    series,
    studies,
)


@dataclass(frozen=True)
class NewInstance:
    """An instance whose file is in its place on the disk. file: below the spool. modality, description: its series'."""

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    study_uid: str
    series_uid: str
    kind: InstanceKind
    modality: str
    description: str
    file: str
    bytes: int
    sender: Sender
    received: float


def record_received(ledger: Ledger, arrived: Sequence[NewInstance], owner: str) -> list[bool]:
    """Write down instances in one transaction. Returns for each whether it is new: False is a copy of one that is held.

    A copy of an image whose local file went counts as new: whoever sends it again wants it segmented again.
    """
    first: dict[str, NewInstance] = {}
    for each in arrived:
        first.setdefault(each.sop_instance_uid, each)
    with ledger.write() as connection:
        new = _insert(ledger, connection, first.values())
        images = [each for each in arrived if each.kind is InstanceKind.IMAGE]
        taken = {id(first[uid]) for uid in new}
        _update_studies(ledger, connection, arrived, taken)
        if images:
            _update_series(ledger, connection, images, taken)
            _note_associations(ledger, connection, images, owner)
    return [id(each) in taken for each in arrived]


def end_association(ledger: Ledger, association: str) -> None:
    """Note that an association has ended."""
    with ledger.write() as connection:
        connection.execute(delete(open_associations).where(open_associations.c.association == association))


def _insert(ledger: Ledger, connection: Connection, arrived: Iterable[NewInstance]) -> set[str]:
    """The SOP Instance UIDs of those that were not there."""
    statement = ledger.insert(instances)
    statement = statement.on_conflict_do_update(
        index_elements=[instances.c.sop_instance_uid],
        set_={
            name: statement.excluded[name]
            for name in ("file", "bytes", "received", "revision", "sender_kind", "sender_name", "sender_address")
        },
        where=instances.c.file == "",
    ).returning(instances.c.sop_instance_uid)
    rows = [
        {
            "sop_instance_uid": each.sop_instance_uid,
            "sop_class_uid": each.sop_class_uid,
            "transfer_syntax_uid": each.transfer_syntax_uid,
            "study_uid": each.study_uid,
            "series_uid": each.series_uid,
            "kind": each.kind.value,
            "sender_kind": each.sender.kind,
            "sender_name": each.sender.name[:64],
            "sender_address": each.sender.address[:64],
            "file": each.file,
            "bytes": each.bytes,
            "received": each.received,
            "revision": None,
        }
        for each in arrived
    ]
    return set(connection.execute(statement, rows).scalars())


def _update_studies(ledger: Ledger, connection: Connection, arrived: Sequence[NewInstance], taken: set[int]) -> None:
    """A new image makes its study receive (again); a copy of one shows that its sender is not done."""
    statement = ledger.insert(studies)
    added = statement.excluded
    begins_again = (added.images > 0) & (studies.c.state == StudyState.COMPLETE)
    statement = statement.on_conflict_do_update(
        index_elements=[studies.c.study_uid],
        set_={
            "state": case((added.images > 0, StudyState.RECEIVING.value), else_=studies.c.state),
            "activity": studies.c.activity + added.activity,
            "images": studies.c.images + added.images,
            "expected": case((begins_again, None), else_=studies.c.expected),
            "first_received": case((begins_again, added.first_received), else_=studies.c.first_received),
            "last_received": case((added.activity > 0, added.last_received), else_=studies.c.last_received),
        },
    )
    rows = []
    for uid, members in _grouped(arrived, "study_uid").items():
        images = [each for each in members if each.kind is InstanceKind.IMAGE]
        rows.append(
            {
                "study_uid": uid,
                "state": (StudyState.RECEIVING if images else StudyState.COMPLETE).value,
                "revision": 0,
                "activity": len(images),
                "images": sum(id(each) in taken for each in images),
                "expected": None,
                "first_received": members[0].received,
                "last_received": members[-1].received,
                "reason": "" if images else "it holds no images",
            }
        )
    connection.execute(statement, rows)


def _update_series(ledger: Ledger, connection: Connection, images: Sequence[NewInstance], taken: set[int]) -> None:
    statement = ledger.insert(series)
    added = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=[series.c.series_uid],
        set_={
            "activity": series.c.activity + added.activity,
            "images": series.c.images + added.images,
            "last_received": added.last_received,
        },
    )
    rows = [
        {
            "series_uid": uid,
            "study_uid": members[0].study_uid,
            "modality": members[0].modality[:16],
            "description": members[0].description[:128],
            "activity": len(members),
            "images": sum(id(each) in taken for each in members),
            "last_received": members[-1].received,
        }
        for uid, members in _grouped(images, "series_uid").items()
    ]
    connection.execute(statement, rows)


def _note_associations(ledger: Ledger, connection: Connection, images: Sequence[NewInstance], owner: str) -> None:
    pairs = {(each.sender.association, each.study_uid) for each in images if each.sender.association}
    if pairs:
        rows = [{"association": name, "study_uid": uid, "owner": owner} for name, uid in sorted(pairs)]
        connection.execute(ledger.insert(open_associations).on_conflict_do_nothing(), rows)


def _grouped(arrived: Sequence[NewInstance], attribute: str) -> dict[str, list[NewInstance]]:
    """In the order of the UIDs, in which all transactions lock rows."""
    found: dict[str, list[NewInstance]] = {}
    for each in sorted(arrived, key=lambda one: str(getattr(one, attribute))):
        found.setdefault(getattr(each, attribute), []).append(each)
    return found
