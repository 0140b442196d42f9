"""`swinunet benchmark reading`: what it reports and refuses. Never how fast anything is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import run_benchmark

from swinunet.benchmarks.measure.children import ChildError
from swinunet.benchmarks.measure.reading import (
    WAYS,
    Child,
    ReadingPlan,
    ReadingResult,
    ReadingRow,
    ReadingSample,
    run_reading_benchmark,
)
from swinunet.benchmarks.measure.reading_series import QUICK_CASES, write_case
from swinunet.benchmarks.reports.reading_report import FILES, reading_json, reading_markdown, reading_table
from swinunet.benchmarks.workers.reading_worker import read_as_client, read_plainly


def test_quick_run_reads_every_folder_both_ways(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "made"))
    monkeypatch.setattr("tempfile.tempdir", None)  # read TMPDIR again
    monkeypatch.setattr(ReadingPlan, "short", staticmethod(lambda: ReadingPlan(QUICK_CASES, 1, quick=True)))
    (tmp_path / "made").mkdir()
    status, out, err = run_benchmark(capfd, monkeypatch, "reading", "--quick", "-o", str(tmp_path / "report"))
    assert status == 0, err
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == sorted(FILES)
    assert list((tmp_path / "made").iterdir()) == []
    report = json.loads((tmp_path / "report" / "reading.json").read_text())
    text = (tmp_path / "report" / "reading.md").read_text()

    assert [(row["case"], row["way"]) for row in report["rows"]] == [(c.name, way) for c in QUICK_CASES for way in WAYS]
    for row, case in zip(report["rows"], [case for case in QUICK_CASES for _ in WAYS], strict=True):
        assert row["error"] is None
        (found,) = row["rounds"]
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
def test_both_ways_read_what_was_written(case: object, tmp_path: Path) -> None:
    folder = write_case(case, tmp_path / "case")  # type: ignore[arg-type]
    plain, client = read_plainly(folder), read_as_client(folder)
    assert (plain[0] == client[0]).all()
    assert plain[1] == client[1] == len(list(folder.iterdir()))
    assert -1024 <= plain[0].min() < -900
    assert 0 < plain[0].max() < 200


def sample(seconds: float, checksum: int = 1) -> ReadingSample:
    return ReadingSample(10, 10, seconds, 2 * seconds, 6 * seconds, 30.0, 20.0, 0.0, checksum)


def test_ratios_are_taken_within_a_round() -> None:
    plain, ours = ReadingRow(QUICK_CASES[0], "plain"), ReadingRow(QUICK_CASES[0], "client")
    for seconds in (1.0, 2.0):  # the machine was busy in the second round
        plain.samples.append(sample(seconds))
        ours.samples.append(sample(seconds / 4))
    ratio = ours.speed_up(plain, lambda each: each.read_s)
    assert ratio is not None
    assert ratio.rounds == (4.0, 4.0)
    assert (sample(1.0).cores, sample(1.0).beyond_mib) == (2.0, 10.0)
    ours.error = "died"
    assert ours.speed_up(plain, lambda each: each.read_s) is None


def refuse(*_: object, **__: object) -> dict[str, object]:
    raise ChildError("its process ended with SIGKILL")


def answer(_: Child, do: str, patience_s: float, **order: object) -> dict[str, object]:
    return vars(sample(1.0, checksum=len(str(order["way"]))))


@pytest.mark.parametrize(
    ("ask", "says"),
    [(refuse, "its process ended with SIGKILL"), (answer, "its voxels are not those of the plain loop")],
)
def test_a_way_that_fails_or_reads_other_voxels_says_so(
    monkeypatch: pytest.MonkeyPatch, ask: object, says: str
) -> None:
    monkeypatch.setattr(Child, "ask", ask)
    result: ReadingResult = run_reading_benchmark(ReadingPlan(QUICK_CASES[:1], rounds=1))
    assert reading_json(result)["rows"][1]["error"] == says
    assert f"not measured: {says}" in reading_markdown(result)
    assert reading_table(result).heads[-1] == "remark"


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
