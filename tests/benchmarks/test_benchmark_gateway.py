"""`swinunet benchmark gateway`: what it reports and refuses. Never how fast anything is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import run_benchmark

from swinunet.benchmarks.gateway.instances import write_study
from swinunet.benchmarks.gateway.receivers import WAYS
from swinunet.benchmarks.gateway.receiving import receive
from swinunet.benchmarks.gateway.report import gateway_report, goals
from swinunet.benchmarks.gateway.result import (
    DeliverySample,
    GatewayBenchmarkResult,
    MeasuredReceiving,
    MemorySample,
    ReceivingSample,
)
from swinunet.benchmarks.gateway.senders import divided
from swinunet.benchmarks.gateway.settings import GatewayBenchmarkSettings
from swinunet.samples.dicom_nodes import why_no_orthanc, why_no_storescp

SETTINGS = GatewayBenchmarkSettings(rounds=2)
SHORT = GatewayBenchmarkSettings.short()


def test_quick_run_measures_all_that_is_installed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Receiving, a study there and back through a Triton, memory; an absent program says what is missing."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "made"))
    monkeypatch.setattr("tempfile.tempdir", None)  # read TMPDIR again
    (tmp_path / "made").mkdir()
    status, _, err = run_benchmark(capfd, monkeypatch, "gateway", "--quick", "-o", str(tmp_path / "report"))
    assert status == 0, err
    files = sorted(path.name for path in (tmp_path / "report").iterdir())
    assert files == ["gateway.html", "gateway.json", "gateway.md", "gateway.png"]
    assert not list((tmp_path / "made").glob("swinunet-*"))  # PyTorch keeps a folder there
    report = json.loads((tmp_path / "report" / "gateway.json").read_text())
    assert [(row["program"], row["protocol"]) for row in report["receiving"]] == list(WAYS)
    missing = {"gateway": None, "storescp": why_no_storescp(), "orthanc": why_no_orthanc()}
    for row in report["receiving"]:
        assert row["error"] == missing[row["program"]]
        if row["error"] is None:
            (sample,) = row["samples"]
            assert 0 < sample["instances"] < SHORT.instances
            assert sample["seconds"] > 0
    (sample,) = report["delivery"]["samples"]
    assert sample["total_s"] > sample["rule_s"] + sample["segmentation_s"] > sample["rule_s"] > 0
    assert [each["instances"] for each in report["memory"]["samples"]] == [16, 32, 48]
    assert all(each["all_mib"] > each["receiver_mib"] > 0 for each in report["memory"]["samples"])


def test_a_program_that_is_not_installed_is_a_row_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    files = write_study(tmp_path / "sent", "study", 2, 16)
    row = MeasuredReceiving("storescp", "c-store", 1)
    row.take(lambda: receive(row, files, tmp_path))
    page = gateway_report(GatewayBenchmarkResult(SETTINGS, [row])).markdown()
    assert "| dcmtk storescp | C-STORE | 1 | - | - | not measured: needs dcmtk (make debian) |" in page


def test_the_report_holds_every_figure_and_whether_the_goals_were_reached() -> None:
    row = MeasuredReceiving(
        "gateway", "stow", 8, samples=[ReceivingSample(100, 1.0, 0.5), ReceivingSample(100, 2.0, 1.5)]
    )
    result = GatewayBenchmarkResult(SETTINGS, [row])
    result.delivery.samples += [DeliverySample(7.5, 1.0, 6.0), DeliverySample(8.5, 1.0, 6.0)]
    result.memory.samples.append([MemorySample(1000, 200.0, 300.0), MemorySample(10_000, 209.0, 310.0)])
    report = gateway_report(result)
    page = report.markdown()
    assert "| swinunet gateway | STOW-RS | 8 | 75.0 (50.0-100) | 10.0 (5.00-15.0) |" in page
    assert "| of it what the gateway adds | 1.00 (0.500-1.50) |" in page
    assert "| 10,000 | 209 | 310 |" in page
    assert "200 MiB after 1,000 instances, 209 after 10,000, +4.5% | yes |" in page
    assert [goal.reached for goal in goals(result)] == [False, True]
    assert report.json()["receiving"][0]["samples"][1] == {"instances": 100, "seconds": 2.0, "cpu_s": 1.5}


@pytest.mark.parametrize(
    ("beyond_s", "last_mib", "reached"), [(0.99, 210.0, [True, True]), (1.0, 210.1, [False, False])]
)
def test_goals_at_their_edges(beyond_s: float, last_mib: float, reached: list[bool]) -> None:
    result = GatewayBenchmarkResult(SETTINGS, [])
    result.delivery.samples.append(DeliverySample(beyond_s, 0.0, 0.0))
    result.memory.samples.append([MemorySample(1000, 200.0, 0.0), MemorySample(10_000, last_mib, 0.0)])
    assert [goal.reached for goal in goals(result)] == reached


def test_what_was_not_measured_reaches_no_goal_and_is_drawn(tmp_path: Path) -> None:
    result = GatewayBenchmarkResult(SETTINGS, [])
    result.delivery.error = result.memory.error = "Triton is not installed"
    assert [(goal.found, goal.answer) for goal in goals(result)] == [
        ("not measured: Triton is not installed", "not measured")
    ] * 2
    assert len(gateway_report(result).write(tmp_path)) == 4


@pytest.mark.parametrize(("count", "into", "sizes"), [(8, 1, [8]), (8, 8, [1] * 8), (9, 2, [5, 4]), (3, 8, [1, 1, 1])])
def test_files_are_divided_without_losing_one(count: int, into: int, sizes: list[int]) -> None:
    files = [Path(str(number)) for number in range(count)]
    groups = divided(files, into)
    assert [len(group) for group in groups] == sizes
    assert [file for group in groups for file in group] == files


@pytest.mark.parametrize("option", ["--model", "--recipe", "--engines"])
def test_options_of_other_benchmarks_are_refused(
    option: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, _, err = run_benchmark(capfd, monkeypatch, "gateway", option, "tiny")
    assert status == 1
    assert f"{option} is not of `swinunet benchmark gateway`" in err
