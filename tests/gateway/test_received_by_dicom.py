"""Studies by C-STORE and STOW-RS into the running gateway, results by C-STORE to a PACS of pynetdicom."""

from __future__ import annotations

import socket
from pathlib import Path

import pydicom
import pytest
import requests
from gateway_pacs import pacs, route_to_pacs
from gateway_runs import make_config, make_study, part10_files, wait_for, wait_for_jobs
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, SegmentationStorage
from pynetdicom import AE
from pynetdicom.sop_class import ComprehensiveSRStorage  # type: ignore[attr-defined]

from swinunet.gateway.process.gateway import Gateway
from swinunet.samples.closed_network import free_port
from swinunet.serving import TritonServer


def send(port: int, study: list[Dataset], calling_ae: str = "SCANNER") -> list[int]:
    ae = AE(calling_ae)
    ae.add_requested_context(MRImageStorage, ExplicitVRLittleEndian)
    association = ae.associate("127.0.0.1", port, ae_title="SWINUNET")
    assert association.is_established
    statuses = [association.send_c_store(each).Status for each in study]
    association.release()
    return statuses


def test_a_study_by_c_store_comes_back_by_c_store(small_triton: TritonServer, tmp_path: Path) -> None:
    study, port = make_study(), free_port()
    part10_files(tmp_path / "in", study)  # which completes their file meta information
    with pacs() as remote:
        config = make_config(
            tmp_path, models={"url": small_triton.url}, listener={"port": port}, **route_to_pacs(remote.port)
        )
        with Gateway(config) as gateway:
            assert send(port, study) == [0x0000] * len(study)
            (job,) = wait_for_jobs(gateway.ledger, ["done"])
            assert {each.state for each in job.deliveries} == {"delivered"}
    seg, sr = remote.received
    assert (seg.SOPClassUID, sr.SOPClassUID) == (SegmentationStorage, ComprehensiveSRStorage)
    assert {seg.StudyInstanceUID, sr.StudyInstanceUID} == {study[0].StudyInstanceUID}


def test_a_study_by_stow_rs(small_triton: TritonServer, tmp_path: Path) -> None:
    study, port = make_study(), free_port()
    files = part10_files(tmp_path / "in", study)
    token = tmp_path / "token"
    token.write_text("open sesame")
    token.chmod(0o600)
    config = make_config(
        tmp_path, models={"url": small_triton.url}, listener=None, web={"port": port, "token_file": str(token)}
    )
    parts = [b"--x\r\nContent-Type: application/dicom\r\n\r\n" + file.read_bytes() + b"\r\n" for file in files]
    kind = 'multipart/related; type="application/dicom"; boundary=x'

    def post(word: str) -> int:
        headers = {"Content-Type": kind, "Authorization": f"Bearer {word}"}
        url = f"http://127.0.0.1:{port}/dicom-web/studies"
        return requests.post(url, data=b"".join(parts) + b"--x--\r\n", headers=headers, timeout=600).status_code

    with Gateway(config) as gateway:
        assert post("guessed") == 401
        assert post("open sesame") == 200
        (job,) = wait_for_jobs(gateway.ledger, ["done"])
        assert job.images == len(study)


def test_a_pacs_that_refuses_for_a_while_gets_each_object_once(small_triton: TritonServer, tmp_path: Path) -> None:
    study, port = make_study(), free_port()
    part10_files(tmp_path / "in", study)
    with pacs() as remote:
        remote.refuse_with = 0xA700
        config = make_config(
            tmp_path, models={"url": small_triton.url}, listener={"port": port}, **route_to_pacs(remote.port)
        )
        with Gateway(config) as gateway:
            send(port, study)
            wait_for(lambda: remote.refused >= 3, "three refusals")
            remote.refuse_with = None
            wait_for_jobs(gateway.ledger, ["done"])
    uids = [each.SOPInstanceUID for each in remote.received]
    assert len(uids) == len(set(uids)) == 2


def test_where_label_maps_are_refused_the_binary_segmentation_goes(small_triton: TritonServer, tmp_path: Path) -> None:
    study, port = make_study(), free_port()
    part10_files(tmp_path / "in", study)
    with pacs() as remote:
        to_pacs = route_to_pacs(remote.port)
        to_pacs["route"] = {"destinations": ["pacs", "out"], "seg_type": "labelmap"}
        config = make_config(tmp_path, models={"url": small_triton.url}, listener={"port": port}, **to_pacs)
        with Gateway(config) as gateway:
            send(port, study)
            (job,) = wait_for_jobs(gateway.ledger, ["done"])
    seg, sr = remote.received
    assert (seg.SOPClassUID, seg.SegmentationType) == (SegmentationStorage, "BINARY")
    referred = sr.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    uids = {item.ReferencedSOPInstanceUID for one in referred for item in one.ReferencedSOPSequence}
    assert seg.SOPInstanceUID in uids
    assert sorted(each.state for each in job.deliveries) == ["delivered"] * 3 + ["replaced"] * 2
    (folder,) = (tmp_path / "out").iterdir()
    assert pydicom.dcmread(folder / "segmentation.dcm").SegmentationType == "LABELMAP"


def test_a_caller_that_no_route_takes_is_set_aside(small_triton: TritonServer, tmp_path: Path) -> None:
    study, port = make_study(), free_port()
    part10_files(tmp_path / "in", study)
    config = make_config(
        tmp_path, models={"url": small_triton.url}, listener={"port": port}, route={"calling_ae": ["CT1"]}
    )
    with Gateway(config) as gateway:
        send(port, study)
        (job,) = wait_for_jobs(gateway.ledger, ["set_aside"])
    assert job.reason == "no route takes it: all: it was sent by SCANNER, the route takes CT1"


def test_it_ends_with_nothing_left_listening(tmp_path: Path) -> None:
    port = free_port()
    config = make_config(tmp_path, models={"url": "127.0.0.1:9"}, listener={"port": port})
    with Gateway(config):
        socket.create_connection(("127.0.0.1", port), 60).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 60)
