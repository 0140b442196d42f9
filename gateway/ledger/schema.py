"""Tables of the ledger. Times are seconds since 1970 by the wall clock; UIDs are as DICOM has them.

Wall clocks are set back and forward. Nothing waits for a time alone: what is to be tried again has `set_at` beside
`due`, and a clock that shows less than `set_at` makes it due; owners are judged by whether their `beat` still changes.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

VERSION = 1  # of this schema; migrations.py brings older ones here
metadata = MetaData()


class InstanceKind(StrEnum):
    """What an instance is to us. Only images are segmented, and only they make a study wait."""

    IMAGE = "image"
    SEGMENTATION = "segmentation"  # somebody's: SEG, label map, surface, RT structure set
    OWN_RESULT = "own_result"  # ours, coming back
    OTHER = "other"  # reports, presentation states, key objects, waveforms


class StudyState(StrEnum):
    """Whether more images are expected."""

    RECEIVING = "receiving"
    COMPLETE = "complete"


class JobState(StrEnum):
    """Where a job is. `done`, `refused`, `failed` and `set_aside` are ends; `retry` takes a job back to `waiting`."""

    WAITING = "waiting"
    RUNNING = "running"
    DELIVERING = "delivering"
    DONE = "done"
    REFUSED = "refused"  # no model reads it; the reason is the verdict
    FAILED = "failed"  # after all attempts
    SET_ASIDE = "set_aside"  # by a rule or a person: no route, replaced by a later revision


class DeliveryState(StrEnum):
    """Where a result is on its way to one destination."""

    WAITING = "waiting"
    SENDING = "sending"
    DELIVERED = "delivered"
    REPLACED = "replaced"  # the destination takes no label maps: its binary twin goes in its place
    FAILED = "failed"  # refused for good, or not taken for too long


class CommitmentState(StrEnum):
    """Whether a destination has promised to keep the results of a job (PS3.4 Annex J)."""

    TO_ASK = "to_ask"
    ASKED = "asked"
    COMMITTED = "committed"
    FAILED = "failed"


_UID = String(64)

ledger_facts = Table(
    "ledger_facts",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", Text, nullable=False),
)

owners = Table(  # processes that hold leases; one whose beat stands still is dead
    "owners",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("beat", Integer, nullable=False),
    Column("started", Float, nullable=False),
)

studies = Table(
    "studies",
    metadata,
    Column("study_uid", _UID, primary_key=True),
    Column("state", String(16), nullable=False),
    Column("revision", Integer, nullable=False),  # complete so many times; 0: not yet
    Column("activity", Integer, nullable=False),  # grows with each image that arrives, copies included
    Column("images", Integer, nullable=False),
    Column("expected", Integer),  # images that a PACS says it has
    Column("first_received", Float, nullable=False),  # of this revision
    Column("last_received", Float, nullable=False),
    Column("reason", Text, nullable=False),  # why it is complete
    Index("studies_by_state", "state"),
)

series = Table(
    "series",
    metadata,
    Column("series_uid", _UID, primary_key=True),
    Column("study_uid", _UID, nullable=False, index=True),
    Column("modality", String(16), nullable=False),
    Column("description", String(128), nullable=False),
    Column("activity", Integer, nullable=False),
    Column("images", Integer, nullable=False),
    Column("last_received", Float, nullable=False),
)

instances = Table(
    "instances",
    metadata,
    Column("sop_instance_uid", _UID, primary_key=True),
    Column("sop_class_uid", _UID, nullable=False),
    Column("transfer_syntax_uid", _UID, nullable=False),
    Column("study_uid", _UID, nullable=False),
    Column("series_uid", _UID, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("sender_kind", String(8), nullable=False),
    Column("sender_name", String(64), nullable=False),
    Column("sender_address", String(64), nullable=False),
    Column("file", Text, nullable=False),  # below the spool; empty once the local copy went
    Column("bytes", Integer, nullable=False),
    Column("received", Float, nullable=False),
    Column("revision", Integer),  # of the study, that it is first part of; None until that is complete
    Index("instances_by_study", "study_uid", "revision"),
)

open_associations = Table(  # those that have brought images of a study and have not ended
    "open_associations",
    metadata,
    Column("association", String(64), primary_key=True),
    Column("study_uid", _UID, primary_key=True),
    Column("owner", String(64), nullable=False, index=True),
)

jobs = Table(  # without a model: to be given to the models whose rules take it
    "jobs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_uid", _UID, nullable=False, index=True),
    Column("series_uid", String(80)),  # as `Series.selector` has it
    Column("revision", Integer, nullable=False),
    Column("route", String(64), nullable=False),
    Column("model", String(128)),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("images", Integer, nullable=False),  # that it is made from
    Column("expected", Integer),
    Column("attempts", Integer, nullable=False),
    Column("set_at", Float, nullable=False),
    Column("due", Float, nullable=False),
    Column("owner", String(64)),
    Column("fence", Integer, nullable=False),  # grows with each lease; a change wants the one it was leased with
    Column("created", Float, nullable=False),
    Column("started", Float),
    Column("ended", Float),
    Column("folder", Text),  # of its results, below the spool; None once they went
    Index("jobs_by_state", "state", "due"),
)

results = Table(
    "results",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("kind", String(16), nullable=False),  # seg, sr; folder: all there is
    Column("position", Integer, nullable=False),  # an object is sent after those that it refers to
    Column("sop_class_uid", _UID),
    Column("sop_instance_uid", _UID, index=True),
    Column("file", Text, nullable=False),  # below the spool
    Column("twin", Boolean, nullable=False),  # for destinations that take no label maps
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("result_id", ForeignKey("results.id", ondelete="CASCADE"), nullable=False),
    Column("destination", String(64), nullable=False),
    Column("position", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("set_at", Float, nullable=False),
    Column("due", Float, nullable=False),
    Column("first_tried", Float),
    Column("owner", String(64)),
    Column("fence", Integer, nullable=False),
    Column("ended", Float),
    Column("reason", Text, nullable=False),
    UniqueConstraint("result_id", "destination"),
    Index("deliveries_by_state", "destination", "state", "due"),
)

commitments = Table(
    "commitments",
    metadata,
    Column("transaction_uid", _UID, primary_key=True),
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("destination", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("set_at", Float, nullable=False),
    Column("due", Float, nullable=False),
    Column("owner", String(64)),
    Column("fence", Integer, nullable=False),
    Column("reason", Text, nullable=False),
)

outbox = Table(  # messages to be sent: webhook, commitment_report
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("payload", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("set_at", Float, nullable=False),
    Column("due", Float, nullable=False),
    Column("owner", String(64)),
    Column("fence", Integer, nullable=False),
    Column("created", Float, nullable=False),
    Column("sent", Float),
    Column("given_up", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Float, nullable=False),
    Column("event", String(32), nullable=False),
    Column("success", Boolean, nullable=False),
    Column("details", Text, nullable=False),  # JSON; UIDs and names of nodes, nothing of the patient
    Column("written", Boolean, nullable=False, index=True),  # to the audit trail
)
