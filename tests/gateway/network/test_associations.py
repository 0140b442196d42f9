"""Associations under peers that are many, silent, hostile or gone; and the two faults of pynetdicom that are mended."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from dicom_nodes import dcmtk, wait_until
from gateway_intakes import KeepingIntake
from pynetdicom.dimse_primitives import C_ECHO, C_FIND, C_STORE

from swinunet.foundation.errors import PeerError
from swinunet.gateway.network.dimse.answers import AnsweringProvider
from swinunet.gateway.network.dimse.association import DimseAddress, DimseTimeouts, open_association
from swinunet.gateway.network.dimse.contexts import verification_context
from swinunet.gateway.network.dimse.sender import echo, send_by_dimse
from swinunet.gateway.network.dimse.upper_layer import MAXIMUM_PDU_BYTES
from swinunet.samples.closed_network import LOOPBACK

from .conftest import TIMEOUTS, StartListener, address_of

SEED = 20261129


class _Living:
    """The thread of an upper layer, as the provider sees it."""

    living = True

    def is_alive(self) -> bool:
        return self.living

    def send_pdu(self, primitive: object) -> None:
        """Goes nowhere."""


def provider(mode: str = "requestor", answer_s: float | None = 60.0) -> tuple[AnsweringProvider, _Living]:
    layer = _Living()
    association: Any = SimpleNamespace(
        dul=layer, dimse_timeout=answer_s, is_acceptor=mode == "acceptor", is_requestor=mode == "requestor",
        acceptor=SimpleNamespace(maximum_length=16382), requestor=SimpleNamespace(maximum_length=16382),
        get_handlers=lambda event: [],
    )  # fmt: skip
    return AnsweringProvider(association), layer


def request() -> C_ECHO:
    found = C_ECHO()
    found.MessageID, found.AffectedSOPClassUID = 1, "1.2.840.10008.1.1"
    return found


def answer(status: int = 0, kind: type = C_ECHO) -> Any:
    found = kind()
    found.MessageIDBeingRespondedTo, found.Status = 1, status
    return found


def test_a_reactor_that_looks_late_leaves_the_answer_to_who_asked() -> None:
    dimse, _ = provider()
    dimse.send_msg(request(), 1)
    dimse.msg_queue.put((1, answer()))
    assert dimse.get_msg() == (None, None)
    assert dimse.get_msg(block=True)[1] is not None


def test_a_reactor_leaves_every_answer_until_the_last() -> None:
    dimse, _ = provider()
    query = C_FIND()
    query.MessageID, query.AffectedSOPClassUID, query.Priority = 1, "1.2.840.10008.5.1.4.1.2.2.1", 2
    dimse.send_msg(query, 1)
    for status in (0xFF00, 0xFF00, 0x0000):
        dimse.msg_queue.put((1, answer(status, C_FIND)))
        assert dimse.get_msg() == (None, None)
        assert dimse.get_msg(block=True)[1].Status == status
    dimse.msg_queue.put((1, answer(0, C_FIND)))  # nobody asked: the reactor takes it, and drops it
    assert dimse.get_msg()[1] is not None


def test_a_sender_does_not_wait_where_the_connection_ended_between_look_and_request() -> None:
    dimse, _ = provider(answer_s=None)
    dimse.msg_queue.put((None, None))  # the mark of the end, which the reactor looks at first
    assert dimse.get_msg() == (None, None)
    dimse.send_msg(request(), 1)
    assert dimse.get_msg(block=True) == (None, None)


def test_a_sender_does_not_wait_for_a_thread_that_died() -> None:
    dimse, layer = provider(answer_s=None)
    dimse.send_msg(request(), 1)
    threading.Timer(0.2, lambda: setattr(layer, "living", False)).start()
    assert dimse.get_msg(block=True) == (None, None)


def test_a_sender_waits_no_longer_than_its_time_out() -> None:
    dimse, _ = provider(answer_s=0.2)
    dimse.send_msg(request(), 1)
    assert dimse.get_msg(block=True) == (None, None)


def test_requests_of_the_peer_are_served_while_an_accepted_association_awaits_an_answer() -> None:
    dimse, _ = provider("acceptor")
    dimse.send_msg(request(), 1)
    store = C_STORE()
    store.MessageID = 7
    dimse.msg_queue.put((3, store))
    dimse.msg_queue.put((1, answer()))
    assert dimse.get_msg(block=True)[1].MessageIDBeingRespondedTo == 1
    assert dimse.get_msg() == (3, store)


def test_an_answer_that_nobody_awaits_is_no_answer_to_the_next_request() -> None:
    dimse, _ = provider()
    dimse.msg_queue.put((1, answer(0xA700)))
    dimse.send_msg(request(), 1)
    dimse.msg_queue.put((1, answer(0x0000)))
    assert dimse.get_msg(block=True)[1].Status == 0


def test_thirty_two_associations_at_once_drop_no_instance(
    start_listener: StartListener, intake: KeepingIntake, instances: list[Path]
) -> None:
    """Senders of ours: an answer that their reactor dropped would come as an instance without one."""
    address = address_of(start_listener(intake, associations=32))
    patient = DimseTimeouts(connect=60, association=300, answer=300, silence=300)
    with ThreadPoolExecutor(32) as pool:
        sent = list(pool.map(lambda _: send_by_dimse(address, "SENDER", patient, instances[:4]), range(32)))
    assert {outcome.words for outcomes in sent for outcome in outcomes} == {f"{address}: stored"}
    assert sorted(intake.uids.values()) == [32] * 4
    wait_until(lambda: len(intake.ended) == 32, "the ends of the associations")


def raw_connection(address: DimseAddress) -> socket.socket:
    return socket.create_connection((LOOPBACK, address.port), timeout=120)


def closes(connection: socket.socket) -> bool:
    """Whether the other side ends the connection, whatever it says before."""
    try:
        while connection.recv(1 << 16):
            pass
    except ConnectionError:
        pass
    return True


def test_health_checks_leave_nothing_and_take_no_place(start_listener: StartListener, intake: KeepingIntake) -> None:
    listener = start_listener(intake, associations=1)
    address = address_of(listener)
    process = psutil.Process()
    raw_connection(address).close()
    wait_until(lambda: listener.association_count == 0, "the end of the first check")
    threads, files = threading.active_count(), process.num_fds()
    for _ in range(100):
        raw_connection(address).close()
        assert listener.association_count == 0
    wait_until(lambda: threading.active_count() <= threads, "the threads of the checks to end")
    wait_until(lambda: process.num_fds() <= files, "the sockets of the checks to close")
    wait_until(lambda: echo(address, "SENDER", TIMEOUTS).accepted, "an answer once all checks are looked at")
    wait_until(lambda: len(intake.ended) == 1, "the end of the only association")


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(64),
        b"\x01\x00\xff\xff\xff\xff" + bytes(64),  # an A-ASSOCIATE-RQ of 4 GiB
        b"\x04\x00" + struct.pack(">L", MAXIMUM_PDU_BYTES * 2),
        b"\x04\x00\x00\x00\x00\x04\x00\x00\x00\x00",  # data before an association
        b"\x01\x00\x00\x00\x00\x44" + bytes(68),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40),  # a TLS handshake
    ],
)
def test_what_is_no_association_request_ends_the_connection(
    start_listener: StartListener, intake: KeepingIntake, said: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    listener = start_listener(intake, idle_s=4.0)
    with raw_connection(address_of(listener)) as connection:
        connection.sendall(said)
        assert closes(connection)
    wait_until(lambda: listener.association_count == 0, "its threads to end")
    assert echo(address_of(listener), "SENDER", TIMEOUTS).accepted
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_client_that_says_nothing_is_let_go(start_listener: StartListener, intake: KeepingIntake) -> None:
    listener = start_listener(intake, associations=1, idle_s=3.0)
    with raw_connection(address_of(listener)) as silent, raw_connection(address_of(listener)) as starting:
        starting.sendall(b"\x01\x00\x00")  # and no more of its request
        assert closes(silent)
        assert closes(starting)
    wait_until(lambda: listener.association_count == 0, "the place that they held")
    association = open_association(address_of(listener), "SENDER", [verification_context()], TIMEOUTS)
    wait_until(lambda: not association.is_established, "the end of an association that is idle")
    wait_until(lambda: len(intake.ended) == 1, "the end at the listener")


def test_a_peer_that_stops_within_a_pdu_keeps_no_association(
    start_listener: StartListener, intake: KeepingIntake
) -> None:
    listener = start_listener(intake, idle_s=3.0)
    association = open_association(address_of(listener), "SENDER", [verification_context()], TIMEOUTS)
    assert association.dul.socket is not None
    association.dul.socket.send(b"\x04\x00\x00\x01\x00\x00half")
    wait_until(lambda: listener.association_count == 0, "the end of the association")
    assert len(intake.ended) == 1


def test_fuzzed_pdus_and_data_sets_disturb_no_other_association(
    start_listener: StartListener, intake: KeepingIntake, instances: list[Path], capfd: pytest.CaptureFixture[str]
) -> None:
    """What dcmtk sends is recorded, then sent again with bytes changed, beside a sender that must not notice."""
    listener = start_listener(intake, associations=64, idle_s=8.0)
    recorded = _recorded(listener.port, instances[0])
    generator = random.Random(SEED)
    before = len(intake.instances)
    with ThreadPoolExecutor(20) as pool:
        attacks = [pool.submit(_send_damaged, listener.port, recorded, generator.randrange(2**32)) for _ in range(40)]
        others = [send_by_dimse(address_of(listener), "SENDER", TIMEOUTS, instances) for _ in range(3)]
        assert all(attack.result(timeout=300) for attack in attacks)
    assert all(outcome.accepted for outcomes in others for outcome in outcomes)
    assert len(intake.instances) - before >= 3 * len(instances)
    wait_until(lambda: listener.association_count == 0, "the ends of all associations")
    assert "Traceback" not in "".join(capfd.readouterr())


def _recorded(port: int, file: Path) -> list[bytes]:
    """The pieces that storescu sends for one file, in order."""
    pieces: list[bytes] = []
    with socket.create_server((LOOPBACK, 0)) as proxy:

        def carry() -> None:
            outer, _ = proxy.accept()
            with outer, socket.create_connection((LOOPBACK, port)) as inner:
                back = threading.Thread(target=_pump, args=(inner, outer), daemon=True)
                back.start()
                while piece := outer.recv(1 << 20):
                    pieces.append(piece)
                    inner.sendall(piece)
                back.join(timeout=10)

        thread = threading.Thread(target=carry, daemon=True)
        thread.start()
        done = dcmtk("storescu", "-aec", "GATEWAY", LOOPBACK, proxy.getsockname()[1], file)
        assert done.returncode == 0, done.stderr
        thread.join(timeout=60)
    return pieces


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(1 << 20):
            target.sendall(piece)
    except OSError:
        pass


def _send_damaged(port: int, pieces: list[bytes], seed: int) -> bool:
    """Send with a few bytes changed, or the end cut off; True when the listener has ended the connection."""
    generator = random.Random(seed)
    damaged = generator.randrange(len(pieces))
    with socket.create_connection((LOOPBACK, port), timeout=120) as connection:
        try:
            for number, piece in enumerate(pieces):
                sent = bytearray(piece)
                if number == damaged:
                    for _ in range(generator.randint(1, 8)):
                        sent[generator.randrange(min(len(sent), 2000))] = generator.randrange(256)
                    del sent[generator.choice((len(sent), generator.randrange(len(sent)))) :]
                connection.sendall(sent)
                time.sleep(0.02)
            return closes(connection)
        except ConnectionError:
            return True


@pytest.mark.parametrize("mute", [True, False])
def test_a_peer_that_does_not_answer_is_given_up(mute: bool) -> None:
    timeouts = DimseTimeouts(connect=5, association=0.5, answer=0.5, silence=0.5)
    with socket.create_server((LOOPBACK, 0)) as server:
        if not mute:
            threading.Thread(target=lambda: server.accept()[0].close(), daemon=True).start()
        address = DimseAddress("DEAF", LOOPBACK, server.getsockname()[1])
        with pytest.raises(PeerError, match="no answer to the association request"):
            open_association(address, "SENDER", [verification_context()], timeouts)


def test_nobody_there_is_one_line() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
    outcome = echo(DimseAddress("GONE", LOOPBACK, port), "SENDER", TIMEOUTS)
    assert outcome.words == (
        f"GONE at 127.0.0.1:{port}: cannot connect (Connection refused); check that it runs, its host, port and TLS"
    )
    assert outcome.retry


def test_a_peer_that_dies_while_it_owes_an_answer_is_noticed(
    start_listener: StartListener, instances: list[Path]
) -> None:
    slow = KeepingIntake(delay_s=2.0)
    listener = start_listener(slow)
    sent: list[Any] = []
    address = address_of(listener)
    thread = threading.Thread(target=lambda: sent.extend(send_by_dimse(address, "SENDER", TIMEOUTS, instances[:3])))
    thread.start()
    wait_until(lambda: listener.association_count == 1, "the association")
    time.sleep(0.5)
    listener.stop()
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert len(sent) == 3
    assert not sent[-1].accepted
    assert sent[-1].retry
