"""Loopback ports."""

from __future__ import annotations

import socket

from swinunet.foundation.errors import ServingError

LOOPBACK = "127.0.0.1"


def choose_port(purpose: str, requested: int | None) -> int:
    """`requested` if it is free, or any free port for None. Raises ServingError if it is in use or no port at all."""
    if requested is not None and not 0 < requested < 65536:
        raise ServingError(f"{purpose} port {requested} is no port; choose one from 1 to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free
        try:
            probe.bind((LOOPBACK, requested or 0))
            return int(probe.getsockname()[1])
        except PermissionError:
            raise ServingError(f"{purpose} port {requested} needs privileges; choose one above 1023") from None
        except OSError:
            raise ServingError(
                f"{purpose} port {requested} on {LOOPBACK} is in use; stop what uses it or choose another"
            ) from None


def is_listening(port: int) -> bool:
    """Whether something accepts connections on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0
