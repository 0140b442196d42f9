"""`swinunet segment`: DICOM folders or NIfTI files in, a folder of results for each."""

from __future__ import annotations

import dataclasses
import functools
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from swinunet import server_arguments as server
from swinunet.errors import InputError, SwinUNetError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID
    from rich.table import Table

    from client import Outcome, ServerOptions, Study
    from client.results.report import Report

_STDIN = Path("-")
_INTERRUPTED = 130

# As client.results.outputs has them: importing that would load Matplotlib for `swinunet --help`.
SegType = Literal["binary", "labelmap"]
Output = Literal["labels", "probabilities"]
_NOT_JUDGED = {
    "volume": "volume (the model does not say what was seen in training)",
    "confidence": "confidence (only labels travelled; see --restore)",
}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("segment", no_args_is_help=True)(_segment)


def _segment(
    output: Annotated[Path, typer.Option("--output", "-o", help="results go here, a folder per input")],
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(help="DICOM folders or NIfTI files; - reads paths from standard input", metavar="INPUT..."),
    ] = None,
    tree: Annotated[Path | None, typer.Option(help="every DICOM series and NIfTI file below this folder")] = None,
    list_: Annotated[Path | None, typer.Option("--list", help="a text file with a path a line")] = None,
    model: Annotated[str | None, typer.Option(help="model name, where the server has several")] = None,
    roi: Annotated[
        list[str] | None,
        typer.Option(help="[left=|right=]XMIN,XMAX,YMIN,YMAX,ZMIN,ZMAX: a box in patient mm (LPS); repeatable"),
    ] = None,
    series: Annotated[str | None, typer.Option(help="SeriesInstanceUID, where a folder has several")] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="VERDICT", help="overrule a verdict: tilted (sheared grid), gap (even steps); repeatable"),
    ] = None,
    repository: Annotated[
        Path | None, typer.Option(help="model repository to start Triton on [default: model_repository/]")
    ] = None,
    outputs: Annotated[
        str | None, typer.Option(help="some of nifti,seg,sr,png,json [default: all that the input allows]")
    ] = None,
    seg_type: Annotated[SegType, typer.Option(help="how the DICOM SEG stores its segments")] = "binary",
    restore: Annotated[
        Output, typer.Option(help="to the native grid by nearest label (fast), or by interpolated probability (smooth)")
    ] = "labels",
    deidentify: Annotated[
        Path | None,
        typer.Option(help="de-identify results for research; names and UIDs follow from this key file, made if absent"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace results that exist")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="skip inputs whose whole result exists")] = False,
    url: server.Url = None,
    timeout: server.Timeout = None,
    header: server.Header = None,
    tls: server.TlsFlag = False,
    tls_ca: server.TlsCa = None,
    tls_cert: server.TlsCert = None,
    tls_key: server.TlsKey = None,
    shared_memory: server.SharedMemoryChoice = "auto",
    budget: server.Budget = 64,
    max_message: server.MaxMessage = 2047,
) -> None:
    """Segment DICOM folders or NIfTI files through Triton: DICOM SEG and SR, NIfTI, JSON report and overlay PNG.

    Example: `swinunet segment study/ case.nii.gz -o results --url triton.hospital:8001`

    A box: `swinunet segment study/ -o results --roi left=7,43,-2,47,-31,8`

    Many studies, and going on where it stopped: `swinunet segment --tree archive/ -o results --resume`
    """
    from client import TritonModel, folders_called, parse_roi, segment_studies
    from client.results.deidentify import Pseudonyms
    from client.results.outputs import OutputOptions, parse_outputs

    if overwrite and resume:
        raise InputError("--overwrite replaces results that exist and --resume keeps them; give one of the two")
    tls_files = (tls_ca, tls_cert, tls_key)
    options = server.server_options(url, timeout, header, tls, tls_files, shared_memory, budget, max_message)
    rois = tuple(parse_roi(text) for text in roi or [])
    pseudonyms = Pseudonyms.from_file(deidentify) if deidentify else None
    results = OutputOptions(None if outputs is None else parse_outputs(outputs), seg_type, restore, pseudonyms)
    if resume and results.kinds and "json" not in results.kinds:
        raise InputError("--resume goes by the JSON report of each result; add json to --outputs")
    warnings.simplefilter("ignore")  # in every thread: pydicom's quote values, which may be the patient's
    studies = _studies(inputs or [], tree, list_, series)
    names = [pseudonyms.case(study.path) if pseudonyms else study.name for study in studies]
    folders = folders_called(names, output, overwrite or resume)
    with (
        _sigterm_interrupts(),
        _server(url, repository, options) as (address, options),
        TritonModel(address, model, options) as served,
    ):
        segment = functools.partial(
            segment_studies,
            studies,
            folders,
            served,
            rois,
            options=results,
            allow=allow or (),
            overwrite=overwrite,
            resume=resume,
        )
        outcomes, interrupted = _run(studies, segment)
    _finish(outcomes, len(studies), interrupted)


def _studies(inputs: Sequence[Path], tree: Path | None, list_: Path | None, series: str | None) -> list[Study]:
    from client.study_list import read_list, read_paths, studies_at, studies_below

    paths: list[Path] = []
    for path in inputs:
        paths += read_paths(sys.stdin) if path == _STDIN else [path]
    if list_:
        paths += read_list(list_)
    studies = studies_at(paths, series) + (studies_below(tree) if tree else [])
    if not studies:
        raise InputError("nothing to segment: no input was given, and no list that names one")
    return studies


@contextmanager
def _server(url: str | None, repository: Path | None, options: ServerOptions) -> Iterator[tuple[str, ServerOptions]]:
    """Address of the server to ask: the given one, or one of our own for as long as the job lasts."""
    if url is not None:
        yield url, options
        return
    from serving import TritonServer
    from swinunet.paths import default_repository

    with TritonServer(repository or default_repository()) as ours:
        yield ours.url, dataclasses.replace(options, headers=ours.restricted_headers)


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that it cleans up after itself."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(
    studies: Sequence[Study], segment: Callable[..., Generator[Outcome, None, None]]
) -> tuple[list[Outcome], bool]:
    """What became of the studies that ended, and whether the user stopped before all had.

    segment: `segment_studies`, but for its `progress`.
    """
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    outcomes: list[Outcome] = []
    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        overall = bars.add_task("studies", total=len(studies), visible=len(studies) > 1)
        bar_of: dict[Study, TaskID] = {}

        def progress(study: Study, done: int, total: int) -> None:
            if study not in bar_of:
                bar_of[study] = bars.add_task(study.name, total=total)
            bars.update(bar_of[study], completed=done)

        ended = segment(progress=progress)
        try:
            with closing(ended):
                for outcome in ended:
                    outcomes.append(outcome)
                    bars.advance(overall)
                    if outcome.study in bar_of:
                        bars.remove_task(bar_of.pop(outcome.study))
                    if outcome.error and len(studies) > 1:
                        line = f"swinunet: {outcome.study.path}: {outcome.reason}"
                        console.print(line, markup=False, highlight=False, soft_wrap=True)
        except KeyboardInterrupt:
            return outcomes, True
    place = {study: number for number, study in enumerate(studies)}
    return sorted(outcomes, key=lambda outcome: place[outcome.study]), False


