"""Where audit messages go: a file, or a syslog server over TLS (RFC 5424, RFC 5425; PS3.15 A.6)."""

from __future__ import annotations

import os
import socket
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from swinunet.foundation.errors import OutputError

_PRIORITY = 10 * 8 + 5  # facility security/authorization, severity notice
_BOM = "\ufeff"  # RFC 5424, 6.4: the message is UTF-8


class AuditSink(Protocol):
    """Somewhere that keeps messages."""

    def write(self, messages: list[tuple[float, str]]) -> None:
        """Hand over (seconds since 1970, XML) each. Raises OSError: none may be there, and all are sent again."""
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


class AuditFile:
    """A file that only its user reads, a message a line. It may be moved away at any time: each write opens it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, messages: list[tuple[float, str]]) -> None:
        """As AuditSink has it; on the disk when it returns."""
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            lines = "".join(f"{text}\n" for _, text in messages).encode()
            while lines:
                lines = lines[os.write(descriptor, lines) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Nothing is open."""


class SyslogOverTls:
    """A syslog server. context: whom we trust, and our certificate where it wants one."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext, timeout_s: float = 10.0) -> None:
        self._address, self._context, self._timeout_s = (host, port), context, timeout_s
        self._connection: ssl.SSLSocket | None = None

    def write(self, messages: list[tuple[float, str]]) -> None:
        """As AuditSink has it. Syslog has no answer: what was on its way when a connection broke is sent again."""
        if self._connection is None or _is_closed(self._connection):
            self.close()
            self._connection = self._connect()
        try:
            for at, text in messages:
                self._connection.sendall(syslog_frame(at, text))
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            with suppress(OSError):
                self._connection.close()
        self._connection = None

    def _connect(self) -> ssl.SSLSocket:
        plain = socket.create_connection(self._address, timeout=self._timeout_s)
        try:
            return self._context.wrap_socket(plain, server_hostname=self._address[0])
        except BaseException:
            plain.close()
            raise


def syslog_frame(at: float, text: str) -> bytes:
    """One message with its header and, as TLS wants it, its length before it (RFC 5425, 4.3)."""
    when = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    header = f"<{_PRIORITY}>1 {when} {socket.gethostname()} swinunet-gateway {os.getpid()} IHE+RFC-3881 - "
    message = f"{header}{_BOM}{text}".encode()
    return f"{len(message)} ".encode() + message


def _is_closed(connection: ssl.SSLSocket) -> bool:
    """Whether the server has ended a connection on which it never says anything."""
    connection.settimeout(0)
    try:
        return connection.recv(1) == b""
    except (ssl.SSLWantReadError, BlockingIOError):
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(10.0)


def require_writable(path: Path) -> None:
    """Raises OutputError if an audit file cannot be written."""
    try:
        AuditFile(path).write([])
    except OSError as error:
        raise OutputError(f"{path}: the audit trail cannot be written ({error.strerror}); give another file") from None
