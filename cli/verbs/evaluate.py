"""`swinunet evaluate`: how good a model is on labelled volumes, and whether one result is better than another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swinunet.cli.options import with_options

if TYPE_CHECKING:
    from swinunet.evaluation.result import CaseResult


class _Part(StrEnum):
    training = "training"
    validation = "validation"


@dataclass(frozen=True)
class EvaluateOptions:
    """A model and labelled volumes, or two results to compare."""

    model: Annotated[str, typer.Argument()]
    """Checkpoint (.safetensors), .onnx, HOST:PORT[/model] of a Triton, or folder of predictions; with --compare, the
    evaluation.json of A."""
    data: Annotated[Path, typer.Argument()]
    """Labelled folder with a dataset.json (MSD or nnU-Net), or with images/ and labels/ or imagesTr/ and labelsTr/;
    with --compare, the evaluation.json of B."""
    output: Annotated[Path | None, typer.Option("--output", "-o")] = None
    """Folder for the report."""
    overwrite: Annotated[bool, typer.Option("--overwrite")] = False
    """Write over an earlier report in that folder."""
    split: Path | None = None
    """split.json of a run: evaluate only the cases of --part."""
    part: _Part = _Part.validation
    """Part of the split to evaluate."""
    cases: str | None = None
    """Evaluate only these cases: NAME,NAME,..."""
    assume_ras: Annotated[bool, typer.Option("--assume-ras")] = False
    """NIfTI without qform and sform: take its axes to run to the patient's right, front and head."""
    seed: Annotated[int, typer.Option(min=0)] = 0
    """Seed of the bootstrap."""
    compare: Annotated[bool, typer.Option("--compare")] = False
    """Compare two evaluation.json, A and B, given instead of MODEL and DATA."""


_COMMON = ("--output", "--split", "--part", "--cases", "--compare")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("evaluate", no_args_is_help=True)(with_options(evaluate, common=_COMMON))


def evaluate(options: EvaluateOptions) -> None:
    """Measure Dice, HD95, NSD and volume error of every case.

    Per class, on the native grid, in mm and ml.
    Writes evaluation.json, evaluation.md and evaluation.png.

    Example: `swinunet evaluate runs/a/checkpoint.safetensors Task04_Hippocampus -o a --split runs/a/split.json`

    A served model: `swinunet evaluate localhost:8001 Task04_Hippocampus -o served`

    Is B better than A? `swinunet evaluate --compare a/evaluation.json b/evaluation.json`
    """
    from swinunet.foundation.errors import InputError

    if options.compare:
        if options.split is not None or options.cases is not None:
            raise InputError("--compare takes two evaluation.json; --split and --cases belong to evaluating a model")
        _compare(options)
    elif options.output is None:
        raise InputError("no folder for the report was given; add -o FOLDER")
    else:
        _evaluate(options, options.output)


def _evaluate(options: EvaluateOptions, output: Path) -> None:
    from swinunet.evaluation.predictors import open_predictor
    from swinunet.evaluation.report import REPORT_NAMES, summary_table, write_report
    from swinunet.evaluation.run import evaluate
    from swinunet.evaluation.selection import select_cases
    from swinunet.foundation.files import prepare_folder
    from swinunet.foundation.terminal import print_line, show_table

    names = None if options.cases is None else [name for name in options.cases.split(",") if name]
    selection = select_cases(options.data, options.split, options.part.value, names, assume_ras=options.assume_ras)
    _refuse_to_overwrite(output, REPORT_NAMES, options.overwrite)
    prepare_folder(output)
    with open_predictor(options.model, selection.cases) as predictor, _case_progress(len(selection.cases)) as tick:
        evaluation = evaluate(predictor, selection, options.seed, tick=tick)
    files = write_report(evaluation, output)
    print_line(f"{evaluation.model.title} on {evaluation.data}, {evaluation.selection}")
    show_table(summary_table(evaluation))
    for note in evaluation.notes:
        print_line(f"- {note}")
    print_line(f"{output}: {', '.join(path.name for path in files)}")


def _refuse_to_overwrite(folder: Path, names: tuple[str, ...], overwrite: bool) -> None:
    from swinunet.foundation.errors import OutputError

    there = [name for name in names if (folder / name).exists()]
    if there and not overwrite:
        raise OutputError(f"{folder}: {', '.join(there)} there already; choose another folder, or add --overwrite")


def _compare(options: EvaluateOptions) -> None:
    import json

    from swinunet.evaluation.compare import compare
    from swinunet.evaluation.result import read_evaluation
    from swinunet.foundation.files import prepare_folder, written_aside
    from swinunet.foundation.terminal import print_line, show_table

    output = options.output
    if output is not None:
        _refuse_to_overwrite(output, ("comparison.json", "comparison.md"), options.overwrite)
    found = compare(read_evaluation(Path(options.model)), read_evaluation(options.data), options.seed)
    if output is not None:
        prepare_folder(output)
        for name, text in (
            ("comparison.json", json.dumps(found.as_json(), indent=1) + "\n"),
            ("comparison.md", found.markdown()),
        ):
            with written_aside(output / name) as aside:
                aside.write_text(text)
    show_table(found.table())
    print_line(found.sentence)


@contextmanager
def _case_progress(cases: int) -> Iterator[Callable[[CaseResult], None]]:
    from swinunet.foundation.progress import work_progress

    with work_progress(lines=False) as progress:
        task = progress.add_task("evaluating", total=cases)

        def tick(case: CaseResult) -> None:
            dice = [f"{score.dice:.3f}" for score in case.classes if score.dice is not None]
            progress.update(task, advance=1, note=f"{case.case}: Dice {' '.join(dice) or '-'}")

        yield tick
