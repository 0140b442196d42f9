"""`swinunet benchmark`: every engine and Triton, or training, measured interleaved on this machine."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table as Grid

    from benchmarks.machine import Machine
    from benchmarks.plan import Plan
    from benchmarks.runner import Progress
    from benchmarks.tables import Table


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("benchmark")(_benchmark)


_WHATS = {"serving": "every engine and Triton", "training": "steps of each recipe against a plain PyTorch loop"}


def _benchmark(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="serving or training")] = "serving",
    repository: Annotated[
        Path | None, typer.Option(help="model repository", show_default="model_repository/ of the checkout")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="model name, where the repository has several; or a version folder")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="instead of a model: this recipe's network, as swin-unet, untrained")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="folder for the report")] = Path("benchmark_output"),
    data: Annotated[Path | None, typer.Option(help="labelled cases: score each engine's Dice on the first ten")] = None,
    engines: Annotated[
        str | None, typer.Option(help="engines to measure, as openvino-f32,openvino-bf16", show_default="all")
    ] = None,
    batches: Annotated[str | None, typer.Option(help="batches to measure", show_default="1,2,4,8,16,32")] = None,
    seconds: Annotated[
        float | None, typer.Option(help="time for each row in each round", show_default="0.5, or 0.1 with --quick")
    ] = None,
    perf_analyzer: Annotated[
        bool, typer.Option("--perf-analyzer", help="fetch NVIDIA's load generator if it is not there (14 MB)")
    ] = False,
    recipes: Annotated[
        str | None, typer.Option(help="training: recipes to measure, as small,tiny", show_default="all")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="two short rounds, to see that everything works")] = False,
) -> None:
    """Measure every engine, Triton and the whole chain from DICOM to SEG, in one interleaved run.

    Writes report.md, report.json, engines.png, triton.png and chain.png: latency, throughput, memory, labels, the share
    of this machine's matrix-multiply peak, and which goals were reached. Takes about a quarter of an hour, two
    minutes with --quick; leave the machine alone meanwhile.

    `swinunet benchmark training` measures training steps on the CPU instead, and writes training.md and training.json.
    A step of a large recipe takes about half a minute on one core; choose with --recipes.

    Examples: `swinunet benchmark --recipe swin-unet`, `swinunet benchmark --quick --engines openvino-f32`,
    `swinunet benchmark training --recipes small,tiny`
    """
    from swinunet.errors import InputError

    if what not in _WHATS:
        listed = ", ".join(f"{name} ({meaning})" for name, meaning in _WHATS.items())
        raise InputError(f"there is no benchmark of {what!r}; choose one of {listed}")
    if seconds is not None and not 0 < seconds <= 600:
        raise InputError(f"--seconds is {seconds:g}; expected more than 0 and at most 600")
    if what == "training":
        if any((repository, model, recipe, data, engines, batches, perf_analyzer)):
            raise InputError(
                "--repository and --model are of `swinunet benchmark serving`, like --recipe, --data, --engines, "
                "--batches and --perf-analyzer; leave them out here"
            )
        _training(recipes, output, seconds, quick)
        return
    if recipes is not None:
        raise InputError("--recipes is of `swinunet benchmark training`; leave it out here")
    if recipe is not None and (repository or model or data):
        raise InputError("--recipe makes its own model; leave out --repository, --model and --data")
    plan = _plan(engines, batches, seconds, perf_analyzer, quick)
    _serving(plan, repository, model, recipe, output, data)


def _plan(engines: str | None, batches: str | None, seconds: float | None, perf_analyzer: bool, quick: bool) -> Plan:
    from dataclasses import replace

    from benchmarks.plan import Plan, choose_engines, choose_sizes

    plan = Plan.short() if quick else Plan()
    if engines is not None:
        plan = replace(plan, engines=choose_engines(engines))
    if batches is not None:
        plan = replace(plan, batches=choose_sizes(batches, "--batches"))
    return replace(plan, seconds=seconds or plan.seconds, perf_analyzer=perf_analyzer)


def _serving(
    plan: Plan, repository: Path | None, model: str | None, recipe: str | None, output: Path, data: Path | None
) -> None:
    from tempfile import TemporaryDirectory

    from benchmarks.notes import notes
    from benchmarks.report import prepare_folder, write_report
    from benchmarks.runner import run_benchmark
    from benchmarks.subject import find_subject
    from benchmarks.tables import tables
    from swinunet.paths import default_repository
    from training.folders import DataFolder

    if data is not None:
        DataFolder.open(data)  # refuse it now, not in every engine
    with TemporaryDirectory(prefix="swinunet-benchmark-") as made, _stopped_by_sigterm():
        if recipe is not None:
            from benchmarks.standard import standard_subject

            subject = standard_subject(recipe, Path(made), () if plan.quick else plan.engines)
        else:
            subject = find_subject(repository or default_repository(), model)
        prepare_folder(output)
        print(f"{subject.title}: {plan.summary}", flush=True)
        with _bar() as progress:
            result = run_benchmark(subject, plan, progress, data=data, trained=recipe is None)
    files = write_report(result, output)
    _show(result.subject.title, result.machine, tables(result), notes(result))
    print(f"{output}: {', '.join(path.name for path in files)}")


def _training(recipes: str | None, output: Path, seconds: float | None, quick: bool) -> None:
    from benchmarks.report import prepare_folder
    from benchmarks.training_report import training_notes, training_table, write_training_report
    from benchmarks.training_speed import TrainingPlan, parse_recipes, run_training_benchmark

    names = parse_recipes(recipes)
    prepare_folder(output)
    rounds, default_s = (2, 0.2) if quick else (5, 2.0)
    plan = TrainingPlan(names, rounds, seconds or default_s, quick)
    with _stopped_by_sigterm(), _bar() as progress:
        result = run_training_benchmark(plan, progress)
    files = write_training_report(result, output)
    _show("Training", result.machine, [training_table(result)], training_notes(result))
    print(f"{output}: {', '.join(path.name for path in files)}")


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Make SIGTERM clean up as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _stage_printer()
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("preparing", total=None)
        yield lambda done, total, text: bar.update(task, completed=done, total=total, description=text)


def _stage_printer() -> Progress:
    """Progress for a log file: a line for what is loaded and for each round, not for every row."""
    last = ""

    def progress(done: int, total: int, text: str) -> None:
        nonlocal last
        stage = text.partition(":")[0]
        if stage != last:
            print(f"{done}/{total} {stage}", file=sys.stderr, flush=True)
        last = stage

    return progress


def _show(title: str, machine: Machine, tables: list[Table], notes: list[str]) -> None:
    import re

    from rich.console import Console
    from rich.markup import escape
    from rich.measure import Measurement

    console = Console()
    if not console.is_terminal:
        console.width = 180  # a file or a pipe has no width: keep rows whole
    console.print(f"{title} on {machine.cpu}, {', '.join(machine.instruction_sets)}", markup=False, highlight=False)
    for each in tables:
        rows = [[escape(cell) for cell in row] for row in each.rows]
        if Measurement.get(console, console.options.update(max_width=1000), _grid(each, rows)).maximum > console.width:
            rows = [[re.sub(r" \(([\d.%-]+)\)$", r"\n\1", cell) for cell in row] for row in rows]
        console.print(_grid(each, rows))
    for note in notes:
        console.print(f"- {note}", markup=False, highlight=False, soft_wrap=not console.is_terminal)


def _grid(table: Table, rows: list[list[str]]) -> Grid:
    """A table of text for the terminal; a narrow one folds cells rather than cut figures off."""
    from rich.table import Table as Grid

    grid = Grid(title=table.title)
    for head in table.heads:
        grid.add_column(head, overflow="fold")
    for row in rows:
        grid.add_row(*row)
    return grid
