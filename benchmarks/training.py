"""`swinunet benchmark training`: how fast each recipe learns on this CPU, against a bare PyTorch loop.

For each recipe in turn, its ways of training sit in processes of their own and are measured interleaved, in rounds.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from swinunet.benchmarks.measure.machine import physical_cores
from swinunet.benchmarks.measure.measurements import Measurements, Spread, attempt_for_all, spread_json
from swinunet.benchmarks.measure.processes import WorkerError, WorkerProcess
from swinunet.benchmarks.measure.rounds import Group, Progress, Run, Task, no_progress, run_interleaved, sampling
from swinunet.benchmarks.reports.numbers import NONE, percent_text, spread_text
from swinunet.benchmarks.reports.report import Report, table_with_remarks
from swinunet.benchmarks.training_memory import MemoryRow, memory_table
from swinunet.benchmarks.workers.training_worker import SPEC
from swinunet.training.loop.hardware import choose_precision
from swinunet.training.network.recipes import RECIPES, recipe

BASELINE = "plain"
BATCHES = (16, 8, 4, 2, 1)  # the largest that memory allows is taken
_PROBES = (2, 4)  # slices; their peaks give the memory of a slice more
_SHARE = 0.8  # of the memory that is free, for one recipe
_TIMEOUT_S = 1800.0
_HEADS = ("recipe", "input", "batch", "loop", "slices/s", "x plain", "data, % of time", "peak MiB", "remark")


@dataclass(frozen=True)
class TrainingSettings:
    """`rounds` times through the ways of training a recipe, each for `seconds` s (one step at least) at a time.

    threads: of each process; None is the physical cores that this process may use.
    """

    recipes: tuple[str, ...] = tuple(RECIPES)
    rounds: int = 5
    seconds: float = 2.0
    quick: bool = False
    threads: int | None = None


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
class MeasuredTraining(Measurements[TrainingSample]):
    """A recipe trained one way. variant: `plain`, or the precision our Learner was asked for."""

    recipe: str
    variant: str
    title: str
    batch: int | None = None
    worker: WorkerProcess | None = None

    @property
    def peak_mib(self) -> float:
        """Of the process, over all rounds."""
        return max(sample.peak_mib for sample in self.samples)


@dataclass
class TrainingResult:
    """What a run found. threads: of each process. precision: what `auto` picks here. run: set when it has ended."""

    settings: TrainingSettings
    threads: int
    precision: str
    rows: list[MeasuredTraining]
    run: Run = field(default_factory=Run)
    memory: list[MemoryRow] = field(default_factory=list)

    def baseline(self, row: MeasuredTraining) -> MeasuredTraining:
        """The plain loop on the same recipe."""
        return next(each for each in self.rows if (each.recipe, each.variant) == (row.recipe, BASELINE))


def parse_recipes(text: str | None) -> tuple[str, ...]:
    """Names from `small,tiny`, each once; all of them for None. Raises InputError, listing what there is."""
    if text is None:
        return tuple(RECIPES)
    names = dict.fromkeys(name.strip() for name in text.split(","))
    return tuple(recipe(name).name for name in names)


def run_training_benchmark(settings: TrainingSettings, progress: Progress = no_progress) -> TrainingResult:
    """Measure as set. What fails has its reason in its row, and the others go on. No process is left."""
    dtype = choose_precision("auto", torch.device("cpu")).dtype
    precision = {None: "fp32", torch.bfloat16: "bf16"}[dtype]
    variants = {BASELINE: "plain PyTorch loop, fp32", "fp32": "Learner, fp32"}
    if precision != "fp32":  # else it is the row above
        variants["auto"] = f"Learner, auto ({precision})"
    rows = [MeasuredTraining(name, *variant) for name in settings.recipes for variant in variants.items()]
    result = TrainingResult(settings, settings.threads or physical_cores(), precision, rows)
    groups = [_group(result, [row for row in rows if row.recipe == name]) for name in settings.recipes]
    result.run = run_interleaved(groups, settings.rounds, progress)
    return result


def _group(result: TrainingResult, rows: list[MeasuredTraining]) -> Group:
    """The ways of training one recipe: its batch is found, all are loaded, then they are measured in turn."""
    name, seconds, resources = rows[0].recipe, result.settings.seconds, ExitStack()
    load = [Task(f"{name}, its memory", partial(_choose_batch, rows, result.threads))]
    load += [
        Task(f"{name}, loading: {row.title}", partial(row.attempt, partial(_load, row, result.threads, resources)))
        for row in rows
    ]
    turns = [sampling(row.title, row, partial(_measure, row, seconds)) for row in rows]
    return Group(load, turns, f"{name}, ", resources)


def _choose_batch(rows: list[MeasuredTraining], threads: int) -> None:
    """The largest batch whose peak, extrapolated from two small ones, fits in the memory that is free; for all rows."""
    # fp32: its activations are the largest.
    order = {"recipe_name": rows[0].recipe, "variant": "fp32", "threads": threads}

    def probe() -> None:
        with WorkerProcess("training_worker") as worker:
            worker.ask("load", _TIMEOUT_S, **order)
            low, high = (worker.ask("measure", _TIMEOUT_S, batch=each, seconds=0.0)["peak_mib"] for each in _PROBES)
        batch = largest_batch(low, high, _SHARE * free_mib())
        for row in rows:
            row.batch = batch

    attempt_for_all(rows, probe)


def _load(row: MeasuredTraining, threads: int, resources: ExitStack) -> None:
    row.worker = resources.enter_context(WorkerProcess("training_worker"))
    _ask(row, "load", recipe_name=row.recipe, variant=row.variant, threads=threads)


def _measure(row: MeasuredTraining, seconds: float) -> TrainingSample:
    return TrainingSample(**_ask(row, "measure", batch=row.batch, seconds=seconds))


def _ask(row: MeasuredTraining, do: str, **order: object) -> dict[str, Any]:
    """The answer of the row's process. Raises WorkerError."""
    assert row.worker is not None
    try:
        return row.worker.ask(do, _TIMEOUT_S, **order)
    except WorkerError:
        row.worker.close()  # its memory is of use to the others
        raise


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


