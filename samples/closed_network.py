"""Servers that listen on every interface, run where nobody but this process reaches them.

Orthanc and storescp cannot be told to listen on loopback only. Each runs in a network namespace of its own, whose only
device is loopback; a `Relay` of this process joins a port there and a port of ours, and can be made slow, silent or
down, as a network is.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from swinunet.foundation.errors import ServerError

_CLONE_NEWNET = 0x40000000
LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A TCP port of loopback that nothing listens on at this moment."""
    with socket.create_server((LOOPBACK, 0)) as probe:
        return int(probe.getsockname()[1])


def why_no_closed_network() -> str | None:
    """What is missing to make a network namespace; None if nothing is."""
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("ip"):
        return "needs root, util-linux and iproute2 to make a network namespace"
    return None


class ClosedServer:
    """A command that runs in its own network namespace, with `folder` as its working folder and place for its log.

    Raises ServerError where no namespace can be made.
    """

    def __init__(self, command: Sequence[object], folder: Path, environment: dict[str, str] | None = None) -> None:
        if reason := why_no_closed_network():
            raise ServerError(reason)
        self._name = Path(str(command[0])).name
        log = (folder / "server.log").open("ab")
        self.process = subprocess.Popen(
            ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *map(str, command)],
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        log.close()
        self._relays: list[Relay] = []

    def reached(self, port: int) -> Relay:
        """A relay from a port of ours to `port` of the server; waits until the server listens there.

        Raises ServerError if the server ends, or does not listen within two minutes.
        """
        self.wait_for(port)
        return self._kept(Relay(socket.create_server((LOOPBACK, 0)), lambda: self.connect(port)))

    def wait_for(self, port: int) -> None:
        """Return when the server listens on `port`. Raises ServerError if it ends, or not within two minutes."""
        deadline = time.monotonic() + 120
        while True:
            if self.process.poll() is not None:
                raise ServerError(f"{self._name} ended before it listened on port {port}")
            with suppress(OSError), self.connect(port):
                return
            if time.monotonic() > deadline:
                raise ServerError(f"{self._name} does not listen on port {port}")
            time.sleep(0.05)

    def connect(self, port: int) -> socket.socket:
        """A connection to `port` of the server, without a relay. Raises OSError."""
        inside = self._socket()
        try:
            inside.connect((LOOPBACK, port))
        except OSError:
            inside.close()
            raise
        return inside

    def inside(self, command: Sequence[object]) -> list[str]:
        """The command line that runs a command in the server's namespace, where its ports are on loopback."""
        return ["nsenter", f"--net=/proc/{self.process.pid}/ns/net", *map(str, command)]

    def reaches(self, port: int) -> Relay:
        """A relay from a port of the server's loopback to `port` of ours."""
        listening = self._socket()
        listening.bind((LOOPBACK, 0))
        listening.listen(128)
        return self._kept(Relay(listening, lambda: socket.create_connection((LOOPBACK, port))))

    def stop(self) -> None:
        """End the server and its relays."""
        for relay in self._relays:
            relay.close()
        self.process.terminate()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _kept(self, relay: Relay) -> Relay:
        self._relays.append(relay)
        return relay

    def _socket(self) -> socket.socket:
        """A TCP socket that belongs to the server's namespace: made by a thread that enters it for that alone."""
        made: list[Any] = []

        def make() -> None:
            try:
                with Path(f"/proc/{self.process.pid}/ns/net").open() as namespace:
                    if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), "setns")
                made.append(socket.socket())
            except OSError as error:
                made.append(error)

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        if isinstance(made[0], OSError):
            raise made[0]
        made[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made[0]


class Relay:
    """Carries bytes both ways between connections to `listening` and those that `connect` makes.

    delay_s: before each piece of at most 64 KiB. silent: accepts, and carries nothing. `down` closes what is open and
    refuses what comes, `up` ends that.
    """

    def __init__(self, listening: socket.socket, connect: Callable[[], socket.socket]) -> None:
        self.delay_s, self.silent = 0.0, False
        self._listening, self._connect = listening, connect
        self.port = int(listening.getsockname()[1])
        self._down, self._closed = False, False
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def down(self) -> None:
        """Close what is open, and refuse what comes."""
        self._down = True
        for each in list(self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def up(self) -> None:
        """Carry again."""
        self._down = False

    def close(self) -> None:
        """End it."""
        self._closed = True
        self.down()
        self._listening.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                if not select.select([self._listening], [], [], 0.2)[0]:
                    continue
                outer, _ = self._listening.accept()
            except (OSError, ValueError):
                return
            threading.Thread(target=self._serve, args=(outer,), daemon=True).start()

    def _serve(self, outer: socket.socket) -> None:
        with outer:
            if self._down:
                return
            outer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                inner = self._connect()
            except OSError:
                return
            with inner:
                pair = {outer, inner}
                self._open |= pair
                try:
                    self._carry(outer, inner)
                finally:
                    self._open -= pair

    def _carry(self, outer: socket.socket, inner: socket.socket) -> None:
        other = {outer: inner, inner: outer}
        reading = set(other)
        while reading and not self._down:
            for source in select.select(list(reading), [], [], 0.2)[0]:
                while self.silent and not self._down:
                    time.sleep(0.05)
                time.sleep(self.delay_s)
                try:
                    piece = source.recv(1 << 16)
                    if piece:
                        other[source].sendall(piece)
                    else:
                        reading.discard(source)
                        other[source].shutdown(socket.SHUT_WR)
                except OSError:
                    return
