"""Events reach the trail in order, at least once, whatever becomes of file, server or gateway."""

from __future__ import annotations

import socket
import ssl
import stat
import threading
from pathlib import Path
from xml.etree import ElementTree

import pytest
from certificates import Authority

from swinunet.foundation.errors import OutputError
from swinunet.gateway.ledger.audit import record
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.watching.audit_sinks import AuditFile, SyslogOverTls, require_writable, syslog_frame
from swinunet.gateway.watching.audit_trail import AuditTrail


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")


def note(ledger: Ledger, *senders: str) -> None:
    with ledger.write() as connection:
        for at, sender in enumerate(senders):
            record(connection, 1000.0 + at, "instances_received", True, study="1.2.3", instances=1, sender=sender)


def senders_in(text: str) -> list[str]:
    roots = [ElementTree.fromstring(line) for line in text.splitlines()]
    return [root.findall("ActiveParticipant")[1].get("UserID") or "" for root in roots]


def test_events_are_written_once_in_order_and_readable_by_us_alone(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "audit.xml"
    trail = AuditTrail(ledger, AuditFile(path), "SWINUNET")
    note(ledger, *[f"S{at}" for at in range(450)])  # more than are taken at once
    assert trail.write_waiting() == 450
    note(ledger, "LAST")
    assert (trail.write_waiting(), trail.write_waiting()) == (1, 0)
    assert senders_in(path.read_text()) == [*[f"S{at}" for at in range(450)], "LAST"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_sink_that_fails_gets_the_same_events_again(ledger: Ledger, tmp_path: Path) -> None:
    note(ledger, "A", "B")
    broken = AuditTrail(ledger, AuditFile(tmp_path / "missing" / "audit.xml"), "SWINUNET")
    with pytest.raises(OSError, match="No such file"):
        broken.write_waiting()
    path = tmp_path / "audit.xml"
    assert AuditTrail(ledger, AuditFile(path), "SWINUNET").write_waiting() == 2
    assert senders_in(path.read_text()) == ["A", "B"]


def test_what_waits_is_written_when_the_gateway_stops(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "audit.xml"
    trail = AuditTrail(ledger, AuditFile(path), "SWINUNET")
    trail.start()
    note(ledger, "A")
    trail.stop()
    assert senders_in(path.read_text()) == ["A"]


def test_a_file_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"none/audit\.xml: the audit trail cannot be written"):
        require_writable(tmp_path / "none" / "audit.xml")


class SyslogServer:
    """Takes RFC 5425 frames on loopback. received: the messages, without their lengths."""

    def __init__(self, authority: Authority) -> None:
        pem = authority.issue("syslog")
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pem.certificate, pem.key)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.received: list[str] = []
        self.connections = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._socket.accept()
                with self._context.wrap_socket(plain, server_side=True) as connection:
                    self.connections += 1
                    self._read(connection)
            except ssl.SSLError:
                continue
            except OSError:
                return

    def _read(self, connection: ssl.SSLSocket) -> None:
        stream = connection.makefile("rb")
        while True:
            length = b""
            while (byte := stream.read(1)).isdigit():
                length += byte
            if not byte:
                return
            self.received.append(stream.read(int(length)).decode())
            if self.received[-1].endswith("<end/>"):
                return  # hangs up


def wait_for_messages(server: SyslogServer, count: int) -> None:
    waited = threading.Event()
    for _ in range(600):
        if len(server.received) >= count:
            return
        waited.wait(0.1)
    raise AssertionError(f"{len(server.received)} of {count} messages came")


def test_syslog_over_tls(ledger: Ledger, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = SyslogServer(authority)
    try:
        sink = SyslogOverTls("127.0.0.1", server.port, ssl.create_default_context(cafile=str(authority.certificate)))
        note(ledger, "A", "Ö")
        assert AuditTrail(ledger, sink, "SWINUNET").write_waiting() == 2
        wait_for_messages(server, 2)
        first = server.received[0]
        assert first.startswith("<85>1 1970-01-01T00:16:40.000Z ")
        assert senders_in("\n".join(each.partition("\ufeff")[2] for each in server.received)) == ["A", "Ö"]
        sink.write([(0.0, "<end/>")])  # the server hangs up after it: the next write finds that, and connects again
        wait_for_messages(server, 3)
        for _ in range(50):
            sink.write([(0.0, "<again/>")])
            if server.connections == 2:
                break
            threading.Event().wait(0.1)
        wait_for_messages(server, 4)
        sink.close()
    finally:
        server.close()


def test_a_syslog_server_of_another_authority_gets_nothing(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "theirs").mkdir()
    ours, server = Authority(tmp_path / "ours"), SyslogServer(Authority(tmp_path / "theirs"))
    try:
        sink = SyslogOverTls("127.0.0.1", server.port, ssl.create_default_context(cafile=str(ours.certificate)))
        note(ledger, "A")
        with pytest.raises(ssl.SSLCertVerificationError):
            AuditTrail(ledger, sink, "SWINUNET").write_waiting()
        assert server.received == []
    finally:
        server.close()


def test_a_frame_counts_bytes() -> None:
    length, _, message = syslog_frame(0.0, "Ö").partition(b" ")
    assert int(length) == len(message)
    assert message.endswith("\ufeffÖ".encode())
