"""Below an association: its socket, with time-outs and a limit, and the thread of the state machine of PS3.8."""

from __future__ import annotations

import logging
import socket
import time
from typing import Any

from pynetdicom import evt
from pynetdicom.dul import DULServiceProvider
from pynetdicom.transport import T_CONNECT, AddressInformation, AssociationSocket

logger = logging.getLogger(__name__)

MAXIMUM_PDU_BYTES = 1 << 20  # of a P-DATA-TF as we announce it; storescu and Orthanc send up to 128 KiB
_PDU_OVERHEAD_BYTES = 1 << 16  # an A-ASSOCIATE-RQ with 128 contexts is smaller


class GuardedSocket(AssociationSocket):
    """A socket that neither waits for ever nor reads without bound.

    pynetdicom 3.0.4 reads a PDU of any length, up to 4 GiB, and blocks until it is whole: a peer that stops in the
    middle of one keeps the thread, and with it the association, for ever.
    """

    def __init__(
        self,
        assoc: Any,
        client_socket: socket.socket | None = None,
        address: AddressInformation | None = None,
        *,
        silence_s: float,
    ) -> None:
        super().__init__(assoc, client_socket, address)
        self._silence_s = silence_s
        self.failure: OSError | None = None  # why it could not connect
        if client_socket is not None:
            self._prepare(client_socket)

    def connect(self, primitive: T_CONNECT) -> None:
        """Connect within the association's connection time-out, the TLS handshake included."""
        assert self.socket is not None
        try:
            self.socket.settimeout(self.assoc.connection_timeout)
            self.socket.connect(primitive.address_info.as_tuple)
            if self.tls_args:
                context, host = self.tls_args
                self.socket = context.wrap_socket(self.socket, server_hostname=host)
            self._prepare(self.socket)
            self.assoc.requestor.address_info = AddressInformation.from_tuple(self.socket.getsockname())
            self._is_connected = True
            evt.trigger(self.assoc, evt.EVT_CONN_OPEN, {"address": primitive.address_info.as_tuple})
            primitive.result = "Evt2"
        except OSError as error:
            self.failure = error
            self.socket.close()
            self.socket = None
            primitive.result = "Evt17"
        finally:
            self.provider_queue.put(primitive)
            self._ready.set()

    def _prepare(self, connection: socket.socket) -> None:
        connection.settimeout(self._silence_s)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def recv(self, nr_bytes: int) -> bytearray:
        """Exactly `nr_bytes`, or fewer where the peer closes. Raises OSError for too many, and for a silent peer."""
        if nr_bytes > MAXIMUM_PDU_BYTES + _PDU_OVERHEAD_BYTES:
            raise OSError(f"a PDU of {nr_bytes} bytes; at most {MAXIMUM_PDU_BYTES} were announced")
        if self.socket is None:
            raise OSError("the connection is closed")
        received, read = bytearray(nr_bytes), 0
        deadline = time.monotonic() + self._silence_s
        while read < nr_bytes:
            count = self.socket.recv_into(memoryview(received)[read:])
            if not count:
                return received[:read]
            read += count
            if read < nr_bytes and time.monotonic() > deadline:
                raise TimeoutError("a PDU that does not end")
        return received

    def send(self, bytestream: bytes) -> None:
        """Send all, or end the connection."""
        try:
            if self.socket is None:
                raise OSError("the connection is closed")
            self.socket.sendall(bytestream)
            evt.trigger(self.assoc, evt.EVT_DATA_SENT, {"data": bytestream})
        except OSError:
            self.event_queue.put("Evt17")


class GuardedUpperLayer(DULServiceProvider):
    """The upper layer's thread, which ends without a traceback whatever the peer sends."""

    def run_reactor(self) -> None:
        """Run until the connection ends."""
        try:
            super().run_reactor()
        except Exception as error:  # the state machine raises for PDUs that its state does not allow
            logger.info("a peer broke the DICOM upper layer protocol (%s); its association ends", type(error).__name__)
        finally:
            self._kill_thread = True
            self.assoc.dimse.msg_queue.put((None, None))
            if self.socket is not None:
                self.socket._shutdown_socket()
