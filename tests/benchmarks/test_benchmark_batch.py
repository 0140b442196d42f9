"""The benchmark of batches: the driver measured on real entries, and a report that says what was found."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from command_line import run_here
from small_model import SMALL_SPEC

from swinunet.batch.manifest import read_manifest
from swinunet.benchmarks.batch import (
    BatchBenchmarkSettings,
    BatchResult,
    DriverSample,
    MeasuredDriver,
    MeasuredStudies,
    StudiesSample,
    _Bench,
    batch_report,
)

SETTINGS = BatchBenchmarkSettings((50,), 4, 8, 64, (1,), 2)


def test_the_driver_writes_a_row_for_each_entry(tmp_path: Path) -> None:
    with ExitStack() as resources:
        bench = _Bench(SETTINGS, tmp_path, resources)
        bench._spec, bench._url = SMALL_SPEC, "127.0.0.1:9"
        sample = bench.driver(50)
    rows = read_manifest(tmp_path / "out0" / "manifest").to_pylist()
    assert sorted(row["entry"] for row in rows) == [f"study{number:08}.nii.gz" for number in range(50)]
    assert 0 < sample.listing_s < sample.cpu_s
    assert sample.bytes_ == sum(path.stat().st_size for path in (tmp_path / "out0" / "manifest").glob("*.parquet"))


def test_the_report_holds_every_figure_and_every_failure() -> None:
    drivers = [MeasuredDriver(50, samples=[DriverSample(0.1, 0.01, 5000), DriverSample(0.3, 0.03, 5000)])]
    ways = [
        MeasuredStudies("client", samples=[StudiesSample(8.0, 2.0, 6.0), StudiesSample(10.0, 2.0, 6.0)]),
        MeasuredStudies("local", samples=[StudiesSample(8.16, 2.04, 6.06), StudiesSample(10.2, 2.04, 6.06)]),
        MeasuredStudies("ray, 1 worker", error="no Ray cluster here"),
    ]
    report = batch_report(BatchResult(SETTINGS, drivers, ways))
    page = report.markdown()
    assert "| 50 | 4.00 (2.00-6.00) | 20.0 | 100 |" in page
    assert "| client | 2.25 (2.00-2.50) | 500 (500-500) | 1500 (1500-1500) |  |  |" in page
    assert (
        "| local | 2.29 (2.04-2.55) | 510 (510-510) | 1515 (1515-1515) | 1.02 (1.02-1.02) | 1.01 (1.01-1.01) |" in page
    )
    assert "ray, 1 worker: no Ray cluster here" in page
    assert report.json()["ways"][1]["samples"][0] == {"seconds": 8.16, "cpu_s": 2.04, "all_cpu_s": 6.06}


@pytest.mark.parametrize("option", ["--model", "--recipe", "--engines"])
def test_options_of_other_benchmarks_are_refused(option: str) -> None:
    done = run_here("benchmark", "batch", option, "tiny")
    assert done.returncode == 1
    assert f"{option} is not of `swinunet benchmark batch`" in done.stderr
