"""Brings results to one destination: in order, again and again until they are taken, whatever others do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from pydicom.uid import generate_uid
from sqlalchemy import select

from swinunet.gateway.config.peers import FolderPeer, Peer
from swinunet.gateway.config.settings import DeliveringConfig
from swinunet.gateway.contract import Reference, SendOutcome
from swinunet.gateway.delivering.backoff import is_too_old, retry_after_s
from swinunet.gateway.delivering.folders import copy_results
from swinunet.gateway.ledger.clock import Clock
from swinunet.gateway.ledger.commitments import lease_commitment, note_asked
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.ledger.deliveries import (
    LeasedDelivery,
    any_delivery_due,
    end_delivery,
    lease_deliveries,
    put_off_delivery,
    replace_by_twins,
)
from swinunet.gateway.ledger.schema import jobs
from swinunet.gateway.looping import Looping
from swinunet.gateway.names import shown_uid
from swinunet.gateway.spool import Spool

SendFiles = Callable[[Peer, Sequence[Path]], Sequence[SendOutcome]]  # an outcome for each file
AskCommitment = Callable[[Peer, str, Sequence[Reference]], SendOutcome]  # peer, transaction UID, what it should keep
_log = logging.getLogger(__name__)
_LOOK_S = 0.1


class Deliverer:
    """One destination's thread. send, ask: the network's; a folder needs neither."""

    def __init__(
        self,
        peer: Peer,
        config: DeliveringConfig,
        spool: Spool,
        ledger: Ledger,
        owner: str,
        send: SendFiles,
        ask: AskCommitment,
        *,
        webhook: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._peer, self._config, self._spool, self._ledger = peer, config, spool, ledger
        self._owner, self._send, self._ask = owner, send, ask
        self._webhook, self._clock = webhook, clock or Clock()
        self._commits = peer.kind == "dimse" and peer.commitment
        self._loop = Looping(f"deliver-{peer.name}", self._look, _LOOK_S)

    def start(self) -> None:
        """Begin to deliver."""
        self._loop.start()

    def stop(self) -> None:
        """End when what is being sent is sent."""
        self._loop.stop()

    def _look(self) -> None:
        self._loop.while_some(self.deliver_next)
        if self._commits:
            self.ask_next()

    def deliver_next(self) -> bool:
        """Send what is due of one job; False if nothing is."""
        if not any_delivery_due(self._ledger, self._peer.name, self._clock.wall()):
            return False
        leased = lease_deliveries(self._ledger, self._peer.name, self._owner, self._clock.wall())
        if not leased:
            return False
        try:
            outcomes = self._sent(leased)
        except Exception as error:  # of the network's code; to be tried again like any other failure
            words = f"unexpected {type(error).__name__}"
            outcomes = [SendOutcome(False, True, False, None, words)] * len(leased)
        for delivery, outcome in zip(leased, outcomes, strict=True):
            self._note(delivery, outcome)
        return True

    def ask_next(self) -> None:
        """Ask for the commitment that is due, if there is one."""
        now = self._clock.wall()
        commitment = lease_commitment(self._ledger, self._peer.name, self._owner, now, str(generate_uid()))
        if commitment is None:
            return
        outcome = self._ask(self._peer, commitment.transaction_uid, commitment.references)
        wait_s = retry_after_s(self._config, commitment.attempts)
        if outcome.accepted:
            wait_s = self._config.commitment_wait_s
        else:
            _log.warning("%s was not asked to commit: %s", self._peer.name, outcome.words)
        note_asked(self._ledger, commitment, outcome.accepted, outcome.words, self._clock.wall(), wait_s)

    def _sent(self, leased: Sequence[LeasedDelivery]) -> Sequence[SendOutcome]:
        files = [self._spool.root / each.file for each in leased]
        if gone := [file for file in files if not file.exists()]:
            return [SendOutcome(False, False, False, None, f"{len(gone)} results are no longer here")] * len(leased)
        if isinstance(self._peer, FolderPeer):
            return [copy_results(files[0], self._peer.folder, self._folder_name(leased[0].job_id))]
        return self._send(self._peer, files)

    def _folder_name(self, job_id: int) -> str:
        with self._ledger.read() as connection:
            row = connection.execute(select(jobs).where(jobs.c.id == job_id)).one()
        return f"{shown_uid(row.study_uid)}-revision{row.revision}-{row.model}-job{row.id}"

    def _note(self, delivery: LeasedDelivery, outcome: SendOutcome) -> None:
        """Write down what became of a delivery: arrived, to be tried again, replaced by its twin, or given up."""
        now, name = self._clock.wall(), self._peer.name
        if outcome.accepted:
            uid = str(generate_uid()) if self._commits else None
            if end_delivery(self._ledger, delivery, True, "", now, ask_commitment=uid, webhook=self._webhook):
                _log.info("job %d: %s delivered to %s", delivery.job_id, delivery.kind, name)
            return
        if outcome.sop_class_refused and replace_by_twins(self._ledger, delivery, outcome.words, now):
            _log.info("job %d: %s takes no label map, the binary segmentation goes there", delivery.job_id, name)
            return
        if outcome.retry and not is_too_old(self._config, delivery.attempts, delivery.first_tried, now):
            delay_s = retry_after_s(self._config, delivery.attempts)
            put_off_delivery(self._ledger, delivery, outcome.words, now, delay_s)
            _log.warning(
                "job %d: %s: %s; tried again in %.0f s", delivery.job_id, name, outcome.words, delay_s
            )  # fmt: skip
            return
        end_delivery(self._ledger, delivery, False, outcome.words, now, webhook=self._webhook)
        _log.error("job %d: %s not delivered to %s: %s", delivery.job_id, delivery.kind, name, outcome.words)
