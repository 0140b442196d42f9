"""A real Orthanc sends a study, gets the results by C-STORE and STOW-RS, shows them by QIDO-RS, and commits to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dicom_nodes import Orthanc, running_orthanc
from dicomweb_client import DICOMwebClient
from gateway_runs import make_config, make_study, part10_files, wait_for, wait_for_jobs
from pydicom.uid import ComprehensiveSRStorage, SegmentationStorage
from sqlalchemy import select

from swinunet.gateway.config.settings import GatewayConfig
from swinunet.gateway.ledger.schema import commitments
from swinunet.gateway.process.gateway import Gateway
from swinunet.samples.closed_network import LOOPBACK, Relay, free_port
from swinunet.serving import TritonServer

LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


def beside(
    orthanc: Orthanc, triton: TritonServer, folder: Path, http: Relay | None = None, **route: Any
) -> GatewayConfig:
    """A gateway that asks Orthanc for the number of instances, and sends to it in both ways."""
    port = free_port()
    orthanc.know_modality("gateway", "SWINUNET", port)
    url = f"http://{LOOPBACK}:{(http or orthanc.http).port}/dicom-web"
    complete = {"study_silence_s": 600.0, "series_silence_s": None, "count_from": "pacs", "count_after_s": 0.3}
    return make_config(
        folder,
        models={"url": triton.url},
        listener={"port": port},
        peers=[
            {"name": "pacs", "kind": "dimse", "called_ae": "ORTHANC", "host": LOOPBACK, "port": orthanc.dicom.port,
             "commitment": True},
            {"name": "archive", "kind": "dicomweb", "url": url},
        ],
        route={"destinations": ["pacs", "archive"], "complete": complete, **route},
    )  # fmt: skip


def store_from_orthanc(orthanc: Orthanc, folder: Path, seed: int) -> tuple[str, list[str]]:
    """Send a new study to the gateway; its UID, and those of its instances."""
    study = make_study(seed=seed)
    orthanc.upload(part10_files(folder / "in", study))
    (known,) = orthanc.find("Study", StudyInstanceUID=str(study[0].StudyInstanceUID))
    orthanc.rest("POST", "modalities/gateway/store", {"Resources": [known], "Synchronous": True})
    return str(study[0].StudyInstanceUID), [str(each.SOPInstanceUID) for each in study]


def classes_by_qido(orthanc: Orthanc, study_uid: str) -> dict[str, str]:
    """SOP Class UID of each instance of a study by its UID."""
    client = DICOMwebClient(orthanc.dicomweb_url)
    found = client.search_for_instances(study_uid, fields=["00080016"])
    return {item["00080018"]["Value"][0]: item["00080016"]["Value"][0] for item in found}


def committed(gateway: Gateway) -> list[str]:
    with gateway.ledger.read() as connection:
        return [row.state for row in connection.execute(select(commitments))]


def test_segmentation_and_report_come_back_and_are_committed(
    orthanc: Orthanc, small_triton: TritonServer, tmp_path: Path
) -> None:
    with Gateway(beside(orthanc, small_triton, tmp_path)) as gateway:
        study_uid, sent = store_from_orthanc(orthanc, tmp_path, seed=1)
        (job,) = wait_for_jobs(gateway.ledger, ["done"])
        assert job.images == len(sent)
        results = {uid: kind for uid, kind in classes_by_qido(orthanc, study_uid).items() if uid not in sent}
        assert sorted(results.values()) == sorted([SegmentationStorage, ComprehensiveSRStorage])
        wait_for(lambda: set(committed(gateway)) == {"committed"}, "the commitments of both results")
        back = orthanc.rest("POST", "modalities/gateway/store", {  # our own results come back as a PACS sends them
            "Resources": orthanc.find("Study", StudyInstanceUID=study_uid), "Synchronous": True,
        })  # fmt: skip
        assert back["FailedInstancesCount"] == 0
        assert len(wait_for_jobs(gateway.ledger, ["done"])) == 1


def test_where_a_label_map_is_refused_the_binary_segmentation_goes(
    orthanc: Orthanc, small_triton: TritonServer, tmp_path: Path
) -> None:
    """Orthanc 1.10 takes no label map by C-STORE, and one by STOW-RS."""
    with Gateway(beside(orthanc, small_triton, tmp_path, seg_type="labelmap")) as gateway:
        study_uid, sent = store_from_orthanc(orthanc, tmp_path, seed=2)
        wait_for_jobs(gateway.ledger, ["done"])
        results = {uid: kind for uid, kind in classes_by_qido(orthanc, study_uid).items() if uid not in sent}
        assert {SegmentationStorage, LABEL_MAP, ComprehensiveSRStorage} == set(results.values())


def test_a_pacs_that_is_down_gets_everything_once_it_is_up(
    orthanc: Orthanc, small_triton: TritonServer, tmp_path: Path
) -> None:
    http = orthanc.second_http()
    http.down()
    with Gateway(beside(orthanc, small_triton, tmp_path, http)) as gateway:
        study_uid, sent = store_from_orthanc(orthanc, tmp_path, seed=3)
        wait_for(lambda: len(classes_by_qido(orthanc, study_uid)) == len(sent) + 2, "the results by C-STORE")
        wait_for_jobs(gateway.ledger, ["delivering"])
        http.up()
        wait_for_jobs(gateway.ledger, ["done"])
