"""Several addresses for one name, on loopback: a name server, and forwarders that stand where servers would listen."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress


@contextmanager
def name_server(addresses: Sequence[str]) -> Iterator[str]:
    """HOST:PORT of a DNS server (RFC 1035) that knows IPv4 addresses, and these, for every name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))

        def serve() -> None:
            with suppress(OSError):
                while True:
                    asked, peer = listener.recvfrom(512)
                    listener.sendto(_answer(asked, addresses), peer)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def _answer(asked: bytes, addresses: Sequence[str]) -> bytes:
    end = asked.index(b"\0", 12) + 5
    question = asked[12:end]
    is_ipv4 = question[-4:-2] == b"\0\1"
    found = list(addresses) if is_ipv4 else []
    records = b"".join(
        b"\xc0\x0c\0\1\0\1" + struct.pack(">IH", 1, 4) + socket.inet_aton(each) for each in found
    )  # TTL of a second
    return asked[:2] + b"\x85\x80" + struct.pack(">HHHH", 1, len(found), 0, 0) + question + records


class Forwarder:
    """Passes what comes to `address`:`port` on to a port of 127.0.0.1."""

    def __init__(self, address: str, port: int, target: int) -> None:
        self._target = target
        self._listener = socket.create_server((address, port))
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                try:
                    there = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    here.close()
                    continue
                self.connections += 1
                for source, sink in ((here, there), (there, here)):
                    threading.Thread(target=_pass_on, args=(source, sink), daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for each in (source, sink):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
