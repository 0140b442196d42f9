"""`swinunet benchmark training`: how fast each recipe learns on this CPU, against a bare PyTorch loop.

For each recipe in turn, its ways of training sit in processes of their own and are measured interleaved, in rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from swinunet.benchmarks.measure.children import Child, ChildError
from swinunet.benchmarks.measure.figures import Spread
from swinunet.benchmarks.measure.machine import CpuWatch, Machine, describe_machine, physical_cores
from swinunet.training.loop.hardware import choose_precision
from swinunet.training.network.recipes import RECIPES, recipe

Progress = Callable[[int, int, str], None]  # steps done, steps in all, what comes now

BASELINE = "plain"
BATCHES = (16, 8, 4, 2, 1)  # the largest that memory allows is taken
_PROBES = (2, 4)  # slices; their peaks give the memory of a slice more
_SHARE = 0.8  # of the memory that is free, for one recipe
_PATIENCE_S = 1800.0
_SETTLE_S = 0.05  # thread pools spin for a moment after their last run


@dataclass(frozen=True)
class TrainingPlan:
    """`rounds` times through the ways of training a recipe, each for `seconds` s (one step at least) at a time."""

    recipes: tuple[str, ...] = tuple(RECIPES)
    rounds: int = 5
    seconds: float = 2.0
    quick: bool = False


@dataclass(frozen=True)
class TrainingSample:
    """One row in one round. step_s: forward, backward and update; waited_s: gathering and augmenting the batches."""

    slices: int
    step_s: float
    waited_s: float
    peak_mib: float

    @property
    def slices_per_s(self) -> float:
        """Of forward, backward and update alone."""
        return self.slices / self.step_s

    @property
    def data_share(self) -> float:
        """Of the loop's time that goes to the data."""
        return self.waited_s / (self.waited_s + self.step_s)


@dataclass
class TrainingRow:
    """A recipe trained one way. variant: `plain`, or the precision our Learner was asked for."""

    recipe: str
    variant: str
    title: str
    batch: int | None = None
    samples: list[TrainingSample] = field(default_factory=list)
    error: str | None = None

    @property
    def measured(self) -> bool:
        """Whether every round went well."""
        return self.error is None and bool(self.samples)

    @property
    def peak_mib(self) -> float:
        """Of the process, over all rounds."""
        return max(sample.peak_mib for sample in self.samples)

    def spread(self, figure: Callable[[TrainingSample], float]) -> Spread | None:
        """One figure over the rounds; None if it was not measured."""
        return Spread(tuple(map(figure, self.samples))) if self.measured else None

    def ratio(self, other: TrainingRow) -> Spread | None:
        """This row's slices per second over the other's, round by round."""
        if not (self.measured and other.measured):
            return None
        pairs = zip(self.samples, other.samples, strict=True)
        return Spread(tuple(mine.slices_per_s / theirs.slices_per_s for mine, theirs in pairs))


@dataclass
class TrainingResult:
    """What a run found. threads: of each process. precision: what `auto` picks here. seconds: the whole run took."""

    plan: TrainingPlan
    machine: Machine
    threads: int
    precision: str
    rows: list[TrainingRow] = field(default_factory=list)
    seconds: float = 0.0

    def baseline(self, row: TrainingRow) -> TrainingRow:
        """The plain loop on the same recipe."""
        return next(each for each in self.rows if (each.recipe, each.variant) == (row.recipe, BASELINE))


def parse_recipes(text: str | None) -> tuple[str, ...]:
    """Names from `small,tiny`, each once; all of them for None. Raises InputError, listing what there is."""
    if text is None:
        return tuple(RECIPES)
    names = dict.fromkeys(name.strip() for name in text.split(","))
    return tuple(recipe(name).name for name in names)


