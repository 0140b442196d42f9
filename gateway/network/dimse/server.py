"""The socket that accepts associations: a thread for each connection, begun before TLS or the first byte."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import uuid
from collections.abc import Callable
from typing import Any

from pynetdicom import AE
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.transport import AddressInformation, RequestHandler, ThreadedAssociationServer

from swinunet.gateway.network.dimse.association import DimseTimeouts, GuardedAssociation
from swinunet.gateway.network.dimse.upper_layer import MAXIMUM_PDU_BYTES, GuardedSocket

logger = logging.getLogger(__name__)

_UNDECIDED = 256  # connections that may stand open before their first byte; more are closed at once


class _Connection(RequestHandler):
    """Makes an association of a connection on which the peer has begun to speak."""

    server: AssociationServer

    def _create_association(self) -> GuardedAssociation:
        association = GuardedAssociation(self.ae, MODE_ACCEPTOR)
        association._server = self.server
        association.name = f"AcceptorThread@{uuid.uuid4().hex}"  # pynetdicom finds its associations by this name
        association.set_socket(
            GuardedSocket(association, client_socket=self.request, silence_s=self.server.timeouts.silence)
        )
        acceptor = association.acceptor
        acceptor.maximum_length, acceptor.ae_title = MAXIMUM_PDU_BYTES, self.server.ae_title
        acceptor.implementation_class_uid = self.ae.implementation_class_uid
        acceptor.implementation_version_name = self.ae.implementation_version_name
        acceptor.address_info = AddressInformation.from_tuple(self.request.getsockname())
        association.requestor.address_info = self.remote
        for event, bound in self.server._handlers.items():
            for handler, arguments in [bound] if event.is_intervention else bound:  # type: ignore[misc]
                association.bind(event, handler, arguments)  # type: ignore[arg-type]
        return association


class AssociationServer(ThreadedAssociationServer):
    """Accepts connections; a slow, silent or hostile one holds up no other.

    pynetdicom 3.0.4 does the TLS handshake in the thread that accepts, and keeps two threads and a place of the
    association limit for 30 s after a TCP connection that was opened and closed, as health checks do each second.
    """

    request_queue_size = 128
    daemon_threads = True

    def __init__(
        self,
        ae: AE,
        address: tuple[str, int],
        timeouts: DimseTimeouts,
        tls: ssl.SSLContext | None,
        handlers: list[tuple[Any, Callable[..., Any]]],
    ) -> None:
        self.timeouts = timeouts
        self.connections_tls = tls
        self._undecided = threading.BoundedSemaphore(_UNDECIDED)
        super().__init__(ae, address, ae.ae_title, [], evt_handlers=list(handlers), request_handler=_Connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Hand the connection to a thread of its own, unless too many wait for their first byte."""
        if not self._undecided.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._undecided.release()
            self.shutdown_request(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """TLS handshake and first byte, each within the association time-out; then the association begins."""
        connection: socket.socket = request
        spoken = False
        try:
            connection.settimeout(self.timeouts.association)
            if self.connections_tls is not None:
                connection = self.connections_tls.wrap_socket(connection, server_side=True)
                spoken = True
            else:
                spoken = bool(connection.recv(1, socket.MSG_PEEK))
        except ssl.SSLEOFError:
            pass  # a health check that opens a connection and closes it
        except ssl.SSLError as error:
            logger.warning("a TLS handshake failed (%s)", error.reason or type(error).__name__)
        except OSError:
            pass  # silent too long, or gone
        finally:
            self._undecided.release()
        if not spoken:
            self.shutdown_request(connection)
            return
        try:
            self.finish_request(connection, client_address)
        except Exception as error:
            logger.warning("an association could not be begun (%s)", type(error).__name__)
            self.shutdown_request(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say in one line what socketserver prints as a traceback."""
        logger.warning("a connection could not be served")


def bound_address(server: AssociationServer) -> AddressInformation:
    """Where it listens; the port is the real one where 0 was asked for."""
    return AddressInformation.from_tuple(server.server_address)
