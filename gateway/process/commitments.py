"""Storage commitment in both directions, kept in the ledger: `contract.Commitments`."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence

from swinunet.gateway.config.peers import DimsePeer, Peer
from swinunet.gateway.contract import CommitmentReport, Reference, Sender, SendOutcome
from swinunet.gateway.ledger.clock import Clock
from swinunet.gateway.ledger.commitments import held_by_us, take_report
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.ledger.outbox import post

ReportCommitment = Callable[[DimsePeer, CommitmentReport], SendOutcome]
_NOT_HERE = 0x0112  # No such object instance (PS3.3 C.14.1.1)
_log = logging.getLogger(__name__)


class LedgerCommitments:
    """Requests of peers go to the outbox and are answered from there; reports of peers go to the ledger."""

    def __init__(
        self, ledger: Ledger, peers: Sequence[Peer], report: ReportCommitment, clock: Clock | None = None
    ) -> None:
        self._ledger, self._report, self._clock = ledger, report, clock or Clock()
        self._peers: Mapping[str, DimsePeer] = {
            peer.called_ae: peer for peer in peers if isinstance(peer, DimsePeer)
        }  # fmt: skip

    def requested(self, transaction_uid: str, references: Sequence[Reference], sender: Sender) -> bool:
        """Note that a peer wants to know whether we hold instances; False if we could not tell it."""
        if sender.name not in self._peers:
            _log.warning("%s asks for a commitment and is no peer of ours; add it to [[peers]]", sender.name)
            return False
        payload: dict[str, object] = {
            "transaction": transaction_uid,
            "peer": sender.name,
            "references": [[each.sop_class_uid, each.sop_instance_uid] for each in references],
        }
        try:
            with self._ledger.write() as connection:
                post(connection, "commitment_report", payload, self._clock.wall())
        except Exception as error:
            _log.error("a commitment request could not be noted (%s)", type(error).__name__)
            return False
        return True

    def reported(self, report: CommitmentReport, sender: Sender) -> bool:
        """Note what a peer says of our results; False if we know no such transaction."""
        try:
            known = take_report(self._ledger, report, self._clock.wall())
        except Exception as error:
            _log.error("a commitment report could not be noted (%s)", type(error).__name__)
            return False
        if report.failed:
            _log.warning("%s does not hold %d results; they are sent again", sender.name, len(report.failed))
        return known

    def send_report(self, payload: str) -> SendOutcome:
        """Tell a peer which of the instances that it asked for we hold: the outbox's sender."""
        asked = json.loads(payload)
        peer = self._peers.get(asked["peer"])
        if peer is None:
            return SendOutcome(False, False, False, None, "the peer is not configured any more")
        references = [Reference(*each) for each in asked["references"]]
        held = held_by_us(self._ledger, references)
        report = CommitmentReport(
            asked["transaction"],
            tuple(each for each in references if each.sop_instance_uid in held),
            {each: _NOT_HERE for each in references if each.sop_instance_uid not in held},
        )
        return self._report(peer, report)
