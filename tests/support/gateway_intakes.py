"""Stand-ins for the ledger behind the gateway's network: they keep what they are given, and answer as they are told."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence

from swinunet.gateway.contract import Answer, CommitmentReport, ReceivedInstance, Reference, Sender


class KeepingIntake:
    """Takes every instance. answer: to each; refuses: before its bytes are read; delay_s: as of a slow disk."""

    def __init__(self, answer: Answer = Answer.STORED, refuses: Answer | None = None, delay_s: float = 0.0) -> None:
        self.answer, self.refuses, self.delay_s = answer, refuses, delay_s
        self.instances: list[ReceivedInstance] = []
        self.senders: list[Sender] = []
        self.ended: list[Sender] = []
        self._lock = threading.Lock()

    def refusal(self) -> Answer | None:
        return self.refuses

    def accept(self, instance: ReceivedInstance, sender: Sender) -> Answer:
        time.sleep(self.delay_s)
        with self._lock:
            self.instances.append(instance)
            self.senders.append(sender)
        if not instance.sop_instance_uid:
            instance.path.unlink()
            return Answer.INVALID
        return self.answer

    def association_ended(self, sender: Sender) -> None:
        with self._lock:
            self.ended.append(sender)

    @property
    def uids(self) -> Counter[str]:
        return Counter(instance.sop_instance_uid for instance in self.instances)


class KeepingCommitments:
    """Notes what is asked and reported. answer: to each."""

    def __init__(self, answer: bool = True) -> None:
        self.answer = answer
        self.requests: list[tuple[str, list[Reference], Sender]] = []
        self.reports: list[tuple[CommitmentReport, Sender]] = []

    def requested(self, transaction_uid: str, references: Sequence[Reference], sender: Sender) -> bool:
        self.requests.append((transaction_uid, list(references), sender))
        return self.answer

    def reported(self, report: CommitmentReport, sender: Sender) -> bool:
        self.reports.append((report, sender))
        return self.answer
