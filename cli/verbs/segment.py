"""`swinunet segment`: DICOM folders or NIfTI files in, a folder of results for each."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from swinunet.cli import server_options as server
from swinunet.cli import study_options as of
from swinunet.foundation.errors import InputError
from swinunet.foundation.signals import sigterm_interrupts

if TYPE_CHECKING:
    from rich.progress import TaskID

    from swinunet.client import Outcome, ServerOptions, Study


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("segment", no_args_is_help=True)(_segment)


def _segment(
    output: of.Results,
    inputs: of.Inputs = None,
    tree: of.Tree = None,
    list_: of.StudyList = None,
    model: of.Model = None,
    roi: of.Rois = None,
    series: of.SeriesUid = None,
    allow: of.Allow = None,
    repository: of.Repository = None,
    outputs: of.Outputs = None,
    seg_type: of.SegTypeChoice = "binary",
    restore: of.Restore = "labels",
    deidentify: of.Deidentify = None,
    overwrite: of.Overwrite = False,
    resume: of.Resume = False,
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
    from swinunet.cli.segment_summary import finish
    from swinunet.client import TritonModel, folders_called, parse_roi, segment_studies

    if overwrite and resume:
        raise InputError("--overwrite replaces results that exist and --resume keeps them; give one of the two")
    tls_files = (tls_ca, tls_cert, tls_key)
    options = server.server_options(url, timeout, header, tls, tls_files, shared_memory, budget, max_message)
    rois = tuple(parse_roi(text) for text in roi or [])
    results = of.output_options(outputs, seg_type, restore, deidentify)
    of.require_report(results, output, tree, resume)
    warnings.simplefilter("ignore")  # in every thread: pydicom's quote values, which may be the patient's
    studies = of.chosen_studies(inputs or [], tree, list_, series)
    folders = folders_called(of.result_names(studies, results.pseudonyms), output, overwrite or resume)
    segment = functools.partial(
        segment_studies, studies, folders, rois=rois, options=results, allow=allow or (), overwrite=overwrite,
        resume=resume,
    )  # fmt: skip
    with (
        sigterm_interrupts(),
        _server(url, repository, options) as (address, options),
        TritonModel(address, model, options) as served,
    ):
        outcomes, interrupted = _run(studies, functools.partial(segment, model=served))
    finish(outcomes, len(studies), interrupted)


@contextmanager
def _server(url: str | None, repository: Path | None, options: ServerOptions) -> Iterator[tuple[str, ServerOptions]]:
    """Address of the server to ask: the given one, or one of our own for as long as the job lasts."""
    if url is not None:
        yield url, options
        return
    from swinunet.foundation.paths import default_repository
    from swinunet.serving import TritonServer

    with TritonServer(repository or default_repository(), private=True) as ours, ours.started_again_if_it_dies():
        yield ours.url, dataclasses.replace(options, headers=ours.restricted_headers, why_gone=ours.why_gone)


def _run(
    studies: Sequence[Study], segment: Callable[..., Generator[Outcome, None, None]]
) -> tuple[list[Outcome], bool]:
    """What became of the studies that ended, and whether the user stopped before all had.

    segment: `segment_studies`, but for its `progress`.
    """
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    outcomes: list[Outcome] = []
    interrupted = False
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
            interrupted = True
    place = {study: number for number, study in enumerate(studies)}
    return sorted(outcomes, key=lambda outcome: place[outcome.study]), interrupted
