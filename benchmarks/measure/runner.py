"""The run: every row once a round, in turn, so that all meet the same machine; one thing computes at a time."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from swinunet.benchmarks.measure.chain import ChainResult
from swinunet.benchmarks.measure.figures import Row
from swinunet.benchmarks.measure.machine import CpuWatch, describe_machine, physical_cores
from swinunet.benchmarks.measure.plan import Plan
from swinunet.benchmarks.measure.stations import Engines, GpuStation, Peaks, Place, Station, WholeChain
from swinunet.benchmarks.measure.subject import Subject, gflop, real_slices
from swinunet.benchmarks.measure.triton_station import Triton
from swinunet.benchmarks.reports.result import CallsRow, EngineRows, Result

Progress = Callable[[int, int, str], None]  # steps done, steps in all, what comes now


def run_benchmark(
    subject: Subject,
    plan: Plan,
    progress: Progress = lambda done, total, text: None,
    *,
    data: Path | None = None,
    trained: bool = True,
) -> Result:
    """Measure `subject` as planned. An engine that does not load or fails has its reason in its rows; the others go on.

    data: labelled cases to score each engine on. trained: False where the weights are no trained model's.
    Raises InputError if there are no slices to measure with. Every process it starts has ended when it returns.
    """
    began, watch = time.monotonic(), CpuWatch()
    slices, origin = real_slices(subject)
    result = Result(
        subject=subject,
        plan=plan,
        machine=describe_machine(),
        threads=plan.threads or physical_cores(),
        origin=origin,
        engines=[EngineRows(e, [Row(e.title, batch) for batch in plan.batches]) for e in plan.engines],
        triton=[CallsRow(f"Triton, {calls.title}", calls.callers, calls=calls) for calls in plan.triton],
        gflop=gflop(subject),
        trained=trained,
        data=data,
        chain=ChainResult(plan.chain_slices) if plan.chain_slices else None,
    )
    with tempfile.TemporaryDirectory(prefix="swinunet-benchmark-") as folder, ExitStack() as stack:
        _Run(result, slices, Path(folder), stack, progress).go()
    result.machine = replace(result.machine, others_cpu=watch.others())
    result.seconds = time.monotonic() - began
    return result


class _Run:
    """One run. folder: for the slices and the reference labels. stack: ends what was started, last first."""

    def __init__(self, result: Result, slices: np.ndarray, folder: Path, stack: ExitStack, progress: Progress) -> None:
        self._result, self._plan, self._progress = result, result.plan, progress
        place = Place(result, folder, stack, self._step)
        np.save(place.slices, slices)
        self._stations: list[Station] = _stations(place)
        self._done = 0
        self._steps = sum(loading + self._plan.rounds * each for loading, each in (s.steps for s in self._stations))

    def go(self) -> None:
        """Load everything, then measure: one round, and more while there is time."""
        began = time.monotonic()
        for station in self._stations:
            station.load()
        self._result.load_s = time.monotonic() - began
        for index in range(self._plan.rounds):
            started = time.monotonic()
            if index and started - began > self._plan.budget_s:
                break
            for station in self._stations:
                station.measure(f"round {index + 1} of {self._plan.rounds}")
            self._result.rounds_s.append(time.monotonic() - started)
        for station in self._stations:
            if isinstance(station, WholeChain):
                station.finish()
        self._progress(self._steps, self._steps, "done")

    def _step(self, text: str) -> None:
        self._progress(self._done, self._steps, text)
        self._done += 1


def _stations(place: Place) -> list[Station]:
    """Those of the plan, in their order."""
    found: list[Station] = [Engines(place)]
    if place.result.plan.hardware:
        found += [Peaks(place), GpuStation(place)]
    if place.result.triton:
        found.append(Triton(place))
    if place.result.chain:
        found.append(WholeChain(place))
    return found
