"""What is tried, what is passed over and why, and which of two measurements wins: without a server."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from google.protobuf import text_format
from small_model import SMALL_SPEC, write_small_repository
from tritonclient.grpc import model_config_pb2

from swinunet.benchmarks.inference.model_version import ModelVersion
from swinunet.benchmarks.measure.measurements import Spread
from swinunet.benchmarks.measure.rounds import Run
from swinunet.benchmarks.measure.samples import LabelComparison, LatencySample
from swinunet.benchmarks.reports.report import Report
from swinunet.benchmarks.tuning.bounds import Bounds
from swinunet.benchmarks.tuning.candidates import (
    Candidate,
    engines_to_try,
    knows_streams,
    with_other_batches,
    with_other_parallelism,
)
from swinunet.benchmarks.tuning.goal import Goal
from swinunet.benchmarks.tuning.measuring import Trial
from swinunet.benchmarks.tuning.report import front_of, tuning_report, why_it_won, with_gain, without_gain
from swinunet.benchmarks.tuning.search import TuningResult
from swinunet.export.engines.registry import engine_named
from swinunet.foundation.errors import InputError

F32, BF16, INT8 = (engine_named(f"openvino-{name}") for name in ("f32", "bf16", "int8"))
ZEN4, HASWELL = frozenset({"avx2", "avx512f", "avx512_vnni", "avx512_bf16"}), frozenset({"avx2"})


def sample(slices_per_s: float, p95_ms: float = 10.0, peak_mib: float = 100.0) -> LatencySample:
    return LatencySample(p95_ms / 2, p95_ms, p95_ms, slices_per_s, 10, peak_mib)


def trial(candidate: Candidate, *samples: LatencySample) -> Trial:
    return Trial(candidate, {1 << at: each for at, each in enumerate(samples)})


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """A version whose gate passed float32 and bf16 on a Zen 4, and has no int8."""
    folder = write_small_repository(tmp_path) / "small" / "1"
    verdicts = [{"engine": f"openvino-{name}", "status": "passed"} for name in ("f32", "bf16", "int8")]
    verdicts.append({"engine": "onnxruntime-fp32", "status": "failed"})
    (folder / "gate.json").write_text(json.dumps({"verdicts": verdicts, "processor": sorted(ZEN4)}))
    return folder


def test_only_what_is_exported_and_passed_on_such_a_processor_is_tried(version: Path) -> None:
    engines, left_out = engines_to_try(version, ZEN4)
    assert engines == [F32, BF16]
    reasons = {each.title: each.reason for each in left_out}
    assert reasons["onnxruntime-fp32"] == "the gate of this version: failed"
    assert reasons["openvino-int8"] == "is not exported (swinunet export --engine openvino-int8)"
    engines, left_out = engines_to_try(version, HASWELL)
    assert engines == [F32]
    assert "was judged on avx2, avx512f" in next(each.reason for each in left_out if each.title == BF16.name)
    (version / "gate.json").unlink()
    assert engines_to_try(version, ZEN4)[0] == []


def test_parallelism_divides_the_cores() -> None:
    found = list(with_other_parallelism(Candidate(F32, 8), 8))
    assert [(each.instances, each.streams, each.threads) for each in found] == [
        *((1, 2, 8), (1, 4, 8), (1, 8, 8)),
        *((2, 1, 4), (4, 1, 2)),
    ]
    assert list(with_other_parallelism(Candidate(F32, 1), 1)) == []
    assert [each.streams for each in with_other_parallelism(Candidate(F32, 8), 8, streams=False)] == [1, 1]


def test_a_batch_keeps_every_stream_busy() -> None:
    batches = [each.max_batch_size for each in with_other_batches(Candidate(F32, 8, streams=4))]
    assert 4 in batches
    assert 1 not in batches


def test_a_candidate_is_what_its_config_says() -> None:
    candidate = Candidate(BF16, 3, instances=2, streams=4, max_batch_size=5, queue_delay_us=700)
    assert candidate.title == "openvino-bf16, 2 processes, 4 streams, batches to 5, waits 0.7 ms"
    found = text_format.Parse(candidate.config(SMALL_SPEC), model_config_pb2.ModelConfig())
    assert (found.max_batch_size, found.instance_group[0].count) == (5, 2)
    assert found.dynamic_batching.max_queue_delay_microseconds == 700
    options = {key: found.parameters[key].string_value for key in ("engine", "precision", "threads", "streams")}
    assert options == {"engine": "openvino", "precision": "bf16", "threads": "3", "streams": "4"}


def test_a_model_py_from_before_has_no_streams(version: Path) -> None:
    assert knows_streams(version)
    (version / "model.py").write_text("class TritonPythonModel: ...")
    assert not knows_streams(version)


def test_the_goal_chooses_within_its_limits() -> None:
    fast, quick, small = sample(10, 200), sample(5, 20), sample(3, 300, peak_mib=50)
    assert Goal().best([fast, quick, small]) is fast
    assert Goal(latency_ms=100).best([fast, quick, small]) is quick
    assert Goal(memory_mb=60).best([fast, quick, small]) is small
    assert Goal(latency_ms=100, memory_mb=60).best([fast, quick, small]) is None
    assert Goal(memory_mb=52.4).best([small]) is None  # 50 MiB are 52.43 MB
    for limits in ({"latency_ms": 0}, {"memory_mb": -1}, {"latency_ms": float("nan")}):
        with pytest.raises(InputError, match="expected more than 0"):
            Goal(**limits)


def test_the_matrix_peak_bounds_an_engine() -> None:
    bounds = Bounds(gflop=2.0, peaks={"f32": 100.0, "bf16": 400.0})
    assert bounds.most_slices_per_s(F32) == pytest.approx(62.5)  # 100 / 2, and a quarter for what the peak missed
    assert bounds.why_not(F32, Goal(), 62.4) is None
    assert "62.5 slices/s by the matrix peak, 62.6 are reached" in str(bounds.why_not(F32, Goal(), 62.6))
    assert bounds.why_not(F32, Goal(latency_ms=15.9), 0) is not None  # a slice takes 16 ms at best
    assert bounds.why_not(F32, Goal(latency_ms=16.1), 0) is None
    assert bounds.too_many_callers(F32, Goal(latency_ms=100), 7)
    assert not bounds.too_many_callers(F32, Goal(latency_ms=100), 6)
    for unknown in (Bounds(), Bounds(2.0, {"bf16": 400.0}), dataclasses.replace(bounds, void="others were busy")):
        assert unknown.why_not(F32, Goal(), 1e9) is None
        assert not unknown.too_many_callers(F32, Goal(latency_ms=1e-3), 1)


def test_nothing_beats_the_front() -> None:
    samples = [sample(1, 5), sample(2, 6), sample(3, 4), sample(4, 9), sample(4, 8), sample(3.5, 20)]
    assert [(each.slices_per_s, each.p95_ms) for each in front_of(samples)] == [(3, 4), (4, 8)]


def test_wrong_labels_win_nothing() -> None:
    found = trial(Candidate(F32, 2), sample(10))
    assert found.usable
    found.comparison = LabelComparison(pixels=100, foreground=10, foreground_differing=2)
    assert found.usable == []


def test_the_report_says_why_the_winner_won(version: Path, tmp_path: Path) -> None:
    default, other = trial(Candidate(F32, 2), sample(4, 50), sample(5, 90)), trial(Candidate(BF16, 2), sample(10, 30))
    broken = Trial(Candidate(BF16, 2, streams=2), error="it did not start")
    model = ModelVersion(version.parent.parent, version, SMALL_SPEC)
    gain = Spread((1.9, 2.0, 2.1))
    result = TuningResult(model, Goal(latency_ms=100), Bounds(), [default, other, broken], winner=other, gain=gain)
    assert why_it_won(result) == (
        "openvino-bf16: 10.0 slices/s at 1 callers, 2.00 times the next (openvino-f32); in turn with the default "
        "(openvino-f32) 2.00 (1.90-2.10) times as many."
    )
    report = tuning_report(result)
    assert [row[:2] + row[-1:] for row in report.tables[0].rows] == [
        ("openvino-f32", "2", "default"),
        ("openvino-bf16", "1", "winner"),
        ("openvino-bf16, 2 streams", "-", "it did not start"),
    ]
    written = report.write(tmp_path)
    assert {path.name for path in written} == {"tune.md", "tune.json", "tune.html", "tune.png"}
    assert json.loads((tmp_path / "tune.json").read_text())["winner"]["gain"]["median"] == 2.0
    other = with_gain(dataclasses.replace(report, name="report", tables=[], footnotes=[], figures={"a": 1}), result)
    assert [row[0] for row in other.tables[0].rows] == ["openvino-f32", "openvino-bf16"]
    (note,) = other.footnotes
    assert "(openvino-f32) 2.00 (1.90-2.10) times as many" in note
    assert other.figures["a"] == 1
    assert other.figures["tuning"]["gain"]["median"] == 2.0  # type: ignore[index]


def test_a_report_says_why_nothing_was_tuned() -> None:
    machine = Report("report", "t", "h", "c", Run(), False, [], {}, ["measured"])
    found = without_gain(machine, "nothing reaches 5 ms")
    assert found.footnotes == ["measured", "Not tuned: nothing reaches 5 ms"]
    assert found.json()["tuning"] is None
