"""A study in, results out: the real parts, a real Triton, a folder as destination."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from gateway_runs import hand_over, make_config, make_study, part10_files, wait_for_jobs

from swinunet.client.results.report import read_report
from swinunet.gateway.contract import Answer
from swinunet.gateway.process.gateway import Gateway
from swinunet.serving import TritonServer


def test_a_study_comes_in_and_its_results_go_out(small_triton: TritonServer, tmp_path: Path) -> None:
    study = make_study()
    files = part10_files(tmp_path / "in", study)
    config = make_config(tmp_path, models={"url": small_triton.url}, listener=None)
    with Gateway(config) as gateway:
        incoming = next((config.spool / "incoming").iterdir())
        assert hand_over(gateway.intake, incoming, files) == [Answer.STORED] * len(files)
        (job,) = wait_for_jobs(gateway.ledger, ["done"])
        assert (job.images, job.model, job.revision) == (len(files), "small", 1)
    (delivered,) = (tmp_path / "out").iterdir()
    seg = pydicom.dcmread(delivered / "segmentation.dcm")
    assert seg.StudyInstanceUID == study[0].StudyInstanceUID
    (referenced,) = seg.ReferencedSeriesSequence
    sources = {item.ReferencedSOPInstanceUID for item in referenced.ReferencedInstanceSequence}
    assert sources == {each.SOPInstanceUID for each in study}
    report = read_report(delivered / "report.json")
    assert sorted(report.input.source_instances) == sorted(each.SOPInstanceUID for each in study)
    assert pydicom.dcmread(delivered / "measurements.dcm").Modality == "SR"


@pytest.fixture(autouse=True)
def _quiet_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="swinunet.gateway")
