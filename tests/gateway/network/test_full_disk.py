"""A disk that fills up in the middle of an association, or of a request: a real file system without room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from gateway_intakes import KeepingIntake
from small_disk import small_disk

from swinunet.gateway.config.peers import ListenerConfig, WebConfig
from swinunet.gateway.network.dimse.listener import DicomListener
from swinunet.gateway.network.dimse.sender import send_by_dimse
from swinunet.gateway.network.web.http_client import HttpTimeouts, WebAddress
from swinunet.gateway.network.web.server import WebServer
from swinunet.gateway.network.web.stow import StowServer
from swinunet.gateway.network.web.stow_client import send_by_stow
from swinunet.samples.closed_network import LOOPBACK, free_port

from .conftest import TIMEOUTS, address_of


@pytest.fixture
def incoming(tmp_path: Path) -> Iterator[Path]:
    """Room for some of the twelve instances of 8 KiB."""
    with small_disk(tmp_path / "small", 64) as folder:
        yield folder


def require_whole(intake: KeepingIntake, incoming: Path, taken: int) -> None:
    """What was taken is whole, and nothing else is there."""
    assert 1 <= taken == len(intake.instances)
    assert set(incoming.iterdir()) == {each.path for each in intake.instances}
    assert all(pydicom.dcmread(each.path).PixelData for each in intake.instances)


def test_a_disk_that_fills_up_during_an_association(incoming: Path, instances: list[Path]) -> None:
    intake = KeepingIntake()
    listener = DicomListener(ListenerConfig("GATEWAY", LOOPBACK, free_port()), intake, None, incoming=incoming)
    listener.start()
    try:
        outcomes = send_by_dimse(address_of(listener), "SENDER", TIMEOUTS, instances)
        taken = sum(outcome.accepted for outcome in outcomes)
        assert {outcome.status for outcome in outcomes} == {0x0000, 0xA700}
        assert all(outcome.accepted or outcome.retry for outcome in outcomes)
        require_whole(intake, incoming, taken)
        for path in incoming.iterdir():
            path.unlink()
        intake.instances.clear()
        assert [
            outcome.status for outcome in send_by_dimse(address_of(listener), "SENDER", TIMEOUTS, instances[:1])
        ] == [0]
    finally:
        listener.stop()


def test_a_disk_that_fills_up_during_requests(incoming: Path, instances: list[Path]) -> None:
    intake = KeepingIntake()
    server = WebServer(WebConfig(LOOPBACK, free_port()), StowServer(intake, incoming).routes())
    server.start()
    try:
        address = WebAddress(f"http://{LOOPBACK}:{server.port}/dicom-web")
        outcomes = send_by_stow(address, HttpTimeouts(read=120), instances)
        taken = sum(outcome.accepted for outcome in outcomes)
        assert 1 <= taken < len(instances)
        assert {outcome.status for outcome in outcomes if not outcome.accepted} == {507}
        assert all(outcome.accepted or outcome.retry for outcome in outcomes)
        require_whole(intake, incoming, taken)
    finally:
        server.stop()
