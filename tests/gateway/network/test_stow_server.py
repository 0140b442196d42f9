"""The web server and its Store transaction: whole requests, broken ones, who is let in, and what is answered."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pydicom
import pytest
import requests
from dicom_nodes import Orthanc, wait_until
from dicom_series import assert_no_patient
from dicomweb_client import DICOMwebClient
from gateway_intakes import KeepingIntake

from swinunet.foundation.errors import InputError
from swinunet.gateway.config.peers import WebConfig
from swinunet.gateway.contract import Answer
from swinunet.gateway.network.web.server import WebServer, behind_token
from swinunet.gateway.network.web.stow import StowServer
from swinunet.samples.closed_network import LOOPBACK, free_port

TOKEN = "a-token-of-the-test"
BOUNDARY = "gateway.test.boundary"
FAILED, REFERENCED, OTHERS = "00081198", "00081199", "0008119A"
UID, REASON = "00081155", "00081197"


@pytest.fixture
def start_web(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Starts a web server with the Store transaction; returns the URL of its DICOMweb root."""
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    with ExitStack() as stack:

        def start(intake: KeepingIntake, token: str | None = None, **options: Any) -> str:
            config = WebConfig(**{"host": LOOPBACK, "port": free_port(), **options})
            server = WebServer(config, behind_token(StowServer(intake, incoming).routes(), token))
            server.start()
            stack.callback(server.stop)
            return f"http://{LOOPBACK}:{server.port}/dicom-web"

        yield start


def body_of(files: list[Path], part_type: str = "application/dicom") -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Type: {part_type}\r\n\r\n".encode()
    return b"".join(head + file.read_bytes() + b"\r\n" for file in files) + f"--{BOUNDARY}--\r\n".encode()


def post(url: str, body: Any, **headers: str) -> requests.Response:
    kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
    return requests.post(url, data=body, headers={"Content-Type": kind, **headers}, timeout=120)


def nothing_is_left(tmp_path: Path) -> bool:
    return not list((tmp_path / "incoming").iterdir())


def test_a_client_of_another_maker_stores_a_series(
    start_web: Callable[..., str], intake: KeepingIntake, instances: list[Path]
) -> None:
    url = start_web(intake, TOKEN)
    client = DICOMwebClient(url, headers={"Authorization": f"Bearer {TOKEN}"})
    sent = [pydicom.dcmread(file) for file in instances]
    answer = client.store_instances(sent)
    assert {item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence} == {
        ds.SOPInstanceUID for ds in sent
    }
    assert "FailedSOPSequence" not in answer
    by_uid = {ds.SOPInstanceUID: ds for ds in sent}
    assert len(intake.instances) == len(sent)
    assert all(pydicom.dcmread(each.path) == by_uid[each.sop_instance_uid] for each in intake.instances)
    assert {(sender.kind, sender.address) for sender in intake.senders} == {("stow", LOOPBACK)}
    assert [sender.association for sender in intake.ended] == [intake.senders[0].association]


def test_orthanc_stores_a_study(
    start_web: Callable[..., str], intake: KeepingIntake, instances: list[Path], orthanc: Orthanc
) -> None:
    port = int(start_web(intake, TOKEN).split(":")[2].split("/")[0])
    orthanc.upload(instances)
    orthanc.know_dicomweb("gateway", port, "/dicom-web/", TOKEN)
    (study,) = orthanc.find("Study")
    orthanc.rest("POST", "dicom-web/servers/gateway/stow", {"Resources": [study], "Synchronous": True})
    assert set(intake.uids) == {str(pydicom.dcmread(file).SOPInstanceUID) for file in instances}


