"""`swinunet benchmark`: which goals a run reaches, and which rows are measured again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from small_model import SMALL_SPEC

from swinunet.benchmarks.inference.goals import goals
from swinunet.benchmarks.inference.model_version import ModelVersion
from swinunet.benchmarks.inference.result import BenchmarkResult, MeasuredInference, MeasuredLoad
from swinunet.benchmarks.inference.settings import BASELINE, BenchmarkSettings, engines
from swinunet.benchmarks.inference.triton import window_s
from swinunet.benchmarks.measure.samples import LabelComparison, LatencySample


def test_a_slow_row_is_measured_once() -> None:
    row = MeasuredInference("slow", 32)
    assert row.due(1.0)
    row.add(LatencySample(1001.0, 1, 1, 1, 1, 1), LabelComparison())
    assert not row.due(1.0)
    assert row.due(1.1)
    row.error = "died"
    assert not row.due(1.1)


def a_row(title: str, speed: float, peak_mib: float, agreement: float = 1.0) -> MeasuredInference:
    row = MeasuredInference(title, 1)
    row.add(LatencySample(1, 1, 1, speed, 5, peak_mib), LabelComparison(1000, 0, 1000, round(1000 * (1 - agreement))))
    return row


def a_result(fast: MeasuredInference) -> BenchmarkResult:
    openvino = next(engine for engine in engines() if engine.key == "openvino-f32")
    settings = BenchmarkSettings(engines=(BASELINE, openvino), batches=(1,), triton=(), chain_slices=0)
    result = BenchmarkResult(ModelVersion(Path(), Path("1"), SMALL_SPEC), settings, "slices", gflop=2.0)
    for each, row in zip(result.engines, (a_row("PyTorch", 10, 800), fast), strict=True):
        each.rows = [row]
    result.peaks["f32"].samples.append({"torch": 100.0, "openvino": 115.0})
    result.run.machine = replace(result.run.machine, instruction_sets=("AVX2", "AVX512-VNNI"))
    return result


@pytest.mark.parametrize(
    ("speed", "peak_mib", "agreement", "reached"),
    [
        (50, 400, 1.0, (True, True, True)),
        (49, 401, 1.0, (False, True, False)),
        (48, 400, 1.0, (False, False, True)),
        (50, 400, 0.99, (None, True, None)),  # fast and wrong does not count as fast
    ],
)
def test_goals_are_judged_by_the_run(
    speed: float, peak_mib: float, agreement: float, reached: tuple[bool | None, ...]
) -> None:
    found = goals(a_result(a_row("OpenVINO", speed, peak_mib, agreement)))
    assert tuple(goal.reached for goal in found[:3]) == reached
    assert [goal.answer for goal in found[3:]] == ["not measured"] * 3


@pytest.mark.parametrize(
    ("sets", "wanted"),
    [
        (("AVX2", "FMA"), 3),
        (("AVX2", "FMA", "AVX-512"), 3),
        (("AVX2", "AVX-VNNI"), 5),
        (("AVX2", "AVX-512", "AVX512-BF16"), 5),
        (("NEON", "I8MM"), 5),
    ],
)
def test_the_goal_of_speed_is_the_processors(sets: tuple[str, ...], wanted: float) -> None:
    for speed, reached in ((10 * wanted, True), (10 * wanted - 1, False)):
        result = a_result(a_row("OpenVINO", speed, 400))
        result.run.machine = replace(result.run.machine, instruction_sets=sets)
        assert f"at {wanted:g} times" in goals(result)[0].text
        assert goals(result)[0].reached is reached


def test_untrained_labels_need_only_be_recognisably_the_same() -> None:
    for agreement, reached in ((0.95, True), (0.85, None)):
        result = a_result(a_row("OpenVINO", 50, 400, agreement))
        result.trained = False
        assert goals(result)[0].reached is reached


def test_tritons_goal_is_the_best_load_of_four_callers() -> None:
    result = a_result(a_row("OpenVINO", 50, 400))
    for load in BenchmarkSettings().triton:
        row = MeasuredLoad("Triton", load.callers, load=load)
        share = 0.96 if load.callers == 4 and not load.batching else 0.9
        row.add(LatencySample(1, 1, 1, share * 100, 5, 1, bare_slices_per_s=100), LabelComparison())
        result.triton.append(row)
    assert goals(result)[3].reached
    assert "batching off" in goals(result)[3].found


def test_windows_of_perf_analyzer_hold_several_round_trips() -> None:
    rows = [MeasuredLoad("Triton", load.callers, load=load) for load in BenchmarkSettings().triton]
    for row in rows:
        if row.load.generator == "ours" and row.load.batching and row.load.transport == "gRPC":
            row.add(LatencySample(1, 100.0 * row.load.callers, 1, 1, 1, 1), LabelComparison())
    found = {row.load.callers: window_s(row, rows, 0.7) for row in rows if row.load.generator == "perf_analyzer"}
    assert found == pytest.approx({1: 0.7, 4: 1.2, 16: 4.8})
    assert window_s(rows[-1], rows[-1:], 0.7) == 0.7  # our own callers were left out
