"""The network as the rest of the gateway uses it: one call for each purpose, whatever kind a peer is of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from swinunet.foundation.errors import PeerError
from swinunet.gateway.config.peers import DimsePeer, Peer
from swinunet.gateway.config.settings import GatewayConfig
from swinunet.gateway.contract import (
    CommitmentReport,
    Commitments,
    Intake,
    Part,
    Reference,
    SendOutcome,
    SeriesCount,
)


class Network:
    """The peers of a configuration, and the servers that they reach us at."""

    def __init__(self, config: GatewayConfig) -> None:
        self._config = config

    def check(self) -> None:
        """Raise InputError for certificates, keys and tokens that cannot be used, before anything starts."""

    def servers(self, intake: Intake, commitments: Commitments, incoming: Path) -> Iterator[Part]:
        """What listens, not yet started. incoming: where what is being received is written."""
        yield from ()

    def send(self, peer: Peer, files: Sequence[Path]) -> Sequence[SendOutcome]:
        """Send DICOM files; an outcome for each."""
        return [SendOutcome(False, True, False, None, "sending is not there yet") for _ in files]

    def ask(self, peer: Peer, transaction_uid: str, references: Sequence[Reference]) -> SendOutcome:
        """Ask a peer to commit to instances."""
        return SendOutcome(False, True, False, None, "asking is not there yet")

    def report(self, peer: DimsePeer, report: CommitmentReport) -> SendOutcome:
        """Tell a peer what of its request we hold."""
        return SendOutcome(False, True, False, None, "reporting is not there yet")

    def send_webhook(self, payload: str) -> SendOutcome:
        """Tell the webhook."""
        return SendOutcome(False, True, False, None, "webhooks are not there yet")

    def count(self, peer: str, study_uid: str) -> Sequence[SeriesCount]:
        """Ask a peer for the series of a study. Raises PeerError."""
        raise PeerError("counting is not there yet")
