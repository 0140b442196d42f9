"""`swinunet evaluate`: how good a model is on labelled volumes, and whether one result is better than another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table as Grid

    from swinunet.evaluation.result import CaseResult
    from swinunet.foundation.tables import Table

_PIPE_WIDTH = 240  # columns of the table where the output is no terminal: no figure is folded


class _Part(StrEnum):
    training = "training"
    validation = "validation"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("evaluate", no_args_is_help=True)(_evaluate)


def _evaluate(
    model: Annotated[
        str,
        typer.Argument(help="checkpoint (.safetensors), .onnx, HOST:PORT[/model] of Triton, or folder of predictions"),
    ],
    data: Annotated[Path, typer.Argument(help="labelled folder in the Medical Segmentation Decathlon layout")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="folder for the report")] = None,
    split: Annotated[Path | None, typer.Option(help="split.json of a run: judge only the cases of --part")] = None,
    part: Annotated[_Part, typer.Option(help="of the split")] = _Part.validation,
    cases: Annotated[str | None, typer.Option(help="judge only these cases: NAME,NAME,...")] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the bootstrap")] = 0,
    compare: Annotated[
        bool, typer.Option("--compare", help="compare two evaluation.json, A and B, given in place of MODEL and DATA")
    ] = False,
) -> None:
    """Measure Dice, HD95 and NSD (mm) and volume error (ml) per case and class, on the native grid.

    Writes evaluation.json, evaluation.md and evaluation.png.

    Example: `swinunet evaluate runs/a/checkpoint.safetensors Task04_Hippocampus -o a --split runs/a/split.json`

    A served model: `swinunet evaluate localhost:8001 Task04_Hippocampus -o served`

    Is B better than A? `swinunet evaluate --compare a/evaluation.json b/evaluation.json`
    """
    from swinunet.foundation.errors import InputError

    if compare:
        if split is not None or cases is not None:
            raise InputError("--compare takes two evaluation.json; --split and --cases belong to evaluating a model")
        _compare(Path(model), data, output, seed)
        return
    if output is None:
        raise InputError("no folder for the report was given; add -o FOLDER")
    from swinunet.evaluation.predictors import open_predictor
    from swinunet.evaluation.report import summary_table, write_report
    from swinunet.evaluation.run import evaluate
    from swinunet.evaluation.selection import select_cases
    from swinunet.foundation.files import prepare_folder

    names = None if cases is None else [name for name in cases.split(",") if name]
    selection = select_cases(data, split, part.value, names)
    prepare_folder(output)
    with open_predictor(model, selection.cases) as predictor, _bar(len(selection.cases)) as tick:
        evaluation = evaluate(predictor, selection, seed, tick=tick)
    files = write_report(evaluation, output)
    print(f"{evaluation.model.title} on {evaluation.data}, {evaluation.selection}")
    show_table(summary_table(evaluation))
    for note in evaluation.notes:
        print(f"- {note}")
    print(f"{output}: {', '.join(path.name for path in files)}")


def _compare(first: Path, second: Path, output: Path | None, seed: int) -> None:
    import json

    from swinunet.evaluation.compare import compare
    from swinunet.evaluation.result import read_evaluation
    from swinunet.foundation.files import prepare_folder, written_aside

    found = compare(read_evaluation(first), read_evaluation(second), seed)
    if output is not None:
        prepare_folder(output)
        for name, text in (
            ("comparison.json", json.dumps(found.as_json(), indent=1) + "\n"),
            ("comparison.md", found.markdown()),
        ):
            with written_aside(output / name) as aside:
                aside.write_text(text)
    show_table(found.table())
    print(found.sentence)


@contextmanager
def _bar(cases: int) -> Iterator[Callable[[CaseResult], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=cases)

        def tick(case: CaseResult) -> None:
            dice = [f"{score.dice:.3f}" for score in case.classes if score.dice is not None]
            progress.update(task, advance=1, description=f"{case.case}: Dice {' '.join(dice) or '-'}")

        yield tick


def show_table(table: Table) -> None:
    """Print a table; where the terminal is narrow, intervals go on a line of their own."""
    from rich.console import Console
    from rich.markup import escape
    from rich.measure import Measurement

    console = Console()
    if not console.is_terminal:
        console = Console(width=_PIPE_WIDTH)
    rows = [[escape(cell) for cell in row] for row in table.rows]
    if Measurement.get(console, console.options.update(max_width=1000), _grid(table, rows)).maximum > console.width:
        rows = [[cell.replace(" (", "\n(") for cell in row] for row in rows]
    console.print(_grid(table, rows))


def _grid(table: Table, rows: list[list[str]]) -> Grid:
    """For the terminal; a narrow one folds cells rather than cut figures off."""
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(title=Text(table.title, style="table.title"))
    for at, head in enumerate(table.heads):
        grid.add_column(head, overflow="fold", justify="right" if at else "left")
    for row in rows:
        grid.add_row(*row)
    return grid
