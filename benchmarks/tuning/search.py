"""Which ways are measured: every engine; then the best one's processes and streams; then its batches and waits.

A way is passed over where a bound shows that it cannot win. At the end the winner and what is served by default are
measured in turn, so that both meet the same machine.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from swinunet.benchmarks.inference.model_version import ModelVersion, real_slices
from swinunet.benchmarks.measure.machine import CpuWatch, physical_cores
from swinunet.benchmarks.measure.measurements import Spread
from swinunet.benchmarks.measure.rounds import Progress, Run, no_progress
from swinunet.benchmarks.measure.samples import LatencySample
from swinunet.benchmarks.tuning.bounds import Bounds, measure_bounds
from swinunet.benchmarks.tuning.candidates import (
    Candidate,
    LeftOut,
    engines_to_try,
    knows_streams,
    with_other_batches,
    with_other_engines,
    with_other_parallelism,
)
from swinunet.benchmarks.tuning.goal import Goal, memory_mb
from swinunet.benchmarks.tuning.measuring import CALLERS, Bench, Trial, write_reference
from swinunet.export.engines.registry import engine_named
from swinunet.export.repository.served_configs import recorded_choice
from swinunet.foundation.errors import EngineError, InputError
from swinunet.serving.processor import this_processor

_ROUNDS = 3  # of winner against default
_CLEARLY_MORE = 1.02  # times the throughput; less is noise, and what is closer to the default stays


@dataclass
class TuningResult:
    """What was found. default: what is served without tuning. gain: winner over default in slices/s, by rounds."""

    version: ModelVersion
    goal: Goal
    bounds: Bounds
    trials: list[Trial] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    winner: Trial | None = None
    gain: Spread | None = None
    run: Run = field(default_factory=Run)

    @property
    def default(self) -> Trial:
        """The first, which is what the model is served with by default."""
        return self.trials[0]

    def best_of(self, trial: Trial) -> LatencySample | None:
        """A trial's best measurement within the goal."""
        return self.goal.best(trial.usable)

    @property
    def best_slices_per_s(self) -> float:
        """Of all trials, within the goal; 0 where none keeps to it."""
        found = (self.best_of(trial) for trial in self.trials)
        return max((sample.slices_per_s for sample in found if sample), default=0.0)


def default_candidate(version: ModelVersion, cores: int) -> Candidate:
    """What configs/cpu.pbtxt serves after an export."""
    return Candidate(engine_named(recorded_choice(version.folder)), cores)


def planned(version: ModelVersion) -> tuple[list[Candidate], list[LeftOut]]:
    """What would be measured if no bound stopped anything and the default engine were the best; and what would not.

    Raises InputError where no engine may be tried.
    """
    cores = physical_cores()
    engines, left_out = engines_to_try(version.folder, this_processor())
    if not engines:
        reasons = "; ".join(f"{each.title} {each.reason}" for each in left_out)
        raise InputError(f"{version.folder}: no engine can be tried here: {reasons}")
    default = default_candidate(version, cores)
    first = [default, *(each for each in with_other_engines(engines, cores) if each != default)]
    streams = knows_streams(version.folder)
    if not streams:
        renew = f"renew it (swinunet export {version.folder} --renew)"
        left_out.append(LeftOut("streams", f"the model.py of this version has none; {renew}"))
    later = [*with_other_parallelism(default, cores, streams=streams), *with_other_batches(default)]
    return [*first, *later], left_out


def tune_model(
    version: ModelVersion, goal: Goal, gflop: float, seconds: float, progress: Progress = no_progress
) -> TuningResult:
    """Search. gflop: of a slice, 0 if not known. seconds: for each way at each number of callers.

    Raises InputError where no engine may be tried, EngineError where none keeps to the goal.
    """
    began, watch, run = time.monotonic(), CpuWatch(), Run()
    result = _Search(version, goal, gflop, seconds, progress).run()
    run.machine, run.seconds = replace(run.machine, others_cpu=watch.others()), time.monotonic() - began
    result.run = run
    return result