def test_each_instance_of_a_request_has_its_own_answer(
    start_web: Callable[..., str], intake: KeepingIntake, instances: list[Path], tmp_path: Path
) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"no DICOM at all" * 20)
    private = pydicom.dcmread(instances[1])
    private.SOPClassUID = private.file_meta.MediaStorageSOPClassUID = "1.2.3.4.5.6"
    private.save_as(tmp_path / "private.dcm")
    answer = post(f"{start_web(intake)}/studies", body_of([instances[0], garbage, tmp_path / "private.dcm"]))
    assert answer.status_code == 202
    found = answer.json()
    assert [item[UID]["Value"] for item in found[REFERENCED]["Value"]] == [
        [str(pydicom.dcmread(instances[0]).SOPInstanceUID)]
    ]
    assert [(item[UID]["Value"], item[REASON]["Value"]) for item in found[FAILED]["Value"]] == [
        ([str(private.SOPInstanceUID)], [0x0122])
    ]
    assert [item[REASON]["Value"] for item in found[OTHERS]["Value"]] == [[0xC000]]
    assert len(intake.instances) == 1
    assert len(list((tmp_path / "incoming").iterdir())) == 1


@pytest.mark.parametrize(
    ("answer", "status", "reason"),
    [(Answer.INVALID, 409, 0xA900), (Answer.OUT_OF_SPACE, 507, 0xA700), (Answer.FAILED, 500, 0x0110)],
)
def test_the_status_says_why_nothing_was_stored(
    start_web: Callable[..., str], instances: list[Path], answer: Answer, status: int, reason: int
) -> None:
    answered = post(f"{start_web(KeepingIntake(answer))}/studies", body_of(instances[:2]))
    assert answered.status_code == status
    assert {item[REASON]["Value"][0] for item in answered.json()[FAILED]["Value"]} == {reason}
    assert REFERENCED not in answered.json()


def test_an_instance_of_another_study_is_refused(
    start_web: Callable[..., str], intake: KeepingIntake, instances: list[Path]
) -> None:
    url = start_web(intake)
    assert post(f"{url}/studies/1.2.3", body_of(instances[:1])).status_code == 409
    assert post(f"{url}/studies/{pydicom.dcmread(instances[0]).StudyInstanceUID}", body_of(instances[:1])).ok
    assert len(intake.instances) == 1