def training_report(result: TrainingResult) -> Report:
    """training.md and training.json."""
    settings = result.settings
    return Report(
        name="training",
        title="Training",
        heading="training",
        command="swinunet benchmark training",
        run=result.run,
        quick=settings.quick,
        tables=[
            table_with_remarks("Training on the CPU", _HEADS, [_cells(result, row) for row in result.rows]),
            *([memory_table(result.memory)] if result.memory else []),
        ],
        figures={
            "plan": {
                "rounds": settings.rounds,
                "seconds": settings.seconds,
                "threads": result.threads,
                "quick": settings.quick,
            },
            "auto_precision": result.precision,
            "in_channels": SPEC.in_channels,
            "num_classes": SPEC.num_classes,
            "rows": [_row_figures(result, row) for row in result.rows],
            "memory": [asdict(row) for row in result.memory],
        },
        footnotes=_footnotes(result),
    )


def _footnotes(result: TrainingResult) -> list[str]:
    settings = result.settings
    return [
        f"Figures are the median of {settings.rounds} rounds (lowest to highest). In each round the ways of training a "
        f"recipe run in turn, {settings.seconds:g} s each (one step at least) while the others are idle; ratios are "
        "taken within a round.",
        "slices/s: forward, backward and update, the batch being there. The plain loop is the same network, loss and "
        "AdamW and nothing else; the Learner also clips the gradient, checks that it is finite, sets the learning rate "
        "and averages the weights.",
        "data: share of the Learner's loop spent on gathering and augmenting batches (on a CPU in the loop itself, "
        "which is what waiting for data is here). The plain loop is fed the same batches, but has no such step.",
        f"Slices are synthetic: {SPEC.in_channels} channels, {SPEC.num_classes} classes, every slice labelled.",
        f"Every row has a process of its own; threads of each: {result.threads}. Peak memory is that process's peak "
        "RSS (VmHWM), PyTorch's own included. GPUs are not measured. The batch is "
        f"{BATCHES[0]}, or the largest power of two below it that fits in four fifths of the free memory.",
        f"Precision `auto` is {result.precision} on this CPU"
        + (", so the Learner's fp32 row is that of `auto` too." if result.precision == "fp32" else "."),
    ]


def _row_figures(result: TrainingResult, row: MeasuredTraining) -> dict[str, Any]:
    speed, ratio, share = _spreads(result, row)
    return {
        "recipe": row.recipe,
        "variant": row.variant,
        "title": row.title,
        "batch": row.batch,
        "error": row.error,
        "slices": sum(sample.slices for sample in row.samples),
        "slices_per_s": spread_json(speed),
        "ratio_to_plain": spread_json(ratio),
        "data_share": spread_json(share),
        "peak_mib": row.peak_mib if row.measured else None,
    }


def _cells(result: TrainingResult, row: MeasuredTraining) -> tuple[str, ...]:
    speed, ratio, share = _spreads(result, row)
    height, width = recipe(row.recipe).build(SPEC.in_channels, SPEC.num_classes).input_size
    return (
        row.recipe,
        f"{height} x {width}",
        str(row.batch or NONE),
        row.title,
        spread_text(speed),
        spread_text(ratio),
        percent_text(share),
        f"{row.peak_mib:.0f}" if row.measured else NONE,
        row.remark,
    )


def _spreads(result: TrainingResult, row: MeasuredTraining) -> tuple[Spread | None, Spread | None, Spread | None]:
    """Slices per second, their ratio to the plain loop, and the share of time for data (None for the plain loop)."""
    share = None if row.variant == BASELINE else row.spread(lambda sample: sample.data_share)
    return row.spread(_slices_per_s), row.ratio(result.baseline(row), _slices_per_s), share


def _slices_per_s(sample: TrainingSample) -> float:
    return sample.slices_per_s
