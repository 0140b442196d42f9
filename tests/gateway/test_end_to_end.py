"""A study in, results out: the real parts, a real Triton, a folder as destination."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_series import make_cine
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


def test_a_cine_comes_in_and_one_segmentation_of_all_its_phases_goes_out(
    small_triton: TritonServer, tmp_path: Path
) -> None:
    cine, random = make_cine(3, 4, shape=(8, 8), pixel_spacing_mm=(1.5, 1.5)), np.random.default_rng(0)
    for image in cine:
        image.PixelData = random.integers(0, 400, (8, 8), dtype=np.int16).tobytes()
    files = part10_files(tmp_path / "in", cine)
    config = make_config(tmp_path, models={"url": small_triton.url}, listener=None)
    with Gateway(config) as gateway:
        incoming = next((config.spool / "incoming").iterdir())
        assert hand_over(gateway.intake, incoming, files) == [Answer.STORED] * len(files)
        (job,) = wait_for_jobs(gateway.ledger, ["done"])
    assert (job.images, job.model) == (12, "small")
    (delivered,) = (tmp_path / "out").iterdir()
    assert len(read_report(delivered / "report.json").phases) == 3
    seg = pydicom.dcmread(delivered / "segmentation.dcm")
    assert {frame.FrameContentSequence[0].TemporalPositionIndex for frame in seg.PerFrameFunctionalGroupsSequence} == {
        1, 2, 3,
    }  # fmt: skip
    assert pydicom.dcmread(delivered / "measurements.dcm").Modality == "SR"


@pytest.fixture(autouse=True)
def _quiet_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="swinunet.gateway")
