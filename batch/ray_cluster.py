"""The connection to a Ray cluster, or a Ray of our own on this machine alone."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec

from swinunet.foundation.errors import InputError, MissingExtraError, ServerError

_CONNECT_SECONDS = 10.0
_AUTO = "auto"
_STARTS = 3  # a node dies whose helpers need more than 15 s to start, as on a busy machine (ray #65983)
_LOOPBACK = "127.0.0.2"  # in place of 127.0.0.1 Ray takes the address of the machine, and listens there


@dataclass(frozen=True)
class RayOptions:
    """Where Ray is, and what a worker may use.

    address: HOST:PORT of the head node, or "auto" for the cluster that this machine belongs to; None starts Ray here,
    for this run only. workers_per_node: on each node of the cluster, also on those that join it later. cpus, gpus: that
    a worker reserves; with gpus=1 each worker's Triton sees a GPU of its own.
    """

    address: str | None = None
    workers_per_node: int = 1
    cpus: float = 1.0
    gpus: float = 0.0


def require_ray() -> None:
    """Raise MissingExtraError if Ray is not installed."""
    if find_spec("ray") is None:
        raise MissingExtraError("--engine ray needs Ray, which is not installed; pip install 'swinunet[batch]'")


@contextlib.contextmanager
def connected(options: RayOptions) -> Iterator[None]:
    """A connection for as long as the block lasts. Raises InputError for no address, ServerError if nobody answers."""
    require_ray()
    import ray

    address = options.address or os.environ.get("RAY_ADDRESS") or None
    if address not in (None, _AUTO):
        _require_listening(str(address))
    for left in reversed(range(_STARTS if address is None else 1)):
        try:
            _connect(address)
            break
        except Exception as error:  # whatever a library raises: this is where it says that there is no cluster
            ray.shutdown()
            if left:
                continue
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            where = "here" if address is None else f"at {address}"
            raise ServerError(f"no Ray cluster {where} ({reason}); see `ray status` on this machine") from None
    try:
        yield
    finally:
        ray.shutdown()


def _connect(address: str | None) -> None:
    import ray

    # Ray puts the working folder on the module path of its workers; a study's folder may hold a `pydicom.py`.
    with contextlib.chdir(os.sep):
        ray.init(
            address=address,
            include_dashboard=False if address is None else None,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            _node_ip_address=_LOOPBACK if address is None else None,
        )


def _require_listening(address: str) -> None:
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(f"--address {address}: expected HOST:PORT of Ray's head node, such as head:6379, or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except OSError as error:
        raise ServerError(
            f"no Ray cluster answers at {address} ({error.strerror or 'no such host'}); start one with "
            "`ray start --head`, or leave --address out to start Ray here"
        ) from None