def test_a_body_that_ends_early_is_refused_whole(
    start_web: Callable[..., str], intake: KeepingIntake, instances: list[Path], tmp_path: Path
) -> None:
    url, body = start_web(intake), body_of(instances)
    for end in (len(body) // 2, len(body) - len(BOUNDARY) - 6, len(body) - 6):
        answer = post(f"{url}/studies", body[:end])
        assert answer.status_code == 400
        assert "nothing of it was stored" in answer.text
        assert_no_patient(answer.text)
    assert intake.instances == []
    assert nothing_is_left(tmp_path)


def test_a_connection_that_breaks_off_leaves_nothing(
    start_web: Callable[..., str], intake: KeepingIntake, instances: list[Path], tmp_path: Path
) -> None:
    url, body = start_web(intake), body_of(instances)
    port = int(url.split(":")[2].split("/")[0])
    head = (
        f"POST /dicom-web/studies HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nContent-Length: {len(body)}\r\n"
        f'Content-Type: multipart/related; type="application/dicom"; boundary={BOUNDARY}\r\n\r\n'
    )
    with socket.create_connection((LOOPBACK, port)) as connection:
        connection.sendall(head.encode() + body[: len(body) // 2])
        wait_until(lambda: not nothing_is_left(tmp_path), "the first instance on the disk")
    wait_until(lambda: nothing_is_left(tmp_path), "what had come of the request to be removed")
    wait_until(lambda: len(intake.ended) == 1, "the end of the request")
    assert intake.instances == []


def test_pieces_of_any_size_make_the_same_files(
    start_web: Callable[..., str], intake: KeepingIntake, instances: list[Path]
) -> None:
    body = io.BytesIO(body_of(instances[:1]))
    answer = post(f"{start_web(intake)}/studies", iter(lambda: body.read(7), b""))
    assert answer.status_code == 200
    assert pydicom.dcmread(intake.instances[0].path) == pydicom.dcmread(instances[0])


def test_the_answer_is_xml_where_only_that_is_accepted(
    start_web: Callable[..., str], intake: KeepingIntake, instances: list[Path]
) -> None:
    url = f"{start_web(intake)}/studies"
    answer = post(url, body_of(instances[:1]), Accept="application/dicom+xml")
    assert answer.headers["Content-Type"] == "application/dicom+xml"
    root = ElementTree.fromstring(answer.content)
    value = root.find("./DicomAttribute[@keyword='ReferencedSOPSequence']/Item/DicomAttribute[@tag='00081155']/Value")
    assert value is not None
    assert value.text == pydicom.dcmread(instances[0]).SOPInstanceUID
    assert post(url, body_of(instances[:1]), Accept="text/html").status_code == 406


@pytest.mark.parametrize(
    "kind",
    ["application/dicom", "multipart/form-data; boundary=x", 'multipart/related; type="application/dicom"',
     'multipart/related; type="application/dicom+json"; boundary=x', "multipart/related; boundary=\u00e4", ""],
)  # fmt: skip
def test_what_is_no_multipart_of_dicom_is_refused(
    start_web: Callable[..., str], intake: KeepingIntake, instances: list[Path], kind: str
) -> None:
    answer = requests.post(
        f"{start_web(intake)}/studies", data=body_of(instances[:1]), headers={"Content-Type": kind.encode()}, timeout=60
    )
    assert answer.status_code == 415
    assert intake.instances == []


def test_a_part_of_another_kind_is_refused(
    start_web: Callable[..., str], intake: KeepingIntake, instances: list[Path], tmp_path: Path
) -> None:
    answer = post(f"{start_web(intake)}/studies", body_of(instances[:1], "image/jpeg"))
    assert (answer.status_code, intake.instances, nothing_is_left(tmp_path)) == (400, [], True)


def test_without_the_token_nothing_is_taken(
    start_web: Callable[..., str], intake: KeepingIntake, instances: list[Path]
) -> None:
    url, body = f"{start_web(intake, TOKEN)}/studies", body_of(instances[:1])
    for authorization in ("", "Bearer ", "Bearer another", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \u00e4"):
        answer = post(url, body, Authorization=authorization.encode())
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert intake.instances == []
    assert post(url, body, Authorization=f"bearer {TOKEN}").status_code == 200


def test_a_page_of_another_site_is_refused(
    start_web: Callable[..., str], intake: KeepingIntake, instances: list[Path]
) -> None:
    url, body = f"{start_web(intake)}/studies", body_of(instances[:1])
    for origin in ("https://evil.example", "null", f"http://{LOOPBACK}:1"):
        assert post(url, body, Origin=origin).status_code == 403
    assert post(url, body, Origin=url.removesuffix("/dicom-web/studies")).status_code == 200
    assert len(intake.instances) == 1


def test_a_full_disk_is_told_before_the_body_is_read(
    start_web: Callable[..., str], instances: list[Path], tmp_path: Path
) -> None:
    intake = KeepingIntake(refuses=Answer.OUT_OF_SPACE)
    assert post(f"{start_web(intake)}/studies", body_of(instances[:1])).status_code == 507
    assert nothing_is_left(tmp_path)


def test_a_port_in_use_is_one_line(start_web: Callable[..., str], intake: KeepingIntake) -> None:
    port = int(start_web(intake).split(":")[2].split("/")[0])
    with pytest.raises(InputError, match=rf"cannot listen for HTTP at 127.0.0.1:{port} \(Address already in use\)"):
        start_web(intake, port=port)


def test_answers_are_json_that_says_its_type(
    start_web: Callable[..., str], intake: KeepingIntake, instances: list[Path]
) -> None:
    answer = post(f"{start_web(intake)}/studies", body_of(instances[:1]))
    assert answer.headers["Content-Type"] == "application/dicom+json"
    assert json.loads(answer.content)["00081190"] == {"vr": "UR"}
