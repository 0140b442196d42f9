"""One call for each purpose, whatever kind a configured peer is of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from requests.auth import HTTPBasicAuth

from swinunet.gateway.config.peers import DimsePeer, TlsFiles, WebPeer
from swinunet.gateway.contract import CommitmentReport, Intake, Reference, Sender, SendOutcome, SeriesCount
from swinunet.gateway.network.dimse import commitment
from swinunet.gateway.network.dimse.association import DimseAddress, DimseTimeouts
from swinunet.gateway.network.dimse.queries import count_by_find
from swinunet.gateway.network.dimse.retrieval import MoveDestinationUnknownError, fetch_by_get, fetch_by_move
from swinunet.gateway.network.dimse.sender import send_by_dimse
from swinunet.gateway.network.fetched import FetchedStudy
from swinunet.gateway.network.tls import client_context
from swinunet.gateway.network.web.http_client import HttpTimeouts, WebAddress
from swinunet.gateway.network.web.queries import count_by_qido
from swinunet.gateway.network.web.retrieval import fetch_by_wado
from swinunet.gateway.network.web.stow_client import send_by_stow

ReadSecret = Callable[[Path], str]


class Peers:
    """Speaks to peers for a gateway whose listener is called `our_ae`. read_secret: the content of a secret's file.

    Every method may raise InputError for files of the configuration (certificates, tokens) that cannot be used.
    """

    def __init__(self, our_ae: str, read_secret: ReadSecret) -> None:
        self._our_ae, self._read_secret = our_ae, read_secret

    def check(self, peer: DimsePeer | WebPeer) -> None:
        """Raise InputError for certificates, keys and secrets that cannot be used."""
        if isinstance(peer, DimsePeer):
            self._dimse(peer)
            return
        client_context(TlsFiles(ca=self._web(peer).ca))

    def send(self, peer: DimsePeer | WebPeer, files: Sequence[Path]) -> list[SendOutcome]:
        """Send DICOM files; an outcome for each, in their order."""
        if isinstance(peer, DimsePeer):
            return send_by_dimse(self._dimse(peer), self._calling(peer), _dimse_timeouts(peer), files)
        return send_by_stow(self._web(peer), HttpTimeouts(read=peer.timeout_s), files)

    def count(self, peer: DimsePeer | WebPeer, study_uid: str) -> list[SeriesCount]:
        """The series of a study as the peer knows them. Raises PeerError."""
        if isinstance(peer, DimsePeer):
            return count_by_find(self._dimse(peer), self._calling(peer), _dimse_timeouts(peer), study_uid)
        return count_by_qido(self._web(peer), HttpTimeouts(read=peer.timeout_s), study_uid)

    def fetch(self, peer: DimsePeer | WebPeer, study_uid: str, intake: Intake, incoming: Path) -> FetchedStudy:
        """Fetch a study to `intake`, by C-GET or WADO-RS. Raises PeerError."""
        if isinstance(peer, WebPeer):
            timeouts = HttpTimeouts(read=peer.timeout_s)
            return fetch_by_wado(self._web(peer), timeouts, study_uid, peer.name, intake, incoming)
        return fetch_by_get(
            self._dimse(peer), self._calling(peer), _dimse_timeouts(peer), study_uid, peer.name, intake, incoming
        )

    def move(self, peer: DimsePeer, study_uid: str) -> FetchedStudy | None:
        """Ask a peer to send a study to our listener (C-MOVE); None where it does not know us. Raises PeerError."""
        try:
            return fetch_by_move(self._dimse(peer), self._calling(peer), _dimse_timeouts(peer), study_uid, self._our_ae)
        except MoveDestinationUnknownError:
            return None

    def request_commitment(
        self,
        peer: DimsePeer,
        transaction_uid: str,
        references: Sequence[Reference],
        reported: Callable[[CommitmentReport, Sender], bool] | None = None,
    ) -> SendOutcome:
        """Ask a peer to commit to instances. reported: for one that reports on the same association."""
        return commitment.request_commitment(
            self._dimse(peer), self._calling(peer), _dimse_timeouts(peer), transaction_uid, references, reported
        )

    def report_commitment(self, peer: DimsePeer, report: CommitmentReport) -> SendOutcome:
        """Tell a peer what of its request we hold."""
        return commitment.report_commitment(self._dimse(peer), self._calling(peer), _dimse_timeouts(peer), report)

    def _calling(self, peer: DimsePeer) -> str:
        return peer.calling_ae or self._our_ae

    def _dimse(self, peer: DimsePeer) -> DimseAddress:
        return DimseAddress(peer.called_ae, peer.host, peer.port, client_context(peer.tls) if peer.tls else None)

    def _web(self, peer: WebPeer) -> WebAddress:
        authorization: str | HTTPBasicAuth | None = None
        if peer.token_file is not None:
            authorization = f"Bearer {self._read_secret(peer.token_file)}"
        elif peer.user is not None and peer.password_file is not None:
            authorization = HTTPBasicAuth(peer.user.encode(), self._read_secret(peer.password_file).encode())
        return WebAddress(peer.url, authorization, peer.ca)


def _dimse_timeouts(peer: DimsePeer) -> DimseTimeouts:
    return DimseTimeouts(answer=peer.timeout_s, silence=max(peer.timeout_s, DimseTimeouts.silence))
