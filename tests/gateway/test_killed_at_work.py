"""A worker that is killed by kill -9 at a stage of a job costs an attempt, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom
import pytest
from gateway_pacs import Pacs, pacs, route_to_pacs
from gateway_process import gateway_process, stop
from gateway_runs import make_config, make_study, wait_for
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE

from swinunet.gateway.config.settings import GatewayConfig
from swinunet.gateway.ledger.administration import status
from swinunet.gateway.ledger.database import Ledger
from swinunet.samples.closed_network import free_port
from swinunet.serving import TritonServer


def send_until_taken(port: int, study: list[Dataset]) -> None:
    """As a scanner does: what got no success is sent again, until everything has one."""
    left, end = list(study), time.monotonic() + 600
    while left and time.monotonic() < end:
        ae = AE("SCANNER")
        ae.add_requested_context(MRImageStorage, ExplicitVRLittleEndian)
        association = ae.associate("127.0.0.1", port, ae_title="SWINUNET")
        while left and association.is_established:
            try:
                answer = association.send_c_store(left[0])
            except (RuntimeError, ValueError):
                break
            if answer.get("Status") != 0x0000:
                break
            left.pop(0)
        if association.is_established:
            association.release()
        time.sleep(0.1)
    assert not left


def finished(config: GatewayConfig) -> bool:
    ledger = Ledger(f"sqlite:///{config.spool / 'ledger.sqlite'}")
    try:
        found = status(ledger)
        return bool(found) and {each.state for each in found} <= {"done", "set_aside"}
    finally:
        ledger.close()


def assert_whole(config: GatewayConfig, remote: Pacs, study: list[Dataset]) -> None:
    """A SEG is of all images; what came twice by its UID is the same object; nothing half-written is left."""
    of = [each for each in remote.received if each.StudyInstanceUID == study[0].StudyInstanceUID]
    segs = [each for each in of if each.Modality == "SEG"]
    referenced = [
        {item.ReferencedSOPInstanceUID for item in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
        for seg in segs
    ]
    assert {each.SOPInstanceUID for each in study} in referenced
    by_uid: dict[str, Dataset] = {}
    for each in of:
        assert by_uid.setdefault(each.SOPInstanceUID, each) == each
    incoming = [path for path in (config.spool / "incoming").rglob("*") if path.is_file()]
    assert incoming == list((config.spool / "jobs").iterdir()) == []
    files = list((config.spool / "instances").rglob("*.dcm"))
    uids = [str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in files]
    assert len(uids) == len(set(uids))
    assert {each.SOPInstanceUID for each in study} <= set(uids)


@contextmanager
def bench(triton: TritonServer, folder: Path, **sections: object) -> Iterator[tuple[GatewayConfig, int, Pacs]]:
    port = free_port()
    with pacs() as remote:
        yield (
            make_config(
                folder, models={"url": triton.url}, listener={"port": port}, **route_to_pacs(remote.port), **sections
            ),
            port,
            remote,
        )


def saved(study: list[Dataset]) -> list[Dataset]:
    for each in study:
        each.file_meta.MediaStorageSOPClassUID = each.SOPClassUID
        each.file_meta.MediaStorageSOPInstanceUID = each.SOPInstanceUID
    return study


@pytest.mark.parametrize("stage", ["segmenting", "kept", "finished"])
def test_a_worker_that_is_killed_at_a_stage_of_a_job(small_triton: TritonServer, tmp_path: Path, stage: str) -> None:
    """In inference; between the result and its delivery, before and after the ledger has it."""
    study = saved(make_study())
    with bench(small_triton, tmp_path) as (config, port, remote):
        environment = {"SWINUNET_TEST_KILL_WORKER_AT": stage}
        with gateway_process(config, tmp_path / "log", environment) as process:
            send_until_taken(port, study)
            wait_for(lambda: finished(config), "the study")
            stop(process)
        assert "a worker ended" in (tmp_path / "log").read_text()
        assert_whole(config, remote, study)
        assert len(remote.received) == 2
