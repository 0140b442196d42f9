"""Everything that we ask of a PACS, asked of a real Orthanc, by DIMSE and by DICOMweb."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_nodes import Orthanc, wait_until
from dicom_series import make_series, save
from gateway_intakes import KeepingCommitments, KeepingIntake
from pydicom.uid import JPEG2000Lossless, RLELossless, generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel

from swinunet.foundation.errors import PeerError
from swinunet.gateway.config.peers import DimsePeer, WebPeer
from swinunet.gateway.contract import CommitmentReport, Reference
from swinunet.gateway.network.dimse.commitment import send_report
from swinunet.gateway.network.peers import Peers
from swinunet.samples.closed_network import LOOPBACK

from .conftest import StartListener

LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"


def no_secret(path: Path) -> str:
    raise AssertionError(f"{path} is no secret of this test")


@pytest.fixture
def peers() -> Peers:
    return Peers("GATEWAY", no_secret)


@pytest.fixture
def by_dimse(orthanc: Orthanc) -> DimsePeer:
    return DimsePeer("orthanc", "ORTHANC", LOOPBACK, orthanc.dicom.port)


@pytest.fixture
def by_web(orthanc: Orthanc) -> WebPeer:
    return WebPeer("orthanc", orthanc.dicomweb_url)


@pytest.fixture
def held(orthanc: Orthanc, instances: list[Path]) -> tuple[str, set[str]]:
    """Study UID and instance UIDs of what Orthanc holds."""
    orthanc.upload(instances)
    return (
        str(pydicom.dcmread(instances[0]).StudyInstanceUID),
        {str(pydicom.dcmread(file).SOPInstanceUID) for file in instances},
    )


def made(folder: Path, count: int = 3, **attributes: object) -> list[Path]:
    slices = make_series(**attributes)[:count]  # type: ignore[arg-type]
    return sorted(save(folder, slices).iterdir())


@pytest.mark.parametrize("way", ["dimse", "web"])
def test_what_is_sent_is_there_bit_by_bit(
    orthanc: Orthanc, peers: Peers, by_dimse: DimsePeer, by_web: WebPeer, tmp_path: Path, way: str
) -> None:
    files = made(tmp_path / "sent")
    outcomes = peers.send(by_dimse if way == "dimse" else by_web, files)
    assert [outcome.accepted for outcome in outcomes] == [True] * 3
    for file in files:
        sent = pydicom.dcmread(file)
        (found,) = orthanc.find("Instance", SOPInstanceUID=str(sent.SOPInstanceUID))
        answer = orthanc._session.get(f"{orthanc.url}/instances/{found}/file", timeout=60)
        assert pydicom.dcmread(pydicom.filebase.DicomBytesIO(answer.content)) == sent
    assert [outcome.accepted for outcome in peers.send(by_dimse, files)] == [True] * 3  # again: no fault of ours


def test_a_label_map_is_refused_by_dimse_and_taken_by_stow(
    orthanc: Orthanc, peers: Peers, by_dimse: DimsePeer, by_web: WebPeer, tmp_path: Path
) -> None:
    """Orthanc 1.10 does not know the SOP class; the other instance on the association is not harmed."""
    label_map, plain = make_series()[:2]
    label_map.SOPClassUID = LABEL_MAP
    files = sorted(save(tmp_path / "sent", [label_map, plain]).iterdir())
    refused, taken = peers.send(by_dimse, files)
    assert (refused.accepted, refused.retry, refused.sop_class_refused) == (False, False, True)
    assert f"does not take {LABEL_MAP}" in refused.words
    assert taken.accepted
    (outcome,) = peers.send(by_web, files[:1])
    assert outcome.accepted
    assert str(label_map.SOPInstanceUID) in orthanc.instance_uids()


def test_a_file_that_is_no_dicom_is_refused_here(
    peers: Peers, by_dimse: DimsePeer, by_web: WebPeer, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"nothing")
    for peer in (by_dimse, by_web):
        (outcome,) = peers.send(peer, [tmp_path / "file"])
        assert (outcome.accepted, outcome.retry) == (False, False)


def test_both_ways_count_the_instances_of_each_series(
    peers: Peers, by_dimse: DimsePeer, by_web: WebPeer, held: tuple[str, set[str]], instances: list[Path]
) -> None:
    series = str(pydicom.dcmread(instances[0]).SeriesInstanceUID)
    for peer in (by_dimse, by_web):
        (count,) = peers.count(peer, held[0])
        assert (count.series_uid, count.modality, count.instances) == (series, "MR", len(instances))
        assert peers.count(peer, generate_uid()) == []


def test_a_study_is_moved_to_our_listener(
    start_listener: StartListener, intake: KeepingIntake, orthanc: Orthanc, peers: Peers, by_dimse: DimsePeer,
    held: tuple[str, set[str]],
) -> None:  # fmt: skip
    orthanc.rest("DELETE", "modalities/us") if "us" in orthanc.rest("GET", "modalities") else None
    assert peers.move(by_dimse, held[0]) is None  # it does not know us
    listener = start_listener(intake)
    orthanc.know_modality("us", "GATEWAY", listener.port)
    moved = peers.move(by_dimse, held[0])
    assert moved is not None
    assert (moved.taken, moved.not_taken) == (len(held[1]), 0)
    assert set(intake.uids) == held[1]


@pytest.mark.parametrize("way", ["dimse", "web"])
def test_a_study_is_fetched(
    peers: Peers, by_dimse: DimsePeer, by_web: WebPeer, held: tuple[str, set[str]], instances: list[Path],
    tmp_path: Path, way: str,
) -> None:  # fmt: skip
    intake = KeepingIntake()
    found = peers.fetch(by_dimse if way == "dimse" else by_web, held[0], intake, tmp_path)
    assert (found.taken, found.not_taken) == (len(held[1]), 0)
    assert set(intake.uids) == held[1]
    sent = {str(ds.SOPInstanceUID): ds for ds in map(pydicom.dcmread, instances)}
    assert all(
        pydicom.dcmread(each.path).PixelData == sent[each.sop_instance_uid].PixelData for each in intake.instances
    )
    assert {(sender.kind, sender.name) for sender in intake.senders} == {("pull", "orthanc")}
    assert len(intake.ended) == 1


def test_a_study_that_is_not_there_is_one_line(peers: Peers, by_web: WebPeer, tmp_path: Path) -> None:
    with pytest.raises(PeerError, match="it holds no such study"):
        peers.fetch(by_web, generate_uid(), KeepingIntake(), tmp_path)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_compressed_instances_come_and_go_as_they_are(
    start_listener: StartListener, intake: KeepingIntake, orthanc: Orthanc, peers: Peers, by_dimse: DimsePeer,
    tmp_path: Path, syntax: str,
) -> None:  # fmt: skip
    (plain,) = make_series(np.arange(64 * 64, dtype=np.uint16).reshape(1, 64, 64))
    plain.compress(syntax, generate_instance_uid=False)
    (file,) = save(tmp_path / "sent", [plain]).iterdir()
    (outcome,) = peers.send(by_dimse, [file])
    assert outcome.accepted, outcome.words
    listener = start_listener(intake)
    orthanc.know_modality("us", "GATEWAY", listener.port)
    moved = peers.move(by_dimse, str(plain.StudyInstanceUID))
    assert moved is not None
    assert [each.transfer_syntax_uid for each in intake.instances] == [syntax]
    assert pydicom.dcmread(intake.instances[0].path).PixelData == plain.PixelData


def test_orthanc_commits_to_what_it_holds_and_reports_on_an_association_of_its_own(
    start_listener: StartListener, intake: KeepingIntake, orthanc: Orthanc, peers: Peers, by_dimse: DimsePeer,
    held: tuple[str, set[str]], instances: list[Path],
) -> None:  # fmt: skip
    commitments = KeepingCommitments()
    orthanc.know_modality("us", "GATEWAY", start_listener(intake, commitments).port)
    there = Reference(*(str(pydicom.dcmread(instances[0])[name].value) for name in ("SOPClassUID", "SOPInstanceUID")))
    missing = replace(there, sop_instance_uid=generate_uid())
    transaction = generate_uid()
    outcome = peers.request_commitment(by_dimse, transaction, [there, missing])
    assert outcome.accepted, outcome.words
    wait_until(lambda: commitments.reports, "the report")
    report, sender = commitments.reports[0]
    assert report == CommitmentReport(transaction, (there,), {missing: 0x0112})
    assert sender.name == "ORTHANC"


def test_a_report_on_the_association_of_the_request_is_taken(peers: Peers) -> None:
    """As some PACS do; Orthanc opens a new one."""
    commitments, reference, transaction = KeepingCommitments(), Reference(LABEL_MAP, generate_uid()), generate_uid()

    def requested(event: evt.Event) -> tuple[int, None]:
        information = event.action_information
        report = CommitmentReport(information.TransactionUID, (reference,), {})
        threading.Thread(target=send_report, args=(event.assoc, report)).start()
        return 0x0000, None

    ae = AE("PACS")
    ae.add_supported_context(StorageCommitmentPushModel)
    server = ae.start_server((LOOPBACK, 0), block=False, evt_handlers=[(evt.EVT_N_ACTION, requested)])
    try:
        peer = DimsePeer("pacs", "PACS", LOOPBACK, server.server_address[1])
        assert peers.request_commitment(peer, transaction, [reference], commitments.reported).accepted
        wait_until(lambda: commitments.reports, "the report")
        assert commitments.reports[0][0] == CommitmentReport(transaction, (reference,), {})
    finally:
        server.shutdown()


def test_orthanc_asks_us_and_is_told(
    start_listener: StartListener, intake: KeepingIntake, orthanc: Orthanc, peers: Peers, by_dimse: DimsePeer,
    held: tuple[str, set[str]], instances: list[Path],
) -> None:  # fmt: skip
    commitments = KeepingCommitments()
    orthanc.know_modality("us", "GATEWAY", start_listener(intake, commitments).port)
    (study,) = orthanc.find("Study", StudyInstanceUID=held[0])
    asked = orthanc.rest("POST", "modalities/us/storage-commitment", {"Resources": [study]})
    wait_until(lambda: commitments.requests, "the request")
    transaction, references, sender = commitments.requests[0]
    assert {reference.sop_instance_uid for reference in references} == held[1]
    assert sender.name == "ORTHANC"
    failed = {references[0]: 0x0112}
    outcome = peers.report_commitment(by_dimse, CommitmentReport(transaction, tuple(references[1:]), failed))
    assert outcome.accepted, outcome.words
    found = orthanc.rest("GET", f"storage-commitment/{asked['ID']}")
    assert found["Status"] == "Failure"
    assert [each["SOPInstanceUID"] for each in found["Failures"]] == [references[0].sop_instance_uid]
    assert len(found["Success"]) == len(references) - 1


def test_a_pacs_that_is_down_slow_or_silent_is_told_as_such_and_later_served(
    orthanc: Orthanc, by_dimse: DimsePeer, by_web: WebPeer, tmp_path: Path
) -> None:
    files = made(tmp_path / "sent")
    peers = Peers("GATEWAY", no_secret)
    for relay, peer in ((orthanc.dicom, by_dimse), (orthanc.http, by_web)):
        relay.down()
        outcomes = peers.send(peer, files)
        assert [(outcome.accepted, outcome.retry) for outcome in outcomes] == [(False, True)] * 3
        relay.up()
        relay.silent = True
        outcomes = peers.send(replace(peer, timeout_s=1.0), files[:1]) if peer is by_web else []
        assert all((outcome.accepted, outcome.retry) == (False, True) for outcome in outcomes)
        relay.silent = False
        relay.delay_s = 0.05
        assert all(outcome.accepted for outcome in peers.send(peer, files))
        relay.delay_s = 0.0
