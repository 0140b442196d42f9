"""`swinunet benchmark reading`: what it reports and refuses. Never how fast anything is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import run_benchmark

from swinunet.benchmarks.reading import (
    WAYS,
    MeasuredReading,
    ReadingResult,
    ReadingSample,
    ReadingSettings,
    reading_report,
    require_same_voxels,
    run_reading_benchmark,
)
from swinunet.benchmarks.reading_series import QUICK_CASES, ReadingCase, write_case
from swinunet.benchmarks.workers.reading_worker import read_as_client, read_plainly


def test_quick_run_reads_every_folder_both_ways(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "made"))
    monkeypatch.setattr("tempfile.tempdir", None)  # read TMPDIR again
    (tmp_path / "made").mkdir()
    status, out, err = run_benchmark(capfd, monkeypatch, "reading", "--quick", "-o", str(tmp_path / "report"))
    assert status == 0, err
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == [
        "reading.html",
        "reading.json",
        "reading.md",
        "reading.png",
    ]
    assert list((tmp_path / "made").iterdir()) == []
    report = json.loads((tmp_path / "report" / "reading.json").read_text())
    text = (tmp_path / "report" / "reading.md").read_text()

    assert [(row["case"], row["way"]) for row in report["rows"]] == [(c.name, way) for c in QUICK_CASES for way in WAYS]
    for row, case in zip(report["rows"], [case for case in QUICK_CASES for _ in WAYS], strict=True):
        assert row["error"] is None
        assert len(row["rounds"]) == 2
        for found in row["rounds"]:
            assert (found["files"], found["slices"]) == (case.files, case.slices)
            assert found["volume_mib"] == pytest.approx(case.slices * case.pixels**2 * 2 / 2**20)
            assert found["inspect_s"] > 0
            assert found["read_s"] > 0
        assert f"| {case.title} | {WAYS[row['way']]} |" in text
    helpers = {row["rounds"][0]["helper_mib"] > 0 for row in report["rows"] if row["way"] == "plain"}
    assert helpers == {False}
    assert "MiB beyond" in out
    assert report["machine"]["cpu"] in text


@pytest.mark.parametrize("case", QUICK_CASES, ids=lambda case: case.name)
def test_both_ways_read_what_was_written(case: ReadingCase, tmp_path: Path) -> None:
    folder = write_case(case, tmp_path / "case")
    plain, client = read_plainly(folder), read_as_client(folder)
    assert (plain[0] == client[0]).all()
    assert plain[1] == client[1] == len(list(folder.iterdir()))
    assert -1024 <= plain[0].min() < -900
    assert 0 < plain[0].max() < 200


def sample(seconds: float, checksum: int = 1) -> ReadingSample:
    return ReadingSample(10, 10, seconds, 2 * seconds, 6 * seconds, 30.0, 20.0, 0.0, checksum)


def test_ratios_are_taken_within_a_round() -> None:
    plain, ours = MeasuredReading(QUICK_CASES[0], "plain"), MeasuredReading(QUICK_CASES[0], "client")
    for seconds in (1.0, 2.0):  # the machine was busy in the second round
        plain.samples.append(sample(seconds))
        ours.samples.append(sample(seconds / 4))
    ratio = ours.ratio(plain, lambda each: each.read_s, inverse=True)
    assert ratio is not None
    assert ratio.rounds == (4.0, 4.0)
    assert (sample(1.0).cores, sample(1.0).beyond_mib) == (2.0, 10.0)
    ours.error = "died"
    assert ours.ratio(plain, lambda each: each.read_s, inverse=True) is None


def test_a_way_that_fails_says_so() -> None:
    nothing = ReadingCase("empty", "a folder without files", slices=0, pixels=16)
    report = reading_report(run_reading_benchmark(ReadingSettings((nothing,), rounds=1)))
    assert all(row["error"] and not row["rounds"] for row in report.json()["rows"])
    assert "| a folder without files | the client |" in report.markdown()
    assert "not measured: " in report.markdown()
    assert report.tables[0].heads[-1] == "remark"


def test_a_way_that_reads_other_voxels_says_so() -> None:
    plain, ours = (MeasuredReading(QUICK_CASES[0], way) for way in WAYS)
    plain.samples, ours.samples = [sample(1.0)], [sample(1.0)]
    require_same_voxels(ours, plain)
    assert ours.measured
    ours.samples.append(sample(1.0, checksum=2))
    require_same_voxels(ours, plain)
    assert ours.error == "its voxels are not those of the plain loop"
    settings = ReadingSettings(QUICK_CASES[:1], rounds=1)
    report = reading_report(ReadingResult(settings, [plain, ours]))
    assert f"not measured: {ours.error}" in report.markdown()
    assert report.tables[0].heads[-1] == "remark"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["reading", "--model", "liver"], "--model is not of `swinunet benchmark reading` (of serving, graph only)"),
        (["reading", "--recipes", "tiny"], "--recipes is not of `swinunet benchmark reading` (of training only)"),
        (["reading", "--seconds", "1"], "--seconds is not of `swinunet benchmark reading`"),
    ],
)
def test_bad_input_is_one_clear_line(
    arguments: list[str],
    expected: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    status, out, err = run_benchmark(capfd, monkeypatch, *arguments, "-o", str(tmp_path / "report"))
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert expected in err
    assert not (tmp_path / "report").exists()
