"""Associations (PS3.8): those that we accept and those that we request, with time-outs for each of their parts."""

from __future__ import annotations

import logging
import ssl
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pynetdicom import AE, _config, evt
from pynetdicom._globals import MODE_REQUESTOR
from pynetdicom.association import Association
from pynetdicom.events import EventHandlerType
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AddressInformation

from swinunet.foundation.errors import PeerError
from swinunet.gateway.contract import Sender
from swinunet.gateway.network.dimse.answers import AnsweringProvider
from swinunet.gateway.network.dimse.upper_layer import MAXIMUM_PDU_BYTES, GuardedSocket, GuardedUpperLayer

logger = logging.getLogger(__name__)

_config.LOG_HANDLER_LEVEL = "none"  # its handlers print each PDU
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)  # it logs tracebacks and values of patients
warnings.filterwarnings("ignore", category=UserWarning, module=r"pydicom\.")  # they quote what peers sent


@dataclass(frozen=True)
class DimseTimeouts:
    """Seconds. connect: TCP and TLS. association: for the answer to A-ASSOCIATE and A-RELEASE.

    answer: for a DIMSE response. silence: without a byte from the peer in which the association ends.
    """

    connect: float = 10.0
    association: float = 30.0
    answer: float = 60.0
    silence: float = 60.0

    def apply(self, ae: AE) -> None:
        """Set them for the associations that `ae` makes from now on."""
        ae.connection_timeout, ae.acse_timeout = self.connect, self.association
        ae.dimse_timeout, ae.network_timeout = self.answer, self.silence


class GuardedAssociation(Association):
    """pynetdicom's association with the parts above and below it that are guarded; its thread ends quietly."""

    def __init__(self, ae: AE, mode: str) -> None:
        super().__init__(ae, mode)
        self.dul = GuardedUpperLayer(self)
        self.dul.daemon = True
        self.dimse = AnsweringProvider(self)
        self.acse_timeout, self.network_timeout = ae.acse_timeout, ae.network_timeout
        self.when_ended: Callable[[], None] | None = None
        self.sender: Sender | None = None  # of an accepted association
        self.bind(evt.EVT_CONN_CLOSE, self._connection_closed)

    def _connection_closed(self, event: evt.Event) -> None:
        """Wake a thread that waits for an A-ASSOCIATE or A-RELEASE, which pynetdicom leaves to its time-out."""
        self.dul.to_user_queue.put(None)

    def run_reactor(self) -> None:
        """Serve until the association ends, in whatever way; then call `when_ended`, once."""
        try:
            super().run_reactor()
        except Exception as error:
            logger.info("an association ended for what its peer sent (%s)", type(error).__name__)
            self.is_aborted, self.is_established = True, False
        finally:
            self._is_paused = True  # a thread that waits for the reactor to pause goes on
            self.dul.kill_dul()
            if self.dul.socket is not None:
                self.dul.socket._shutdown_socket()
            if self.when_ended is not None:
                self.when_ended()


@dataclass(frozen=True)
class DimseAddress:
    """Where a peer is and how it is called; tls: None is no TLS."""

    called_ae: str
    host: str
    port: int
    tls: ssl.SSLContext | None = None

    def __str__(self) -> str:
        return f"{self.called_ae} at {self.host}:{self.port}"


class NothingAcceptedError(PeerError):
    """A peer that accepts the association and none of its presentation contexts."""


def open_association(
    address: DimseAddress,
    calling_ae: str,
    contexts: Sequence[PresentationContext],
    timeouts: DimseTimeouts,
    *,
    roles: Sequence[Any] = (),
    handlers: Sequence[EventHandlerType] = (),
) -> GuardedAssociation:
    """An established association. contexts: at most 128. roles: of pynetdicom's `build_role`.

    It may have no accepted context for what is wanted. Raises PeerError, in one line, if there is none at all.
    """
    ae = AE(calling_ae)
    timeouts.apply(ae)
    association = GuardedAssociation(ae, MODE_REQUESTOR)
    association.name = f"association to {address.called_ae}"
    try:
        remote = AddressInformation.from_addr_port(address.host, address.port)
    except OSError as error:
        raise PeerError(f"{address}: its name is not known ({error.strerror}); check the host of this peer") from None
    local = AddressInformation("0.0.0.0" if remote.is_ipv4 else "::", 0)
    socket = GuardedSocket(association, address=local, silence_s=timeouts.silence)
    if address.tls is not None:
        socket.tls_args = (address.tls, address.host)
    association.set_socket(socket)
    association.acceptor.ae_title, association.acceptor.address_info = address.called_ae, remote
    requestor = association.requestor
    requestor.ae_title, requestor.address_info = calling_ae, local
    requestor.maximum_length = MAXIMUM_PDU_BYTES
    requestor.implementation_version_name = ae.implementation_version_name
    for role in roles:
        requestor.add_negotiation_item(role)
    for number, context in enumerate(contexts):
        context.context_id = 2 * number + 1
    requestor.requested_contexts = list(contexts)
    for handler in handlers:
        association.bind(*handler)
    association.request()
    if not association.is_established:
        raise _refused(association, address, socket)
    association.start()
    return association


def _refused(association: GuardedAssociation, address: DimseAddress, socket: GuardedSocket) -> PeerError:
    if socket.failure is not None:
        reason = socket.failure.strerror or type(socket.failure).__name__
        if isinstance(socket.failure, ssl.SSLCertVerificationError):
            reason = f"its certificate is not trusted: {socket.failure.verify_message}"
        return PeerError(f"{address}: cannot connect ({reason}); check that it runs, its host, port and TLS")
    if association.is_rejected:
        answer = association.acceptor.primitive
        reason = getattr(answer, "reason_str", "") if answer else ""
        return PeerError(f"{address}: it rejects the association ({reason.lower() or 'no reason given'}); "
                         f"check the AE titles, ours is {association.requestor.ae_title}")  # fmt: skip
    if association.rejected_contexts:
        return NothingAcceptedError(f"{address}: it accepts nothing of what was offered")
    return PeerError(f"{address}: no answer to the association request within {association.acse_timeout:g} s, or it "
                     "closed the connection")  # fmt: skip


def close_association(association: GuardedAssociation) -> None:
    """Release it, or abort what does not answer; returns when its threads are gone or in a moment will be."""
    try:
        if association.is_established:
            association.release()
        if association.is_established:
            association.abort()
    finally:
        if association is not threading.current_thread() and association.is_alive():
            association.join(timeout=5)
