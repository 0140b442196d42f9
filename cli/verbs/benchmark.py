"""`swinunet benchmark`: engines and Triton, training, reading or the graph, measured interleaved on this machine."""

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

    from swinunet.benchmarks.measure.machine import Machine
    from swinunet.benchmarks.measure.plan import Plan
    from swinunet.benchmarks.measure.runner import Progress
    from swinunet.foundation.tables import Table


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("benchmark")(_benchmark)


_WHATS = {
    "serving": "every engine and Triton",
    "training": "steps of each recipe against a plain PyTorch loop",
    "reading": "DICOM folders against a plain pydicom loop",
    "graph": "what each change that export makes to the graph saves",
}

_OPTIONS = {  # that each understands, beside --output and --quick
    "serving": (
        "--repository", "--model", "--recipe", "--data", "--engines", "--batches", "--seconds", "--perf-analyzer",
    ),
    "training": ("--recipes", "--seconds"),
    "reading": (),
    "graph": ("--repository", "--model", "--recipe", "--seconds"),
}  # fmt: skip


def _benchmark(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="serving, training, reading or graph")] = "serving",
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

    `swinunet benchmark reading` measures how DICOM is read: a CT of 1,000 slices, compressed and not, and a folder of
    10,000 files. It writes reading.md, reading.json and reading.png, and 0.8 GB of files that it removes again.

    `swinunet benchmark graph` counts nodes and measures a slice before and after each change that export makes to the
    graph, and writes graph.md and graph.json.

    Examples: `swinunet benchmark --recipe swin-unet`, `swinunet benchmark --quick --engines openvino-f32`,
    `swinunet benchmark training --recipes small,tiny`
    """
    from swinunet.foundation.errors import InputError

    if what not in _WHATS:
        listed = ", ".join(f"{name} ({meaning})" for name, meaning in _WHATS.items())
        raise InputError(f"there is no benchmark of {what!r}; choose one of {listed}")
    if seconds is not None and not 0 < seconds <= 600:
        raise InputError(f"--seconds is {seconds:g}; expected more than 0 and at most 600")
    given = {
        "--repository": repository, "--model": model, "--recipe": recipe, "--data": data, "--engines": engines,
        "--batches": batches, "--seconds": seconds, "--perf-analyzer": perf_analyzer, "--recipes": recipes,
    }  # fmt: skip
    for option, value in given.items():
        if value not in (None, False) and option not in _OPTIONS[what]:
            of = ", ".join(name for name, options in _OPTIONS.items() if option in options)
            raise InputError(f"{option} is not of `swinunet benchmark {what}` (of {of} only); leave it out")
    if recipe is not None and (repository or model or data):
        raise InputError("--recipe makes its own model; leave out --repository, --model and --data")
    if what == "training":
        _training(recipes, output, seconds, quick)
    elif what == "reading":
        _reading(output, quick)
    elif what == "graph":
        _graph(repository, model, recipe, output, seconds, quick)
    else:
        _serving(_plan(engines, batches, seconds, perf_analyzer, quick), repository, model, recipe, output, data)


def _plan(engines: str | None, batches: str | None, seconds: float | None, perf_analyzer: bool, quick: bool) -> Plan:
    from dataclasses import replace

    from swinunet.benchmarks.measure.plan import Plan, choose_engines, choose_sizes

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

    from swinunet.benchmarks.measure.runner import run_benchmark
    from swinunet.benchmarks.measure.subject import find_subject
    from swinunet.benchmarks.reports.notes import notes
    from swinunet.benchmarks.reports.report import write_report
    from swinunet.benchmarks.reports.tables import tables
    from swinunet.foundation.files import prepare_folder
    from swinunet.foundation.paths import default_repository
    from swinunet.training.data.folders import DataFolder

    if data is not None:
        DataFolder.open(data)  # refuse it now, not in every engine
    with TemporaryDirectory(prefix="swinunet-benchmark-") as made, _stopped_by_sigterm():
        if recipe is not None:
            from swinunet.benchmarks.measure.standard import standard_subject

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
    from swinunet.benchmarks.measure.training_speed import TrainingPlan, parse_recipes, run_training_benchmark
    from swinunet.benchmarks.reports.training_report import training_notes, training_table, write_training_report
    from swinunet.foundation.files import prepare_folder

    names = parse_recipes(recipes)
    prepare_folder(output)
    rounds, default_s = (2, 0.2) if quick else (5, 2.0)
    plan = TrainingPlan(names, rounds, seconds or default_s, quick)
    with _stopped_by_sigterm(), _bar() as progress:
        result = run_training_benchmark(plan, progress)
    files = write_training_report(result, output)
    _show("Training", result.machine, [training_table(result)], training_notes(result))
    print(f"{output}: {', '.join(path.name for path in files)}")


def _reading(output: Path, quick: bool) -> None:
    from swinunet.benchmarks.measure.reading import ReadingPlan, run_reading_benchmark
    from swinunet.benchmarks.reports.reading_report import reading_notes, reading_table, write_reading_report
    from swinunet.foundation.files import prepare_folder

    prepare_folder(output)
    with _stopped_by_sigterm(), _bar() as progress:
        result = run_reading_benchmark(ReadingPlan.short() if quick else ReadingPlan(), progress)
    files = write_reading_report(result, output)
    _show("Reading", result.machine, [reading_table(result)], reading_notes(result))
    print(f"{output}: {', '.join(path.name for path in files)}")


def _graph(
    repository: Path | None, model: str | None, recipe: str | None, output: Path, seconds: float | None, quick: bool
) -> None:
    from swinunet.benchmarks.measure.graph import GraphPlan, run_graph_benchmark
    from swinunet.benchmarks.measure.standard import standard_network
    from swinunet.benchmarks.measure.subject import find_subject, real_slices
    from swinunet.benchmarks.reports.graph_report import graph_notes, graph_table, write_graph_report
    from swinunet.export.file_names import CHECKPOINT_FILE
    from swinunet.export.repository.version_files import read_checkpoint
    from swinunet.foundation.files import prepare_folder
    from swinunet.foundation.paths import default_repository

    if recipe is not None:
        title = f"{recipe}, untrained"
        network, spec, slices = standard_network(recipe)
    else:
        subject = find_subject(repository or default_repository(), model)
        title = subject.title
        network, spec = read_checkpoint(subject.folder / CHECKPOINT_FILE, None)
        slices, _ = real_slices(subject)
    prepare_folder(output)
    rounds, default_s = (2, 0.1) if quick else (5, 1.0)
    with _stopped_by_sigterm(), _bar() as progress:
        result = run_graph_benchmark(
            title, network, spec, slices, GraphPlan(rounds, seconds or default_s, quick), progress
        )
    files = write_graph_report(result, output)
    _show(result.title, result.machine, [graph_table(result)], graph_notes(result))
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
