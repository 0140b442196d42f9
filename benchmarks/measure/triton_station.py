"""Triton in every round: each load of the plan, and right after it the bare engine at the batch that Triton formed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from swinunet.benchmarks.measure.perf_analyzer import PerfAnalyzer, PerfAnalyzerError, find_perf_analyzer
from swinunet.benchmarks.measure.served import Load, without_batching
from swinunet.benchmarks.measure.stations import REASONS, SETTLE_S, Measured, Place, run_engine
from swinunet.benchmarks.measure.wire import wire_bytes
from swinunet.benchmarks.reports.result import CallsRow

_ROUND_TRIPS = 3  # in a window of perf_analyzer


class Triton:
    """The served model under every load of the plan, with dynamic batching and without: two servers, one at a time."""

    def __init__(self, place: Place) -> None:
        self._place, self._result = place, place.result
        self._rows = self._result.triton
        self._loads: dict[bool, Load] = {}
        self._tool: PerfAnalyzer | None = None
        self.steps = (2, len(self._rows))

    def load(self) -> None:
        """Start both servers and their callers."""
        for batching in (True, False):
            self._place.step(f"starting Triton, batching {'on' if batching else 'off'}")
            rows = [row for row in self._rows if row.calls.batching is batching]
            if rows:
                self._start(batching, rows)
        self._find_tool()

    def _start(self, batching: bool, rows: list[CallsRow]) -> None:
        subject = self._result.subject
        most = max(row.calls.callers for row in rows)
        try:
            repository = subject.repository if batching else without_batching(subject, self._place.folder / "single")
            load = self._place.stack.enter_context(Load(subject, most, self._place.slices, repository))
            if batching:
                self._result.wire = wire_bytes(load.url, subject, self._place.slices)
        except REASONS as error:
            for row in rows:
                row.error = str(error)
            return
        self._loads[batching] = load
        self._result.served = self._result.served or load.model
        for row in rows:
            row.description, row.load_s = f"{load.model.server}, running {load.model.description}", load.model.start_s

    def _find_tool(self) -> None:
        rows = [row for row in self._rows if row.calls.generator == "perf_analyzer" and row.error is None]
        if not rows:
            return
        try:
            self._tool = find_perf_analyzer(self._result.plan.perf_analyzer)
        except PerfAnalyzerError as error:
            for row in rows:
                row.error = str(error)

    def measure(self, label: str) -> None:
        """Every load, and after each the bare engine at the batch that Triton formed."""
        for row in self._rows:
            self._place.step(f"{label}: Triton, {row.calls.title}, {row.calls.callers} callers")
            if not row.due(self._result.plan.once_over_s):
                continue
            time.sleep(SETTLE_S)
            try:
                found, tally = self._run(row)
                row.add(replace(found, bare_slices_per_s=self._bare(found.mean_batch)), tally)
            except REASONS as error:
                row.error = str(error)

    def _run(self, row: CallsRow) -> Measured:
        calls, seconds = row.calls, self._result.plan.seconds
        load = self._loads[calls.batching]
        if calls.generator == "ours":
            return load.measure(calls, seconds, self._place.reference)
        assert self._tool is not None
        return load.measure_with(self._tool, calls.callers, window_s(row, self._rows, seconds))

    def _bare(self, mean_batch: float | None) -> float | None:
        """Slices a second of the engine that Triton runs, by itself, at the nearest batch; None if it has no row."""
        bare = self._result.bare_engine
        if bare is None or bare.child is None or mean_batch is None or not bare.rows[0].measured:
            return None
        return run_engine(self._place, bare, max(1, round(mean_batch)))[0].slices_per_s


def window_s(row: CallsRow, rows: Sequence[CallsRow], seconds: float) -> float:
    """How long a window of perf_analyzer is: `seconds`, or some round trips of our callers under the same load.

    It counts only requests that begin and end within the window.
    """
    ours = (each for each in rows if each.calls == replace(row.calls, generator="ours") and each.samples)
    round_trip_s = next((each.samples[-1].p95_ms / 1e3 for each in ours), 0.0)
    return max(seconds, _ROUND_TRIPS * round_trip_s)