def _finish(outcomes: Sequence[Outcome], studies: int, interrupted: bool) -> None:
    """Show what became of the studies; raise unless all are segmented."""
    from rich.console import Console

    console = Console()
    refused = [outcome for outcome in outcomes if outcome.error]
    if studies > 1:
        console.print(_summary(outcomes))
        count = Counter(outcome.status for outcome in outcomes)
        console.print(f"{count['done']} done, {count['skipped']} skipped, {count['refused']} refused")
    elif outcomes and outcomes[0].report:
        _show_study(console, outcomes[0].report)
        files = ", ".join(sorted(outcomes[0].report.outputs.values()))
        console.print(f"{outcomes[0].folder}: {files}", markup=False, soft_wrap=True)
    elif outcomes and outcomes[0].status == "skipped":
        console.print(f"{outcomes[0].folder}: skipped, {outcomes[0].reason}", markup=False, soft_wrap=True)
    if interrupted:
        left = studies - len(outcomes) + len(refused)
        print(f"swinunet: interrupted with {left} of {studies} inputs to do; go on with --resume", file=sys.stderr)
        raise typer.Exit(_INTERRUPTED)
    if studies == 1 and refused and refused[0].error:
        raise refused[0].error
    if refused:
        raise SwinUNetError(f"{len(refused)} of {studies} inputs were not wholly segmented; the reasons are above")


def _show_study(console: Console, report: Report) -> None:
    """What was found in one study, and what of it should be looked at."""
    from rich.table import Table

    flagged = any(structure.flags for structure in report.structures)
    table = Table("input", "structure", "volume (ml)", "voxels", "seconds", title="Segmentation")
    if flagged:
        table.add_column("look at")
    for row, structure in enumerate(report.structures):
        name, seconds = (report.input.name, _seconds(report)) if row == 0 else ("", "")
        look_at = ", ".join(flag.kind.replace("_", " ") for flag in structure.flags)
        cells = (name, structure.name, f"{structure.volume_ml:.2f}", str(structure.voxels), seconds)
        table.add_row(*cells, *([look_at] if flagged else []))
    console.print(table)
    for structure in report.structures:
        for flag in structure.flags:
            console.print(f"Look at {structure.name}: {flag.detail}", markup=False, soft_wrap=True)
    if report.input.verdict:
        console.print(f"Look at the series: {report.input.verdict}", markup=False, soft_wrap=True)
    if unknown := sorted({check for structure in report.structures for check in structure.not_judged}):
        console.print(f"Not judged: {', '.join(_NOT_JUDGED[check] for check in unknown)}", soft_wrap=True)


def _summary(outcomes: Sequence[Outcome]) -> Table:
    """What became of many studies."""
    from rich.markup import escape
    from rich.table import Table

    table = Table("input", "outcome", "seconds", "why", title="Segmentation")
    for outcome in outcomes:
        seconds = _seconds(outcome.report) if outcome.report else ""
        flags = (
            [(each.name, flag.kind) for each in outcome.report.structures for flag in each.flags]
            if outcome.report
            else []
        )
        why = outcome.reason or "; ".join(f"look at {name}: {kind.replace('_', ' ')}" for name, kind in flags)
        table.add_row(escape(outcome.study.name), outcome.status, seconds, escape(why))
    return table


def _seconds(report: Report) -> str:
    return f"{sum(report.timings_s.values()):.1f}"
