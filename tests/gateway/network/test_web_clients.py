"""What we say to web servers of others: signatures, redirects, proxies, and servers that answer badly."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pydicom
import pytest
from gateway_intakes import KeepingIntake
from recording_server import Recorder

from swinunet.foundation.errors import PeerError
from swinunet.gateway.network.web.http_client import HttpTimeouts, WebAddress
from swinunet.gateway.network.web.queries import count_by_qido
from swinunet.gateway.network.web.retrieval import fetch_by_wado
from swinunet.gateway.network.web.stow_client import send_by_stow
from swinunet.gateway.network.web.webhook import post_webhook
from swinunet.samples.closed_network import LOOPBACK

TIMEOUTS = HttpTimeouts(connect=20, read=60)
PAYLOAD = json.dumps({"job": 7, "state": "done"})


@pytest.fixture
def record() -> Iterator[Callable[..., Recorder]]:
    with ExitStack() as stack:

        def start(status: int = 200, body: bytes = b"", cut: int = 0, **headers: str) -> Recorder:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            recorder = Recorder(status, body, named, cut)
            stack.callback(recorder.close)
            return recorder

        yield start


def test_a_webhook_is_signed_over_time_and_body(record: Callable[..., Recorder]) -> None:
    receiver = record(204)
    assert post_webhook(WebAddress(receiver.url + "/hook/?of=us"), TIMEOUTS, "secret", PAYLOAD).accepted
    ((method, path, headers, body),) = receiver.requests
    assert (method, path, body) == ("POST", "/hook/?of=us", PAYLOAD.encode())
    signed = headers["Swinunet-Time"].encode() + b"." + body
    assert headers["Swinunet-Signature"] == "sha256=" + hmac.digest(b"secret", signed, hashlib.sha256).hex()


@pytest.mark.parametrize(("status", "retry"), [(500, True), (503, True), (401, True), (404, False), (410, False)])
def test_a_webhook_that_is_refused(record: Callable[..., Recorder], status: int, retry: bool) -> None:
    outcome = post_webhook(WebAddress(record(status).url), TIMEOUTS, "secret", PAYLOAD)
    assert (outcome.accepted, outcome.retry, outcome.status) == (False, retry, status)


def test_no_redirect_is_followed(record: Callable[..., Recorder], instances: list[Path]) -> None:
    elsewhere = record()
    address = WebAddress(record(307, Location=elsewhere.url).url)
    assert not post_webhook(address, TIMEOUTS, "secret", PAYLOAD).accepted
    assert "redirects" in send_by_stow(address, TIMEOUTS, instances[:1])[0].words
    assert elsewhere.requests == []


def test_a_proxy_of_the_environment_gets_nothing_that_is_for_this_machine(
    record: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    proxy, receiver = record(), record()
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    (tmp_path / ".netrc").write_text(f"machine {LOOPBACK} login user password LEAKED")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert post_webhook(WebAddress(receiver.url), TIMEOUTS, "secret", PAYLOAD).accepted
    assert proxy.requests == []
    assert "Authorization" not in receiver.requests[0][2]
    assert post_webhook(WebAddress("http://receiver.invalid/hook"), TIMEOUTS, "secret", PAYLOAD).accepted
    assert [path for _, path, *_ in proxy.requests] == ["http://receiver.invalid/hook"]


def stow_answer(uid: str, reason: int | None) -> bytes:
    item: dict[str, Any] = {"00081155": {"vr": "UI", "Value": [uid]}}
    if reason is not None:
        item["00081197"] = {"vr": "US", "Value": [reason]}
    return json.dumps({"00081198" if reason is not None else "00081199": {"vr": "SQ", "Value": [item]}}).encode()


@pytest.mark.parametrize(
    ("status", "reason", "accepted", "retry", "class_refused"),
    [
        (200, None, True, False, False),
        (409, 0x0122, False, False, True),
        (409, 0xC122, False, False, True),
        (409, 0xA900, False, False, False),
        (409, 0xA700, False, True, False),
        (202, 0x0110, False, True, False),
    ],
)
def test_the_answer_on_each_instance_counts_not_the_status_alone(
    record: Callable[..., Recorder], instances: list[Path], status: int, reason: int | None, accepted: bool,
    retry: bool, class_refused: bool,
) -> None:  # fmt: skip
    body = stow_answer(str(pydicom.dcmread(instances[0]).SOPInstanceUID), reason)
    (outcome,) = send_by_stow(WebAddress(record(status, body).url), TIMEOUTS, instances[:1])
    assert (outcome.accepted, outcome.retry, outcome.sop_class_refused) == (accepted, retry, class_refused)


@pytest.mark.parametrize(
    ("status", "retry", "class_refused"),
    [(401, True, False), (404, True, False), (503, True, False), (507, True, False), (400, False, False),
     (413, False, False), (415, False, True)],
)  # fmt: skip
def test_a_server_that_answers_with_a_status_only(
    record: Callable[..., Recorder], instances: list[Path], status: int, retry: bool, class_refused: bool
) -> None:
    (outcome,) = send_by_stow(WebAddress(record(status, b"<html>").url), TIMEOUTS, instances[:1])
    assert (outcome.accepted, outcome.retry, outcome.sop_class_refused) == (False, retry, class_refused)


def test_a_token_is_shown_to_its_server_and_in_no_message(
    record: Callable[..., Recorder], instances: list[Path]
) -> None:
    receiver = record(401)
    address = WebAddress(receiver.url, "Bearer THE-TOKEN")
    (outcome,) = send_by_stow(address, TIMEOUTS, instances[:1])
    assert receiver.requests[0][2]["Authorization"] == "Bearer THE-TOKEN"
    assert "THE-TOKEN" not in outcome.words + repr(address)


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b'[{"0020000E": {}}', b"<xml/>"])
def test_an_answer_to_a_query_that_is_no_dicom_json_is_one_line(record: Callable[..., Recorder], body: bytes) -> None:
    with pytest.raises(PeerError, match="no DICOM JSON"):
        count_by_qido(WebAddress(record(200, body).url), TIMEOUTS, "1.2.3")


def test_a_retrieval_that_breaks_off_says_so_and_keeps_what_came(
    record: Callable[..., Recorder], instances: list[Path], tmp_path: Path
) -> None:
    head = b"--x\r\nContent-Type: application/dicom\r\n\r\n"
    body = b"".join(head + file.read_bytes() + b"\r\n" for file in instances) + b"--x--\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=x'
    for cut, status in ((4000, 200), (len(b"--x--\r\n"), 200)):
        intake = KeepingIntake()
        with pytest.raises(PeerError):
            fetch_by_wado(
                WebAddress(record(status, body, cut=cut, Content_Type=kind).url), TIMEOUTS, "1.2.3", "pacs", intake,
                tmp_path,
            )  # fmt: skip
        assert len(intake.instances) >= 2
        assert all(pydicom.dcmread(each.path).PixelData for each in intake.instances)
        assert set(tmp_path.iterdir()) == {each.path for each in intake.instances}
        assert len(intake.ended) == 1
        for each in intake.instances:
            each.path.unlink()
