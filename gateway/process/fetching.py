"""`swinunet gateway fetch`: a study from a peer to the gateway that runs, without a rule of the PACS."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

from swinunet.foundation.errors import InputError, PeerError
from swinunet.gateway.config.peers import DimsePeer, FolderPeer, ListenerConfig, WebPeer
from swinunet.gateway.config.secrets import read_secret
from swinunet.gateway.config.settings import GatewayConfig
from swinunet.gateway.contract import Answer, ReceivedInstance, Sender
from swinunet.gateway.ledger.audit import record
from swinunet.gateway.ledger.clock import Clock
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.network.dimse.association import DimseAddress, DimseTimeouts
from swinunet.gateway.network.dimse.listener import is_allowed
from swinunet.gateway.network.dimse.sender import send_by_dimse
from swinunet.gateway.network.peers import Peers
from swinunet.gateway.network.tls import client_context

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # addresses to listen at, none to connect to


class _Collected:
    """An intake that leaves each instance where it is."""

    def __init__(self) -> None:
        self.paths: list[Path] = []
        self._lock = threading.Lock()

    def refusal(self) -> Answer | None:
        return None

    def accept(self, instance: ReceivedInstance, sender: Sender) -> Answer:
        with self._lock:
            self.paths.append(instance.path)
        return Answer.STORED

    def association_ended(self, sender: Sender) -> None:
        """Nothing waits for it."""


def fetch_study(config: GatewayConfig, ledger: Ledger, source: str, study_uid: str) -> str:
    """Bring a study of the peer `source` to the running gateway; what was done, in one sentence.

    A DIMSE peer that knows our AE title sends the study itself (C-MOVE); else it is taken by C-GET, or by WADO-RS, and
    handed to our listener, which must be running. ledger: the gateway's, which notes for the audit trail what was asked
    and what came of it. Raises InputError and PeerError.
    """
    peer = _peer(config, source)
    if config.listener is None:
        raise InputError("fetch hands studies to the gateway's listener, and none is configured; set [listener]")
    try:
        said, instances = _fetched(config, config.listener, peer, study_uid)
    except PeerError as error:
        _note(ledger, source, study_uid, False, reason=str(error))
        raise
    _note(ledger, source, study_uid, True, instances=instances)
    return said


def _note(ledger: Ledger, source: str, study_uid: str, success: bool, **details: object) -> None:
    with ledger.write() as connection:
        record(connection, Clock().wall(), "fetch", success, peer=source, study=study_uid, **details)


def _fetched(
    config: GatewayConfig, listener: ListenerConfig, peer: DimsePeer | WebPeer, study_uid: str
) -> tuple[str, int]:
    """What was done, and how many instances came. Raises PeerError if not all did."""
    source, peers = peer.name, Peers(listener.ae_title, read_secret)
    if isinstance(peer, DimsePeer):
        moved = peers.move(peer, study_uid)
        if moved is not None:
            if moved.not_taken or not moved.taken:
                raise PeerError(f"{source}: it sent {moved.taken} instances of the study and could not send "
                                f"{moved.not_taken}; is the gateway running?")  # fmt: skip
            return f"{source} has sent {moved.taken} instances", moved.taken
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=config.spool) as folder:
        collected = _Collected()
        peers.fetch(peer, study_uid, collected, Path(folder))
        if not collected.paths:
            raise PeerError(f"{source}: it holds no instance of such a study")
        outcomes = send_by_dimse(_our_address(listener), _calling_ae(listener, peer), DimseTimeouts(), collected.paths)
    left = [outcome for outcome in outcomes if not outcome.accepted]
    if left:
        raise PeerError(f"our gateway took {len(outcomes) - len(left)} of {len(outcomes)} instances: {left[0].words}")
    return f"{source} gave {len(outcomes)} instances", len(outcomes)


def _peer(config: GatewayConfig, name: str) -> DimsePeer | WebPeer:
    names = ", ".join(peer.name for peer in config.peers if not isinstance(peer, FolderPeer)) or "none"
    try:
        peer = config.peer(name)
    except KeyError:
        raise InputError(f"there is no peer {name!r}; the peers that can be asked are: {names}") from None
    if isinstance(peer, FolderPeer):
        raise InputError(f"peer {name!r} is a folder; the peers that can be asked are: {names}")
    return peer


def _our_address(listener: ListenerConfig) -> DimseAddress:
    tls = client_context(listener.tls) if listener.tls else None
    return DimseAddress(listener.ae_title, _ANY.get(listener.host, listener.host), listener.port, tls)


def _calling_ae(listener: ListenerConfig, peer: DimsePeer | WebPeer) -> str:
    """The PACS's own AE title, by which routes choose, where our listener lets it in from here; else our own."""
    if isinstance(peer, DimsePeer) and is_allowed(listener.allow, peer.called_ae, _our_address(listener).host):
        return peer.called_ae
    return listener.ae_title
