"""Triton in every round: under each load, and right after it the bare engine at the batch that Triton formed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from swinunet.benchmarks.inference.engines import run_engine
from swinunet.benchmarks.inference.perf_analyzer import PerfAnalyzer, find_perf_analyzer
from swinunet.benchmarks.inference.result import MeasuredLoad, Workspace
from swinunet.benchmarks.inference.served_model import ServerWithCallers, without_batching
from swinunet.benchmarks.inference.wire import wire_bytes
from swinunet.benchmarks.measure.measurements import attempt_for_all
from swinunet.benchmarks.measure.rounds import Group, Task

_ROUND_TRIPS = 3  # in a window of perf_analyzer


class Triton:
    """The served model under every load, with dynamic batching and without: two servers, one at a time."""

    def __init__(self, work: Workspace) -> None:
        self._work, self._result, self._rows = work, work.result, work.result.triton
        self._servers: dict[bool, ServerWithCallers] = {}
        self._tool: PerfAnalyzer | None = None

    def tasks(self) -> Group:
        """Start both servers and their callers; then every load once a round."""
        once_over_s = self._result.settings.once_over_s
        load = [
            Task(f"starting Triton, batching {'on' if batching else 'off'}", partial(self._start, batching))
            for batching in (True, False)
        ]
        measure = [
            Task(
                f"Triton, {row.load.title}, {row.load.callers} callers",
                partial(row.attempt, partial(self._measure, row)),
                partial(row.due, once_over_s),
            )
            for row in self._rows
        ]
        return Group([*load, Task("looking for perf_analyzer", self._find_tool)], measure)

    def _start(self, batching: bool) -> None:
        rows = [row for row in self._rows if row.load.batching is batching]
        attempt_for_all(rows, partial(self._start_server, batching, rows))

    def _start_server(self, batching: bool, rows: list[MeasuredLoad]) -> None:
        work, version = self._work, self._result.version
        repository = version.repository if batching else without_batching(version, work.folder / "single")
        most = max(row.load.callers for row in rows)
        server = work.resources.enter_context(ServerWithCallers(version, most, work.slices, repository))
        if batching:
            self._result.wire = wire_bytes(server.url, version, work.slices)
        self._servers[batching] = server
        self._result.served = self._result.served or server.model
        for row in rows:
            row.description = f"{server.model.server}, running {server.model.description}"
            row.load_s = server.model.start_s

    def _find_tool(self) -> None:
        def find() -> None:
            self._tool = find_perf_analyzer(self._result.settings.perf_analyzer)

        attempt_for_all([row for row in self._rows if row.load.generator == "perf_analyzer"], find)

    def _measure(self, row: MeasuredLoad) -> None:
        """One round: the load, and after it the bare engine at the batch that Triton formed."""
        load, seconds, server = row.load, self._result.settings.seconds, self._servers[row.load.batching]
        if load.generator == "ours":
            sample, comparison = server.measure(load, seconds, self._work.reference)
        else:
            assert self._tool is not None
            window = window_s(row, self._rows, seconds)
            sample, comparison = server.measure_with_perf_analyzer(self._tool, load.callers, window)
        row.add(replace(sample, bare_slices_per_s=self._bare(sample.mean_batch)), comparison)

    def _bare(self, mean_batch: float | None) -> float | None:
        """Slices a second of the engine that Triton runs, by itself, at the nearest batch; None if it has no row."""
        bare = self._result.bare_engine
        if bare is None or bare.worker is None or mean_batch is None or not bare.rows[0].measured:
            return None
        return run_engine(self._work, bare, max(1, round(mean_batch)))[0].slices_per_s


def window_s(row: MeasuredLoad, rows: Sequence[MeasuredLoad], seconds: float) -> float:
    """How long a window of perf_analyzer is: `seconds`, or some round trips of our callers under the same load.

    It counts only requests that begin and end within the window.
    """
    ours = (each for each in rows if each.load == replace(row.load, generator="ours") and each.samples)
    round_trip_s = next((each.samples[-1].p95_ms / 1e3 for each in ours), 0.0)
    return max(seconds, _ROUND_TRIPS * round_trip_s)
