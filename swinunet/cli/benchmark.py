"""`swinunet benchmark`: every engine and Triton, measured interleaved on this machine."""

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

    from benchmarks.runner import Progress, Result
    from benchmarks.tables import Table


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("benchmark")(_benchmark)


def _benchmark(
    repository: Annotated[
        Path | None, typer.Option(help="model repository", show_default="model_repository/ of the checkout")
    ] = None,
    model: Annotated[str | None, typer.Option(help="model name, where the repository has several")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="folder for the report")] = Path("benchmark_output"),
    seconds: Annotated[
        float | None, typer.Option(help="time for each row in each round", show_default="2, or 0.2 with --quick")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="two short rounds, to see that everything works")] = False,
) -> None:
    """Measure latency, throughput and memory of every engine, bare and through Triton, in one interleaved run.

    Writes report.md, report.json and latency.png. Every answer's labels are compared with PyTorch's. Takes about two
    minutes; leave the machine alone meanwhile.

    Example: `swinunet benchmark -o benchmark_output`
    """
    from benchmarks.plan import Plan
    from benchmarks.report import prepare_folder, write_report
    from benchmarks.runner import run_benchmark
    from benchmarks.subject import find_subject
    from swinunet.errors import InputError
    from swinunet.paths import default_repository

    if seconds is not None and not 0 < seconds <= 600:
        raise InputError(f"--seconds is {seconds:g}; expected more than 0 and at most 600")
    subject = find_subject(repository or default_repository(), model)
    prepare_folder(output)
    plan = Plan.short(seconds or 0.2) if quick else Plan(seconds=seconds or 2.0)
    with _stopped_by_sigterm(), _bar() as progress:
        result = run_benchmark(subject, plan, progress)
    files = write_report(result, output)
    _show(result)
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


def _show(result: Result) -> None:
    import re

    from rich.console import Console
    from rich.markup import escape
    from rich.measure import Measurement

    from benchmarks.tables import notes, tables

    console = Console()
    if not console.is_terminal:
        console.width = 180  # a file or a pipe has no width: keep rows whole
    machine = result.machine
    console.print(
        f"{result.subject.title} on {machine.cpu}, {', '.join(machine.instruction_sets)}", markup=False, highlight=False
    )
    for each in tables(result):
        rows = [[escape(cell) for cell in row] for row in each.rows]
        if Measurement.get(console, console.options.update(max_width=1000), _grid(each, rows)).maximum > console.width:
            rows = [[re.sub(r" \(([\d.%-]+)\)$", r"\n\1", cell) for cell in row] for row in rows]
        console.print(_grid(each, rows))
    for note in notes(result):
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
