"""What the parts of the gateway say to each other: `network` speaks to peers, everything else keeps the ledger.

The network knows no ledger. Its servers write each instance to a file in the spool's folder of incoming files and call
`Intake.accept`; only what that answers goes back to the peer. Its senders take files and say what the peer answered.
Every long-running part has `start()` and `stop()`: `start` returns when it runs (ports bound) or raises one of the
errors of foundation/errors.py; `stop` returns when its threads are gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Literal, Protocol

SenderKind = Literal["dimse", "stow", "pull", "folder"]


@dataclass(frozen=True)
class Sender:
    """Who sends instances to us. name: its AE title, or the name of its token, or of the configured peer.

    address: its IP address, empty for a folder. association: unique for each DIMSE association or HTTP request.
    """

    kind: SenderKind
    name: str
    address: str
    association: str


@dataclass(frozen=True)
class ReceivedInstance:
    """One instance that arrived whole. The UIDs are the data set's own, not those of the C-STORE command.

    path: a complete DICOM file (PS3.10, with preamble and File Meta Information) in the spool's folder of incoming
    files, closed, not yet synced; from now on the intake's: it moves or removes it, whatever it answers.
    Empty UIDs: the data set lacks them; the intake answers INVALID.
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    path: Path


class Answer(Enum):
    """What a sender is told of an instance; `dimse`: Status of the C-STORE response (PS3.4 B.2.3), `http`: PS3.18.

    Both successes mean: on the disk, synced, and in the ledger.
    """

    STORED = (0x0000, 200)
    DUPLICATE = (0x0000, 200)  # stored before; told as a success
    INVALID = (0xA900, 409)  # data set does not match SOP class, or cannot be used
    OUT_OF_SPACE = (0xA700, 507)
    FAILED = (0xC000, 500)  # of our own: the sender may try again

    def __new__(cls, dimse: int, http: int) -> Answer:
        """A member of its own for each line, be the numbers the same."""
        member = object.__new__(cls)
        member._value_ = len(cls.__members__)
        return member

    def __init__(self, dimse: int, http: int) -> None:
        self.dimse, self.http = dimse, http

    @property
    def is_success(self) -> bool:
        """Whether the sender may forget the instance."""
        return self.dimse == 0x0000


class Part(Protocol):
    """Something that runs for as long as the gateway does."""

    def start(self) -> None:
        """Return when it runs."""

    def stop(self) -> None:
        """Return when its threads are gone."""


class Intake(Protocol):
    """Where received instances go. Safe to call from any thread; never raises."""

    def refusal(self) -> Answer | None:
        """Why no instance can be taken now (OUT_OF_SPACE, FAILED), before its bytes are read; None while they can."""
        ...

    def accept(self, instance: ReceivedInstance, sender: Sender) -> Answer:
        """Take one instance; returns when the answer is true, so this is where the sender waits for the disk."""
        ...

    def association_ended(self, sender: Sender) -> None:
        """The association, or the request, has ended, in whatever way; called once for each."""
        ...


@dataclass(frozen=True)
class Reference:
    """An instance by its UIDs (PS3.3 10.8)."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True)
class CommitmentReport:
    """What an N-EVENT-REPORT of the Storage Commitment Push Model says (PS3.4 J.3.3).

    failed: Failure Reason by SOP Instance UID, 0x0112 for an instance that is not there.
    """

    transaction_uid: str
    committed: tuple[Reference, ...]
    failed: Mapping[Reference, int]


class Commitments(Protocol):
    """Storage commitment in both directions. Safe to call from any thread; never raises."""

    def requested(self, transaction_uid: str, references: Sequence[Reference], sender: Sender) -> bool:
        """A peer asks whether we hold instances (N-ACTION); True: noted durably, the report is sent later by us."""
        ...

    def reported(self, report: CommitmentReport, sender: Sender) -> bool:
        """A peer reports on what we asked (N-EVENT-REPORT); False: we know no such transaction."""
        ...


@dataclass(frozen=True)
class SeriesCount:
    """What a peer says of a series of a study (C-FIND or QIDO-RS). instances: None where it does not say."""

    series_uid: str
    modality: str
    instances: int | None


@dataclass(frozen=True)
class SendOutcome:
    """What became of one file or message that was sent.

    accepted: the peer has it (warnings, 0xB000 to 0xBFFF, count). retry: it may succeed later (nobody there, timed out,
    out of resources). sop_class_refused: the peer takes no objects of this SOP class, or of no offered transfer syntax.
    status: the DIMSE or HTTP status, None if there was none. words: one line for the log, without patient data.
    """

    accepted: bool
    retry: bool
    sop_class_refused: bool
    status: int | None
    words: str
