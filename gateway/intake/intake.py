"""The intake: an instance gets its success when its file is synced and the ledger has its row, and not before."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sqlalchemy import select

from swinunet.foundation.errors import InputError
from swinunet.gateway.config.settings import DiskConfig
from swinunet.gateway.contract import Answer, ReceivedInstance, Sender
from swinunet.gateway.intake.group_commit import GroupCommit
from swinunet.gateway.intake.recognise import Header, read_header
from swinunet.gateway.intake.watermark import disk_room, shortage
from swinunet.gateway.ledger.audit import record
from swinunet.gateway.ledger.clock import Clock
from swinunet.gateway.ledger.database import Ledger, is_full
from swinunet.gateway.ledger.received import NewInstance, end_association
from swinunet.gateway.ledger.schema import instances
from swinunet.gateway.names import folder_of_uid, shown_uid
from swinunet.gateway.spool import Spool, make_synced, sync_file, sync_folder

_log = logging.getLogger(__name__)
_FULL = (errno.ENOSPC, errno.EDQUOT)


class DurableIntake:
    """`contract.Intake` on a spool and a ledger.

    on_answer: called with each answer and the bytes of the file, to be counted.
    """

    def __init__(
        self,
        spool: Spool,
        ledger: Ledger,
        disk: DiskConfig,
        owner: str,
        clock: Clock | None = None,
        on_answer: Callable[[Answer, Sender, int], None] = lambda answer, sender, size: None,
    ) -> None:
        self._spool, self._ledger, self._disk, self._owner = spool, ledger, disk, owner
        self._clock, self._on_answer = clock or Clock(), on_answer
        self._commit = GroupCommit(ledger, owner)
        self._draining = threading.Event()
        self._lock = threading.Lock()
        self._brought: dict[str, Counter[str]] = {}  # association -> images by study, for the audit trail

    def start(self) -> None:
        """Begin to accept."""
        self._commit.start()

    def stop(self) -> None:
        """Refuse what comes from now on, and return when what was being accepted is."""
        self._draining.set()
        self._commit.stop()

    def drain(self) -> None:
        """Refuse what comes from now on."""
        self._draining.set()

    def refusal(self) -> Answer | None:
        """Why no instance can be taken now; None while they can."""
        if self._draining.is_set():
            return Answer.OUT_OF_SPACE  # to a sender: try again later, or elsewhere
        try:
            short = shortage(disk_room(self._spool.root), self._disk.least_free_gb, self._disk.most_used_percent)
        except OSError:
            return Answer.FAILED
        return Answer.OUT_OF_SPACE if short else None

    def accept(self, instance: ReceivedInstance, sender: Sender) -> Answer:
        """Take one instance; what it answers is true when it returns."""
        size = 0
        try:
            size = instance.path.stat().st_size
            answer = self.refusal() or self._accept(instance, sender, size)
        except InputError as error:
            answer = self._say(Answer.INVALID, sender, f"a data set was refused: {error}")
        except Exception as error:
            full = is_full(error) or (isinstance(error, OSError) and error.errno in _FULL)
            words = f"an instance could not be stored ({type(error).__name__})"
            answer = self._say(Answer.OUT_OF_SPACE if full else Answer.FAILED, sender, words)
        with suppress(OSError):
            instance.path.unlink(missing_ok=True)
        self._on_answer(answer, sender, size)
        return answer

    def association_ended(self, sender: Sender) -> None:
        """The association, or the request, has ended; called once for each."""
        with self._lock:
            brought = self._brought.pop(sender.association, Counter())
        if not brought:
            return
        try:
            end_association(self._ledger, sender.association)
            with self._ledger.write() as connection:
                for study_uid, count in brought.items():
                    record(
                        connection, self._clock.wall(), "instances_received", True,
                        study=study_uid, instances=count, sender=sender.name, address=sender.address, by=sender.kind,
                    )  # fmt: skip
        except Exception as error:
            _log.error("the end of an association could not be noted (%s)", type(error).__name__)
        for study_uid, count in brought.items():
            _log.info("received %d instances of study %s from %s", count, shown_uid(study_uid), sender.name)

    def _accept(self, instance: ReceivedInstance, sender: Sender, size: int) -> Answer:
        header = read_header(instance.path)
        if instance.sop_class_uid and instance.sop_class_uid != header.sop_class_uid:
            raise InputError("its SOP class is not the one that was announced")
        target = self._place(instance.path, header)
        try:
            is_new = self._commit.write(self._row(instance, header, sender, target, size))
        except BaseException:
            self._remove_unless_known(target)
            raise
        if not is_new:
            with suppress(OSError):
                target.unlink()
        with self._lock:
            self._brought.setdefault(sender.association, Counter())[header.study_uid] += 1
        return Answer.STORED if is_new else Answer.DUPLICATE

    def _place(self, path: Path, header: Header) -> Path:
        """Link the file to its place, on the disk when this returns; the incoming name stays until the ledger has it.

        A start after a crash finds by the incoming name what the ledger may lack. Linked before it is synced, content
        and name go to the disk at once, where the file system's journal allows. Raises OSError.
        """
        folder = self._spool.study(header.study_uid) / folder_of_uid(header.series_uid)
        target = folder / path.name
        for attempt in (1, 2):
            make_synced(folder, self._spool.root)
            try:
                os.link(path, target)
            except FileNotFoundError:  # retention removed the folder, empty, in between
                if attempt == 2 or not path.exists():
                    raise
                continue
            try:
                sync_file(target)
                sync_folder(folder)
            except OSError:
                target.unlink(missing_ok=True)
                raise
            return target
        raise AssertionError("unreachable")

    def _row(self, instance: ReceivedInstance, header: Header, sender: Sender, target: Path, size: int) -> NewInstance:
        return NewInstance(
            header.sop_instance_uid,
            header.sop_class_uid,
            instance.transfer_syntax_uid,
            header.study_uid,
            header.series_uid,
            header.kind,
            header.modality,
            header.description,
            self._spool.relative(target),
            size,
            sender,
            self._clock.wall(),
        )

    def _remove_unless_known(self, target: Path) -> None:
        """After an error of the database, which may have committed before it failed to say so."""
        with suppress(Exception):
            if not self._is_known(target):
                target.unlink(missing_ok=True)

    def _is_known(self, target: Path) -> bool:
        return file_is_known(self._ledger, self._spool, target)

    def _say(self, answer: Answer, sender: Sender, words: str) -> Answer:
        _log.warning("%s; sender %s at %s was told 0x%04X", words, sender.name, sender.address or "-", answer.dimse)
        return answer


def file_is_known(ledger: Ledger, spool: Spool, path: Path) -> bool:
    """Whether a file of the spool stands in the ledger."""
    with ledger.read() as connection:
        asked = select(instances.c.sop_instance_uid).where(instances.c.file == spool.relative(path)).limit(1)
        return connection.scalar(asked) is not None


def remove_strangers(ledger: Ledger, spool: Spool) -> int:
    """Remove received files that the ledger does not know, as a kill in the midst of a removal leaves them.

    Safe beside intakes at work: what they have not written down yet has its incoming name still. Returns how many.
    """
    removed = 0
    for path in (spool.root / "instances").glob("*/*/*"):
        under_way = any((spool.root / "incoming").glob(f"*/{path.name}"))  # asked first: it goes after the row is there
        if not under_way and not file_is_known(ledger, spool, path):
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def remove_unfinished(ledger: Ledger, spool: Spool, owner: str) -> int:
    """Remove what an owner that is gone was receiving and had not told its sender; returns how many files.

    A file that is in its place already and not in the ledger goes, too.
    """
    folder, removed = spool.incoming(owner), 0
    for path in folder.glob("*"):
        for twin in (spool.root / "instances").glob(f"*/*/{path.name}"):
            if not file_is_known(ledger, spool, twin):
                twin.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        removed += 1
    with suppress(OSError):
        folder.rmdir()
    return removed