def run_training_benchmark(plan: TrainingPlan, progress: Progress = lambda done, total, text: None) -> TrainingResult:
    """Measure as planned. What fails has its reason in its row, and the others go on. No process is left."""
    began, watch = time.monotonic(), CpuWatch()
    dtype = choose_precision("auto", torch.device("cpu")).dtype
    precision = {None: "fp32", torch.bfloat16: "bf16"}[dtype]
    result = TrainingResult(plan, describe_machine(), physical_cores(), precision)
    for name in plan.recipes:
        _Recipe(result, name, progress).go()
    progress(1, 1, "done")
    result.machine = replace(result.machine, others_cpu=watch.others())
    result.seconds = time.monotonic() - began
    return result


class _Recipe:
    """The rows of one recipe."""

    def __init__(self, result: TrainingResult, name: str, progress: Progress) -> None:
        self._result, self._name, self._progress = result, name, progress
        variants = {BASELINE: "plain PyTorch loop, fp32", "fp32": "Learner, fp32"}
        if result.precision != "fp32":  # else it is the row above
            variants["auto"] = f"Learner, auto ({result.precision})"
        self._rows = [TrainingRow(name, variant, title) for variant, title in variants.items()]
        self._per_recipe = 1 + len(self._rows) * (1 + result.plan.rounds)
        self._done = len(result.rows) // len(self._rows) * self._per_recipe
        result.rows += self._rows

    def go(self) -> None:
        """Find the batch, load everything, then measure round by round."""
        self._step(f"{self._name}, its memory")
        try:
            batch = self._affordable_batch()
        except ChildError as error:
            for row in self._rows:
                row.error = str(error)
            return
        plan = self._result.plan
        with ExitStack() as stack:
            children = []
            for row in self._rows:
                self._step(f"{self._name}, loading: {row.title}")
                row.batch = batch
                children.append(stack.enter_context(Child("training_worker")))
                self._ask(row, children[-1], "load", **self._order(row.variant))
            for number in range(1, plan.rounds + 1):
                for row, child in zip(self._rows, children, strict=True):
                    self._step(f"{self._name}, round {number} of {plan.rounds}: {row.title}")
                    time.sleep(_SETTLE_S)
                    self._ask(row, child, "measure", batch=batch, seconds=plan.seconds)

    def _affordable_batch(self) -> int:
        """The largest batch whose peak, extrapolated from two small ones, fits in the memory that is free."""
        peaks = []
        with Child("training_worker") as child:
            child.ask("load", _PATIENCE_S, **self._order("fp32"))  # its activations are the largest
            for batch in _PROBES:
                peaks.append(child.ask("measure", _PATIENCE_S, batch=batch, seconds=0.0)["peak_mib"])
        return largest_batch(peaks[0], peaks[1], _SHARE * free_mib())

    def _order(self, variant: str) -> dict[str, object]:
        return {"recipe_name": self._name, "variant": variant, "threads": self._result.threads}

    def _ask(self, row: TrainingRow, child: Child, do: str, **order: object) -> None:
        if row.error is not None:
            return
        try:
            said = child.ask(do, _PATIENCE_S, **order)
        except ChildError as error:
            row.error = str(error)
            child.close()  # its memory is of use to the others
            return
        if do == "measure":
            row.samples.append(TrainingSample(**said))

    def _step(self, text: str) -> None:
        self._progress(self._done, len(self._result.plan.recipes) * self._per_recipe, text)
        self._done += 1


def largest_batch(low_mib: float, high_mib: float, limit_mib: float) -> int:
    """The largest of BATCHES that fits in `limit_mib`, from the peaks at _PROBES slices; 1 where none does."""
    low, high = _PROBES
    slice_mib = max(0.0, (high_mib - low_mib) / (high - low))
    return next((batch for batch in BATCHES if low_mib + slice_mib * (batch - low) <= limit_mib), BATCHES[-1])


def free_mib() -> float:
    """Memory that can be taken without swapping: /proc's MemAvailable, or what is left of the container's limit."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(float(line.split()[1]) / 1024 for line in lines if line.startswith("MemAvailable"))
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (group / "memory.max").read_text().strip(), (group / "memory.stat").read_text().split()
    except OSError:
        return free
    # Not memory.current: that counts files in the page cache, which give way.
    return free if limit == "max" else min(free, (int(limit) - int(used[used.index("anon") + 1])) / 2**20)
