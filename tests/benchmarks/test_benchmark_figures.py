"""What `swinunet benchmark` makes of its samples: spreads, ratios, and the verdict on the goals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_model import SMALL_SPEC

from swinunet.benchmarks.measure.figures import Row, Sample, Spread, Tally
from swinunet.benchmarks.measure.machine import Machine
from swinunet.benchmarks.measure.plan import BASELINE, Plan, engines
from swinunet.benchmarks.measure.subject import Subject
from swinunet.benchmarks.measure.triton_station import window_s
from swinunet.benchmarks.reports.result import CallsRow, EngineRows, Result
from swinunet.benchmarks.reports.verdict import goals


def test_tally_looks_at_the_foreground_by_itself() -> None:
    expected = np.zeros((1, 10, 10), np.uint8)
    expected[0, 0, :4] = 1
    missed = np.zeros_like(expected)
    tally = Tally()
    tally.add(missed, expected)
    assert tally.agreement == pytest.approx(0.96)
    assert tally.foreground_agreement == 0
    tally.add(expected.astype(np.int64), expected)  # another type is all wrong
    assert tally.differing == 104
    assert Tally().agreement is None


def test_ratios_are_taken_within_each_round() -> None:
    slow, fast = Row("slow", 1), Row("fast", 1)
    for speed in (10.0, 20.0):  # the machine was busy in the first round
        slow.add(Sample(1, 1, 1, speed, 1, 1), Tally())
        fast.add(Sample(1, 1, 1, 3 * speed, 1, 1), Tally())
    assert fast.ratio(slow, lambda sample: sample.slices_per_s) == Spread((3.0, 3.0))
    slow.add(Sample(1, 1, 1, 1.0, 1, 1), Tally())  # a third, without the other
    assert fast.ratio(slow, lambda sample: sample.slices_per_s) == Spread((3.0, 3.0))
    slow.error = "died in the fourth round"
    assert fast.ratio(slow, lambda sample: sample.slices_per_s) is None
    assert slow.spread(lambda sample: sample.p50_ms) is None


def test_a_slow_row_is_measured_once() -> None:
    row = Row("slow", 32)
    assert row.due(1.0)
    row.add(Sample(1001.0, 1, 1, 1, 1, 1), Tally())
    assert not row.due(1.0)
    assert row.due(1.1)
    row.error = "died"
    assert not row.due(1.1)


def a_row(title: str, speed: float, peak_mib: float, agreement: float = 1.0) -> Row:
    row = Row(title, 1)
    row.add(Sample(1, 1, 1, speed, 5, peak_mib), Tally(1000, 0, 1000, round(1000 * (1 - agreement))))
    return row


def a_result(fast: Row) -> Result:
    machine = Machine("cpu", 2, 2, (), 1.0, "Linux", "3", {}, "now", 0.0)
    openvino = next(engine for engine in engines() if engine.key == "openvino-f32")
    rows = [EngineRows(BASELINE, [a_row("PyTorch", 10, 800)]), EngineRows(openvino, [fast])]
    subject = Subject(Path(), Path("1"), SMALL_SPEC)
    result = Result(subject, Plan(), machine, 2, "slices", rows, [], gflop=2.0)
    result.peaks["f32"].rounds.append({"torch": 100.0, "openvino": 150.0})
    return result


@pytest.mark.parametrize(
    ("speed", "peak_mib", "agreement", "reached"),
    [
        (50, 400, 1.0, (True, True, True)),
        (49, 401, 1.0, (False, True, False)),
        (44, 400, 1.0, (False, False, True)),
        (50, 400, 0.99, (None, True, None)),  # fast and wrong does not count as fast
    ],
)
def test_the_verdict_is_the_runs(
    speed: float, peak_mib: float, agreement: float, reached: tuple[bool | None, ...]
) -> None:
    found = goals(a_result(a_row("OpenVINO", speed, peak_mib, agreement)))
    assert tuple(goal.reached for goal in found[:3]) == reached
    assert [goal.verdict for goal in found[3:]] == ["not measured"] * 3


def test_untrained_labels_need_only_be_recognisably_the_same() -> None:
    for agreement, reached in ((0.95, True), (0.85, None)):
        result = a_result(a_row("OpenVINO", 50, 400, agreement))
        result.trained = False
        assert goals(result)[0].reached is reached


def test_tritons_goal_is_the_best_load_of_four_callers() -> None:
    result = a_result(a_row("OpenVINO", 50, 400))
    for calls in Plan().triton:
        row = CallsRow("Triton", calls.callers, calls=calls)
        share = 0.96 if calls.callers == 4 and not calls.batching else 0.9
        row.add(Sample(1, 1, 1, share * 100, 5, 1, bare_slices_per_s=100), Tally())
        result.triton.append(row)
    assert goals(result)[3].reached
    assert "batching off" in goals(result)[3].found


def test_windows_of_perf_analyzer_hold_several_round_trips() -> None:
    rows = [CallsRow("Triton", calls.callers, calls=calls) for calls in Plan().triton]
    for row in rows:
        if row.calls.generator == "ours" and row.calls.batching and row.calls.transport == "gRPC":
            row.add(Sample(1, 100.0 * row.calls.callers, 1, 1, 1, 1), Tally())
    found = {row.calls.callers: window_s(row, rows, 0.7) for row in rows if row.calls.generator == "perf_analyzer"}
    assert found == pytest.approx({1: 0.7, 4: 1.2, 16: 4.8})
    assert window_s(rows[-1], rows[-1:], 0.7) == 0.7  # our own callers were left out
