"""`swinunet batch` in one process: every study in the manifest, on from where it stopped, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from breakable_triton import slow_down
from command_line import run_swinunet
from dicom_series import make_series, save
from server_traces import eventually
from small_model import write_small_repository

from swinunet.batch.manifest import read_manifest
from swinunet.client.results.report import read_report
from swinunet.serving import TritonServer

Run = Callable[..., tuple[int, str, str]]
LIGHT = ("--outputs", "nifti,json")


def write_study(folder: Path, seed: int, **attributes: object) -> Path:
    """A DICOM series that the small model takes."""
    stored = np.random.default_rng(seed).integers(0, 1000, (5, 20, 20)).astype(np.uint16)
    return save(folder, make_series(stored, pixel_spacing_mm=(1.0, 1.0), **attributes))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Two studies, one of them in two series; a CT; and a folder without anything in it."""
    root = tmp_path / "archive"
    write_study(root / "one", 0)
    write_study(root / "two" / "first", 1)
    write_study(root / "two" / "second", 2)
    write_study(root / "ct", 3, Modality="CT")
    (root / "empty").mkdir()
    return root


@pytest.fixture
def run(small_triton: TritonServer, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return lambda *arguments: run_swinunet(
        capfd, monkeypatch, "batch", *LIGHT, "--url", small_triton.url, "--tree", *arguments
    )


def rows(out: Path) -> dict[tuple[str, str], dict[str, object]]:
    """The rows of a manifest, none twice."""
    found = read_manifest(out / "manifest").to_pylist()
    by_study = {(row["entry"], row["study"]): row for row in found}
    assert len(by_study) == len(found)
    return by_study


def test_every_study_is_in_the_manifest_as_its_report_says(run: Run, archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    status, said, errors = run(archive, "-o", out)
    assert status == 1, "one entry was refused"
    assert "3 done, 1 skipped, 1 refused, 0 set aside" in said
    assert "empty: refused: no DICOM series and no NIfTI file below it" in errors
    found = rows(out)
    assert {study: row["state"] for study, row in found.items()} == {
        ("one", "one"): "done",
        ("two", "first"): "done",
        ("two", "second"): "done",
        ("ct", "ct"): "skipped",
        ("empty", ""): "refused",
    }
    for row in found.values():
        if row["state"] == "done":
            report = read_report(out / str(row["result"]) / "report.json")
            structures = row["structures"]
            assert isinstance(structures, list)
            assert [each["volume_ml"] for each in structures] == [each.volume_ml for each in report.structures]
            assert (row["model"], row["model_version"]) == ("small", 1)


def test_a_second_run_does_what_is_missing_only(run: Run, archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(archive, "-o", out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.json") if path.name == "report.json"}
    write_study(archive / "late", 9)
    status, said, errors = run(archive, "-o", out)
    assert "5 entries, 4 of them ended before" in errors
    assert "4 done" in said
    assert status == 1, "the entry that was refused still is"
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert len(rows(out)) == 6


def test_shards_share_a_manifest(run: Run, archive: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(archive, "-o", whole)
    for number in range(1, 4):
        run(archive, "-o", parts, "--shard", f"{number}/3")
    assert {study: row["result"] for study, row in rows(parts).items()} == {
        study: row["result"] for study, row in rows(whole).items()
    }
    assert masks(parts) == masks(whole)


def masks(out: Path) -> dict[str, str]:
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in out.rglob("mask.nii.gz")
    }


def test_results_that_the_manifest_lost_are_found_again(run: Run, archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(archive, "-o", out)
    before = rows(out)
    for part in (out / "manifest").glob("*.parquet"):
        part.unlink()
    times = {path: path.stat().st_mtime_ns for path in out.rglob("mask.nii.gz")}
    run(archive, "-o", out)
    again = rows(out)
    assert {key: (row["state"], row["structures"]) for key, row in again.items()} == {
        key: (row["state"], row["structures"]) for key, row in before.items()
    }
    assert {path: path.stat().st_mtime_ns for path in out.rglob("mask.nii.gz")} == times


def refused(result: tuple[int, str, str]) -> str:
    """The one line of a refusal."""
    status, said, errors = result
    assert (status, said) == (1, "")
    lines = [line for line in errors.splitlines() if line.startswith("swinunet: ")]
    assert len(lines) == 1, errors
    assert "Traceback" not in errors
    return lines[0]


def test_refusals(run: Run, archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "no such folder" in refused(run(tmp_path / "none", "-o", out))
    assert "--shard 4/3: expected I/N" in refused(run(archive, "-o", out, "--shard", "4/3"))
    assert "results and archive lie in one another" in refused(run(archive, "-o", archive / "out"))
    assert "--gpus is of --engine ray" in refused(run(archive, "-o", out, "--gpus", "1"))
    assert not out.exists()
    (tmp_path / "nothing").mkdir()
    assert "nothing in it" in refused(run(tmp_path / "nothing", "-o", tmp_path / "other"))


def test_a_manifest_of_something_else_is_refused(run: Run, archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(archive, "-o", out)
    assert "another number of shards: 1 there, 2 now" in refused(run(archive, "-o", out, "--shard", "1/2"))
    record = out / "manifest" / "run.json"
    said = json.loads(record.read_text())
    record.write_text(json.dumps(said | {"version": 7}))
    assert "another model version: 7 there, 1 now" in refused(run(archive, "-o", out))


def test_two_runs_never_write_one_shard(
    small_repository: Path, small_triton: TritonServer, archive: Path, tmp_path: Path, run: Run
) -> None:
    """The first is slow and then stopped; the second is refused while it runs, and goes on where it stopped."""
    slow_down(small_repository, 1.0)
    out = tmp_path / "out"
    command = [sys.executable, "-P", "-m", "swinunet", "batch", "--tree", archive, "-o", out, *LIGHT]
    with (
        TritonServer(small_repository) as slow,
        subprocess.Popen(
            [*map(str, command), "--url", slow.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as first,
    ):
        journal = out / "manifest" / "001-of-001-attempts.jsonl"
        assert eventually(lambda: journal.exists() and "begun" in journal.read_text(), 600)
        assert "another run writes shard 1/1" in refused(run(archive, "-o", out))
        first.send_signal(signal.SIGTERM)
        _, errors = first.communicate(timeout=600)
    assert first.returncode == 130
    assert "interrupted; the same command goes on from here" in errors
    assert "Traceback" not in errors
    run(archive, "-o", out)
    assert len(rows(out)) == 5
    assert masks(out).keys() == {f"{row['result']}/mask.nii.gz" for row in rows(out).values() if row["result"]}


def test_its_own_server_is_started_and_a_dead_one_named(
    tritonserver: object,
    archive: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    repository = write_small_repository(tmp_path / "repository")
    own = ("batch", *LIGHT, "--tree", archive, "-o", tmp_path / "out")
    _, said, _ = run_swinunet(capfd, monkeypatch, *own, "--repository", repository)
    assert "3 done" in said
    nobody = ("--url", "127.0.0.1:9", "--timeout", "connect=1")
    assert "no Triton answers at 127.0.0.1:9" in refused(run_swinunet(capfd, monkeypatch, *own, *nobody))
