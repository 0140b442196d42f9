"""The reports of benchmark, tune, evaluate and train as pages in a real browser: readable, self-contained, sortable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from blobs import SPEC, write_blobs
from browser_pages import WatchedPage
from evaluated_cases import failing, judged, predictions, write_blocks
from small_model import SMALL_SPEC

from swinunet.benchmarks.inference.model_version import ModelVersion
from swinunet.benchmarks.inference.report import benchmark_report
from swinunet.benchmarks.inference.result import BenchmarkResult
from swinunet.benchmarks.inference.settings import BASELINE, BenchmarkSettings, CallerLoad, engines
from swinunet.benchmarks.measure.samples import LabelComparison, LatencySample
from swinunet.benchmarks.tuning.bounds import Bounds
from swinunet.benchmarks.tuning.candidates import Candidate
from swinunet.benchmarks.tuning.goal import Goal
from swinunet.benchmarks.tuning.measuring import Trial
from swinunet.benchmarks.tuning.report import tuning_report
from swinunet.benchmarks.tuning.search import TuningResult
from swinunet.evaluation.report import write_report
from swinunet.export.engines.registry import engine_named
from swinunet.training.loop.settings import TrainSettings
from swinunet.training.loop.trainer import train

VERSION = ModelVersion(Path(), Path("1"), SMALL_SPEC)


def sample(slices_per_s: float, p95_ms: float = 10.0) -> LatencySample:
    return LatencySample(p95_ms / 2, p95_ms, p95_ms, slices_per_s, 10, 100.0, bare_slices_per_s=slices_per_s)


def write_benchmark(folder: Path) -> Path:
    """Three engines and Triton, one of them without figures."""
    chosen = (BASELINE, *(engine for engine in engines() if engine.key in ("openvino-f32", "tensorrt-fp16")))
    settings = BenchmarkSettings(engines=chosen, batches=(1, 8), triton=(CallerLoad(1), CallerLoad(4)), chain_slices=0)
    result = BenchmarkResult(VERSION, settings, "slices", gflop=2.0)
    result.engines[-1].refuse("model.plan is missing")
    for at, row in enumerate([*(row for each in result.engines[:-1] for row in each.rows), *result.triton]):
        row.add(sample(9.0 + at * 5), LabelComparison(1000, 0, 1000, 0))
        row.load_s, row.import_s = 1.0, 0.5
    for peak in result.peaks.values():
        peak.samples.append({"torch": 100.0, "openvino": 115.0})
    benchmark_report(result).write(folder)
    return folder / "report.html"


def write_tuning(folder: Path) -> Path:
    """The default, a winner, and one that did not start."""
    f32, bf16 = engine_named("openvino-f32"), engine_named("openvino-bf16")
    default, winner = Trial(Candidate(f32, 2), {1: sample(4, 50)}), Trial(Candidate(bf16, 2), {1: sample(10, 30)})
    trials = [default, winner, Trial(Candidate(bf16, 2, streams=2), error="it did not start")]
    tuning_report(TuningResult(VERSION, Goal(latency_ms=100), Bounds(), trials, winner=winner)).write(folder)
    return folder / "tune.html"


def write_evaluation(folder: Path) -> Path:
    """Twelve cases, one structure missed and one found where it is not."""
    evaluation = judged(write_blocks(folder / "data"), predictions(folder / "predictions", failing))
    write_report(evaluation, folder)
    return folder / "evaluation.html"


def write_training(folder: Path) -> Path:
    """A run of two epochs."""
    settings = TrainSettings(recipe="tiny", epochs=2, batch_size=16, validate_every=1, precision="fp32")
    train(write_blobs(folder / "Task99_Blob"), folder / "run", SPEC, replace(settings, learning_rate=5e-3))
    return folder / "run" / "run.html"


@dataclass(frozen=True)
class OpenedReport:
    """A report's page. pictures: how many it has."""

    watched: WatchedPage
    file: Path
    pictures: int


REPORTS: dict[str, tuple[Callable[[Path], Path], int]] = {
    "benchmark": (write_benchmark, 3),
    "tune": (write_tuning, 1),
    "evaluate": (write_evaluation, 1),
    "train": (write_training, 2),
}


@pytest.fixture(scope="module", params=REPORTS)
def report(request: pytest.FixtureRequest, browser: Any, tmp_path_factory: pytest.TempPathFactory) -> OpenedReport:
    """Each report, opened from disk in a folder that holds nothing else."""
    write, pictures = REPORTS[request.param]
    written = write(tmp_path_factory.mktemp("written"))
    alone = tmp_path_factory.mktemp("alone") / written.name
    alone.write_bytes(written.read_bytes())
    return OpenedReport(WatchedPage(browser, alone.as_uri()), alone, pictures)


def test_tables_and_pictures_are_shown(report: OpenedReport) -> None:
    page = report.watched.page
    assert page.locator("h1").inner_text() == page.title()
    assert page.locator("table tbody tr").count() >= 2
    drawn = page.locator("img").evaluate_all("all => all.filter(each => each.naturalWidth > 300).map(each => each.alt)")
    assert len(drawn) == report.pictures
    assert all(len(text.split()) > 2 for text in drawn)  # a sentence for those who do not see it


def test_people_who_do_not_see_well_can_read_it(report: OpenedReport) -> None:
    for scheme in ("light", "dark"):
        report.watched.page.emulate_media(color_scheme=scheme)
        assert report.watched.accessibility_violations() == []


def test_a_column_sorts_its_table_by_keyboard(report: OpenedReport) -> None:
    page = report.watched.page
    table = page.locator("table").first
    head = table.locator("th button").first
    first = "rows => rows.map(row => row.cells[0].textContent)"
    orders = []
    for _ in range(2):
        head.focus()
        page.keyboard.press("Enter")
        orders.append(table.locator("tbody tr").evaluate_all(first))
    assert orders[0] != orders[1] or len(set(orders[0])) == 1
    assert sorted(orders[0]) == sorted(orders[1])


def test_it_fits_a_narrow_window(report: OpenedReport) -> None:
    """Wide tables scroll by themselves."""
    page = report.watched.page
    page.set_viewport_size({"width": 400, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.set_viewport_size({"width": 1000, "height": 700})


def test_nothing_is_asked_for_and_nothing_goes_wrong(report: OpenedReport) -> None:
    asked = [url for url in report.watched.requests if not url.startswith("data:")]
    assert asked == [report.file.as_uri()]
    assert report.watched.said == []
    refused = "() => fetch('http://127.0.0.1:9/').then(() => 'answered', error => error.message)"
    assert "Failed to fetch" in report.watched.page.evaluate(refused)
