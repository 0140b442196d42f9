"""docs/how-to-add-an-output.md is true: an output added by following it, and nothing else, works everywhere."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from breakable_triton import small_study

from swinunet.imaging import write_nifti
from swinunet.serving import TritonServer

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "how-to-add-an-output.md").read_text()


@pytest.fixture
def extended(tmp_path: Path) -> Path:
    """A copy of the package in which somebody followed the page."""
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "swinunet", copy / "swinunet", symlinks=True)
    parts = [link.name for link in (ROOT / "swinunet").iterdir() if link.is_symlink()]
    for part in set(parts) - {"model_repository"}:
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    path, code = re.findall(r"^`(client/\S+\.py)`:\n\n```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)[0]
    assert not (copy / path).exists()
    (copy / path).write_text(code)
    ((entry, neighbour),) = re.findall(r"^```diff\n\+(.*?\n) (.*?\n)```", PAGE, re.DOTALL | re.MULTILINE)
    table = copy / "client" / "results" / "formats.py"
    assert table.read_text().count(neighbour) == 1
    table.write_text(table.read_text().replace(neighbour, entry + neighbour))
    return copy


def swinunet(copy: Path, *arguments: object) -> str:
    """Run the copy's command as a user does; its standard output."""
    command = [sys.executable, "-m", "swinunet", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(copy), "COLUMNS": "200"}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_output_added_by_the_page_is_listed_written_reported_and_resumed(
    extended: Path, small_triton: TritonServer, tmp_path: Path
) -> None:
    assert "nifti, seg, sr, png, html, csv, json" in swinunet(extended, "segment", "--help")
    write_nifti(small_study(4), tmp_path / "case.nii.gz")
    job = ("segment", tmp_path / "case.nii.gz", "-o", tmp_path / "out", "--url", small_triton.url)
    chosen = ("--outputs", "csv,json")
    assert "measurements.csv" in swinunet(extended, *job, *chosen)
    folder = tmp_path / "out" / "case"
    with (folder / "measurements.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    report = json.loads((folder / "report.json").read_text())
    assert report["outputs"] == {"csv": "measurements.csv", "json": "report.json"}
    assert report["settings"]["outputs"] == ["csv", "json"]
    assert [row["structure"] for row in rows] == [each["name"] for each in report["structures"]]
    assert [float(row["volume_ml"]) for row in rows] == [each["volume_ml"] for each in report["structures"]]
    assert {row["input"] for row in rows} == {"case.nii.gz"}
    assert "segmented already" in " ".join(swinunet(extended, *job, *chosen, "--resume").split())
    swinunet(extended, *job, "--overwrite")
    assert {path.name for path in folder.iterdir()} == {
        "mask.nii.gz",
        "overlay.png",
        "index.html",
        *report["outputs"].values(),
    }


def test_the_page_names_what_there_is() -> None:
    """Files and names in the page's text exist, but for the example's own."""
    for path in set(re.findall(r"`((?:client|docs)/\S+?\.py)`", PAGE)) - {"client/results/csv_writer.py"}:
        assert (ROOT / path).is_file(), path
