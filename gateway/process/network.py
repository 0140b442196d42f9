"""The network as the rest of the gateway uses it: one call for each purpose, whatever kind a peer is of."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from starlette.routing import BaseRoute

from swinunet.foundation.errors import InputError, PeerError, SwinUNetError
from swinunet.foundation.loopback import is_loopback
from swinunet.gateway.config.peers import DimsePeer, FolderPeer, Peer
from swinunet.gateway.config.secrets import read_secret
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
from swinunet.gateway.network import outcomes
from swinunet.gateway.network.dimse.listener import DicomListener
from swinunet.gateway.network.exposure import exposure_warning
from swinunet.gateway.network.peers import Peers
from swinunet.gateway.network.tls import client_context, server_context
from swinunet.gateway.network.web.http_client import HttpTimeouts, WebAddress
from swinunet.gateway.network.web.server import WebServer, behind_token
from swinunet.gateway.network.web.stow import StowServer
from swinunet.gateway.network.web.webhook import post_webhook

_log = logging.getLogger(__name__)
_DEFAULT_AE = "SWINUNET"  # what we call ourselves where nothing listens


class Network:
    """The peers of a configuration, and the servers that they reach us at."""

    def __init__(self, config: GatewayConfig) -> None:
        self._config = config
        self._peers = Peers(config.listener.ae_title if config.listener else _DEFAULT_AE, read_secret)
        self._listener: DicomListener | None = None
        self._commitments: Commitments | None = None

    def association_count(self) -> int:
        """How many associations are open with us now."""
        return self._listener.association_count if self._listener else 0

    def check(self) -> None:
        """Raise InputError for certificates, keys and tokens that cannot be used, before anything starts."""
        for server in (self._config.listener, self._config.web):
            if server is not None and server.tls is not None:
                server_context(server.tls)
        for peer in self._config.peers:
            if not isinstance(peer, FolderPeer):
                self._peers.check(peer)
        web, webhook = self._config.web, self._config.webhook
        if web is not None and web.token_file is None and not is_loopback(web.host):
            raise InputError(f"web.host is {web.host}: other machines reach it; set web.token_file, or host 127.0.0.1")
        self.web_token()
        if webhook is not None:
            read_secret(webhook.secret_file)
            client_context()

    def web_token(self) -> str | None:
        """The bearer token of our web server, None for none. Raises InputError."""
        web = self._config.web
        return read_secret(web.token_file) if web is not None and web.token_file is not None else None

    def servers(
        self, intake: Intake, commitments: Commitments, incoming: Path, routes: Sequence[BaseRoute] = ()
    ) -> Iterator[Part]:
        """What listens, not yet started. incoming: where what is being received is written.

        routes: of the web server beside STOW-RS; they are served as they are, behind no token.
        """
        listener, web, self._commitments = self._config.listener, self._config.web, commitments
        if listener is not None:
            self._warn("the DICOM listener", listener.host, listener.port, listener.tls is not None)
            self._listener = DicomListener(listener, intake, commitments, incoming=incoming)
            yield self._listener
        if web is not None:
            self._warn("the web server", web.host, web.port, web.tls is not None)
            stow = behind_token(StowServer(intake, incoming).routes(), self.web_token())
            yield WebServer(web, [*stow, *routes])

    def send(self, peer: Peer, files: Sequence[Path]) -> Sequence[SendOutcome]:
        """Send DICOM files; an outcome for each."""
        if isinstance(peer, FolderPeer):
            return [outcomes.refused("a folder takes no files from the network") for _ in files]
        try:
            return self._peers.send(peer, files)
        except SwinUNetError as error:
            return [outcomes.unanswered(str(error)) for _ in files]

    def ask(self, peer: Peer, transaction_uid: str, references: Sequence[Reference]) -> SendOutcome:
        """Ask a peer to commit to instances."""
        if not isinstance(peer, DimsePeer):
            return outcomes.refused("storage commitment is asked of DIMSE peers only")
        try:
            reported = self._commitments.reported if self._commitments else None
            return self._peers.request_commitment(peer, transaction_uid, references, reported)
        except SwinUNetError as error:
            return outcomes.unanswered(str(error))

    def report(self, peer: DimsePeer, report: CommitmentReport) -> SendOutcome:
        """Tell a peer what of its request we hold."""
        try:
            return self._peers.report_commitment(peer, report)
        except SwinUNetError as error:
            return outcomes.unanswered(str(error))

    def send_webhook(self, payload: str) -> SendOutcome:
        """Tell the webhook."""
        webhook = self._config.webhook
        if webhook is None:
            return outcomes.refused("no webhook is configured any more")
        try:
            secret = read_secret(webhook.secret_file)
        except InputError as error:
            return outcomes.unanswered(str(error))
        timeouts = HttpTimeouts(connect=webhook.timeout_s, read=webhook.timeout_s)
        return post_webhook(WebAddress(webhook.url), timeouts, secret, payload)

    def count(self, peer: str, study_uid: str) -> Sequence[SeriesCount]:
        """Ask a peer for the series of a study. Raises PeerError, InputError."""
        found = self._config.peer(peer)
        if isinstance(found, FolderPeer):
            raise PeerError(f"{peer}: a folder cannot be asked")
        return self._peers.count(found, study_uid)

    def _warn(self, what: str, host: str, port: int, encrypted: bool) -> None:
        if words := exposure_warning(what, host, port, encrypted=encrypted):
            _log.warning(words)
