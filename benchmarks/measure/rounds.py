"""The runner of every benchmark: load, then measure each thing in turn, round after round.

Interleaved, all things meet the same machine, however busy others keep it; one thing computes at a time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from swinunet.benchmarks.measure.machine import CpuWatch, Machine, describe_machine
from swinunet.benchmarks.measure.measurements import Measurements, SampleT

Progress = Callable[[int, int, str], None]  # steps done, steps in all, what comes now

_SETTLE_S = 0.05  # thread pools spin for a moment after their last run


def no_progress(done: int, total: int, text: str) -> None:
    """For callers that do not ask."""


@dataclass(frozen=True)
class Task:
    """A step of a run. title: what it does, for the progress. due: whether to do it when its turn comes."""

    title: str
    do: Callable[[], object]
    due: Callable[[], bool] = lambda: True


def sampling(title: str, of: Measurements[SampleT], sample: Callable[[], SampleT]) -> Task:
    """The task of taking one sample a round, until one fails."""
    return Task(title, lambda: of.take(sample), lambda: of.error is None)


@dataclass(frozen=True)
class Group:
    """Things that are measured interleaved. load: done once, before; measure: in each round.

    title: before the words of each round, where there are several groups. resources: closed after the last round.
    """

    load: Sequence[Task]
    measure: Sequence[Task]
    title: str = ""
    resources: ExitStack = field(default_factory=ExitStack)


@dataclass
class Run:
    """The machine, and how long a run took: seconds in all, load_s of them for loading, rounds_s for each round."""

    machine: Machine = field(default_factory=describe_machine)
    seconds: float = 0.0
    load_s: float = 0.0
    rounds_s: list[float] = field(default_factory=list)

    @property
    def rounds(self) -> int:
        """That were done."""
        return len(self.rounds_s)


def run_interleaved(
    groups: Sequence[Group], rounds: int, progress: Progress = no_progress, budget_s: float = math.inf
) -> Run:
    """Load and measure one group after the other. No round but a group's first begins later than `budget_s` after it.

    Nothing that the groups started is left when this returns or raises.
    """
    began, watch, run = time.monotonic(), CpuWatch(), Run()
    total, done = sum(len(group.load) + rounds * len(group.measure) for group in groups), 0
    for group in groups:
        started = time.monotonic()
        with group.resources:
            for task in group.load:
                progress(done, total, task.title)
                task.do()
                done += 1
            run.load_s += time.monotonic() - started
            for number in range(1, rounds + 1):
                round_began = time.monotonic()
                if number > 1 and round_began - started > budget_s:
                    break
                for task in group.measure:
                    progress(done, total, f"{group.title}round {number} of {rounds}: {task.title}")
                    if task.due():
                        time.sleep(_SETTLE_S)
                        task.do()
                    done += 1
                run.rounds_s.append(time.monotonic() - round_began)
    progress(total, total, "done")
    run.machine = replace(run.machine, others_cpu=watch.others())
    run.seconds = time.monotonic() - began
    return run