class _Search:
    """A search under way."""

    def __init__(self, version: ModelVersion, goal: Goal, gflop: float, seconds: float, progress: Progress) -> None:
        self._version, self._goal, self._gflop, self._seconds = version, goal, gflop, seconds
        self._progress, self._cores = progress, physical_cores()

    def run(self) -> TuningResult:
        everything, left_out = planned(self._version)
        self._total, self._done = len(everything) + _ROUNDS, 0
        self._progress(0, self._total, "measuring the matrix peaks")
        bounds = measure_bounds(self._gflop, self._cores)
        self._result = result = TuningResult(self._version, self._goal, bounds, left_out=left_out)
        with tempfile.TemporaryDirectory(prefix="swinunet-tune-") as folder:
            slices, reference = Path(folder, "slices.npy"), Path(folder, "reference.npy")
            np.save(slices, real_slices(self._version)[0])
            write_reference(self._version, slices, reference, self._cores)
            self._bench = Bench(self._version, slices, str(reference), self._seconds)
            engines, _ = engines_to_try(self._version.folder, this_processor())
            self._try([default_candidate(self._version, self._cores)], callers=CALLERS)
            self._try(with_other_engines(engines, self._cores))
            if best := self._best():
                streams = knows_streams(self._version.folder)
                self._try(with_other_parallelism(best.candidate, self._cores, streams=streams))
            if best := self._best():
                self._try(with_other_batches(best.candidate))
            result.winner = self._best()
            if result.winner is None:
                raise EngineError(self._why_none())
            self._compare_with_default(result.winner)
        self._progress(self._total, self._total, "done")
        return result

    def _try(self, candidates: Iterable[Candidate], callers: tuple[int, ...] = CALLERS) -> None:
        """Measure those that are new and may win."""
        result = self._result
        for candidate in candidates:
            if any(trial.candidate == candidate for trial in result.trials):
                continue
            self._progress(min(self._done, self._total - _ROUNDS), self._total, candidate.title)
            self._done += 1
            why_not = result.trials and self._why_not(candidate)
            if why_not:
                result.left_out.append(LeftOut(candidate.title, why_not))
            else:
                result.trials.append(self._bench.measure(candidate, callers, self._enough))

    def _why_not(self, candidate: Candidate) -> str | None:
        """Why a candidate cannot win, by the matrix peak, or by what one process of its engine took."""
        result, goal = self._result, self._goal
        if reason := result.bounds.why_not(candidate.engine, goal, result.best_slices_per_s):
            return reason
        alone = [
            min(trial.samples.values(), key=lambda sample: sample.peak_mib)
            for trial in result.trials
            if trial.candidate.engine == candidate.engine and trial.candidate.instances == 1 and trial.samples
        ]
        if goal.memory_mb is not None and candidate.instances > 1 and alone:
            weights_mb = (self._version.folder / candidate.engine.artefact).stat().st_size / 1e6
            least = min(memory_mb(sample) for sample in alone) + (candidate.instances - 1) * weights_mb
            if least > goal.memory_mb:
                return f"takes {least:.0f} MB at least with another copy of the weights, {goal.memory_mb:g} are allowed"
        return None

    def _enough(self, trial: Trial, callers: int) -> str:
        """Why a trial is not measured with so many callers; empty if it is."""
        goal = self._goal
        if goal.latency_ms is None or not trial.samples:
            return ""
        if self._result.bounds.too_many_callers(trial.candidate.engine, goal, callers):
            return f"{callers} callers wait longer than {goal.latency_ms:g} ms even at the matrix peak"
        fewer, sample = max(trial.samples.items())
        if sample.p50_ms > goal.latency_ms:
            return f"with {fewer} callers half of the requests take longer than {goal.latency_ms:g} ms already"
        return ""

    def _best(self) -> Trial | None:
        """The trial with the highest throughput within the goal; an earlier one where the gain is within noise."""
        best, most = None, 0.0
        for trial in self._result.trials:
            sample = self._result.best_of(trial)
            if sample and sample.slices_per_s > _CLEARLY_MORE * most:
                best, most = trial, sample.slices_per_s
        return best

    def _compare_with_default(self, winner: Trial) -> None:
        """Both at the winner's load, in turn, on two servers that are up at once, one of them idle."""
        default, sample = self._result.default, self._result.best_of(winner)
        if winner is default or sample is None:
            return
        callers, ratios = winner.callers_of(sample), []
        again = Trial(winner.candidate), Trial(default.candidate)
        with (
            self._bench.serving(winner.candidate, callers) as tuned,
            self._bench.serving(default.candidate, callers) as untuned,
        ):
            for number in range(1, _ROUNDS + 1):
                text = f"winner against default, round {number} of {_ROUNDS}"
                self._progress(self._total - _ROUNDS + number - 1, self._total, text)
                for trial, server in zip(again, (tuned, untuned), strict=True):
                    self._bench.add(trial, server, callers)
                ratios.append(again[0].samples[callers].slices_per_s / again[1].samples[callers].slices_per_s)
        self._result.gain = Spread(tuple(ratios))

    def _why_none(self) -> str:
        """Why there is no winner: the closest, or the first error."""
        measured = [sample for trial in self._result.trials for sample in trial.usable]
        if not measured:
            reasons = "; ".join(trial.error or "its labels are wrong" for trial in self._result.trials)
            return f"{self._version.title}: nothing could be measured: {reasons}"
        fastest = min(sample.p95_ms for sample in measured)
        smallest = min(memory_mb(sample) for sample in measured)
        return (
            f"{self._version.title}: nothing reaches {self._goal.text}; the lowest measured are {fastest:.3g} ms and "
            f"{smallest:.0f} MB, so raise the limit"
        )
