"""Samples of interleaved rounds: spreads, ratios, failures, and labels compared with the reference."""

from __future__ import annotations

import numpy as np
import pytest

from swinunet.benchmarks.measure.measurements import Measurements, Spread, attempt_for_all
from swinunet.benchmarks.measure.processes import WorkerError
from swinunet.benchmarks.measure.samples import LabelComparison, latency_sample


def test_the_foreground_is_compared_by_itself() -> None:
    expected = np.zeros((1, 10, 10), np.uint8)
    expected[0, 0, :4] = 1
    missed = np.zeros_like(expected)
    comparison = LabelComparison()
    comparison.add(missed, expected)
    assert comparison.agreement == pytest.approx(0.96)
    assert comparison.foreground_agreement == 0
    comparison.add(expected.astype(np.int64), expected)  # another type is all wrong
    assert comparison.differing == 104
    assert LabelComparison().agreement is None


def test_ratios_are_taken_within_each_round() -> None:
    slow, fast = Measurements[float](samples=[10.0, 20.0]), Measurements[float](samples=[30.0, 60.0])
    assert fast.ratio(slow, float) == Spread((3.0, 3.0))  # the machine was busy in the first round
    assert fast.ratio(slow, float, inverse=True) == Spread((1 / 3, 1 / 3))
    slow.samples.append(1.0)  # a third round, without the other
    assert fast.ratio(slow, float) == Spread((3.0, 3.0))
    slow.error = "ended in the fourth round"
    assert fast.ratio(slow, float) is None
    assert slow.spread(float) is None


def test_a_figure_that_a_round_lacks_has_no_spread() -> None:
    assert Measurements[float | None](samples=[1.0, None]).spread(lambda value: value) is None
    assert Measurements[float]().spread(float) is None
    spread = Measurements[float](samples=[3.0, 1.0, 2.0]).spread(float)
    assert spread is not None
    assert spread.to_json() == {"median": 2.0, "min": 1.0, "max": 3.0, "rounds": [3.0, 1.0, 2.0]}


def fail() -> float:
    raise WorkerError("its process ended with SIGKILL")


def test_what_fails_keeps_its_first_reason_and_is_not_tried_again() -> None:
    row, tried = Measurements[float](samples=[1.0]), list[float]()
    row.take(fail)
    row.attempt(lambda: tried.append(1.0))
    assert (row.samples, row.error, row.measured, tried) == ([1.0], "its process ended with SIGKILL", False, [])
    assert row.remark == "not measured: its process ended with SIGKILL"
    with pytest.raises(ZeroDivisionError):  # a defect is no reason
        Measurements[float]().take(lambda: 1 / 0)


def test_what_all_need_fails_for_all() -> None:
    rows = [Measurements[float](error="no engine"), Measurements[float](), Measurements[float]()]
    attempt_for_all(rows, fail)
    assert [row.error for row in rows] == ["no engine", *["its process ended with SIGKILL"] * 2]


def test_a_latency_sample_is_in_milliseconds() -> None:
    found = latency_sample([0.001, 0.003, 0.002], slices=6, busy_s=0.006, peak_mib=7.0)
    assert (found.p50_ms, found.slices_per_s, found.requests, found.peak_mib) == pytest.approx((2.0, 1000.0, 3, 7.0))
    assert 2.0 < found.p95_ms < found.p99_ms < 3.0
