"""`swinunet segment`: DICOM folders or NIfTI files in, a folder of results for each."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swinunet.cli.options import OptionGroup, with_options
from swinunet.cli.result_options import ResultOptions, result_names
from swinunet.cli.server_options import ConnectionOptions, ModelOptions
from swinunet.cli.signals import interrupted_by_sigterm
from swinunet.cli.study_options import StudyOptions
from swinunet.foundation.errors import InputError

if TYPE_CHECKING:
    from rich.progress import TaskID

    from swinunet.client import Outcome, ServerOptions, Study
    from swinunet.client.model_choice import Assigned


_COMMON = (
    "--output",
    "--roi",
    "--tree",
    "--model",
    "--url",
    "--outputs",
    "--allow",
    "--deidentify",
    "--overwrite",
    "--resume",
)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("segment", no_args_is_help=True)(with_options(segment, common=_COMMON))


def segment(
    results: ResultOptions,
    study: StudyOptions,
    chosen: ModelOptions,
    server: Annotated[ConnectionOptions, OptionGroup("The server, with --url")],
) -> None:
    """Segment DICOM folders or NIfTI files.

    Writes DICOM SEG and SR, NIfTI, a JSON report, an overlay PNG and a page to look at.

    Example: `swinunet segment study/ case.nii.gz -o results`

    With a Triton elsewhere: `swinunet segment study/ -o results --url triton.hospital:8001`

    With several models served, each study is for the one whose rules it meets (`swinunet inspect` says which).

    Only in a box: `swinunet segment study/ -o results --roi left=7,43,-2,47,-31,8`

    Many studies, continuing where an earlier run stopped: `swinunet segment --tree archive/ -o results --resume`
    """
    from swinunet.cli.segment_summary import finish
    from swinunet.client import folders_called, parse_roi, segment_studies
    from swinunet.client.roi_table import studies_with_boxes
    from swinunet.client.run_summary import write_summary
    from swinunet.client.segment_assigned import segment_assigned

    if results.overwrite and results.resume:
        raise InputError("--overwrite replaces results that exist and --resume keeps them; give one of the two")
    options = server.server_options()
    rois = tuple(parse_roi(text) for text in study.roi or [])
    formats = results.chosen_formats(study.tree)
    if server.url is None:
        chosen.require_elsewhere(results.output)
    warnings.simplefilter("ignore")  # in every thread: pydicom's quote values, which may be the patient's
    studies = study.studies()
    outputs = results.output_options(formats)
    names = result_names(studies, outputs.pseudonyms)
    if study.rois:
        studies = studies_with_boxes(studies, names, study.rois)
    folders = folders_called(names, results.output, results.overwrite or results.resume)
    if not server.url and not rois and len(studies) == 1 and studies[0].rois is None:
        studies = [_refuse_too_large(studies[0], chosen, study)]
    job = functools.partial(
        segment_studies, rois=rois, options=outputs, allow=study.allow or (),
        assume_ras=study.assume_ras, overwrite=results.overwrite, resume=results.resume,
    )  # fmt: skip
    with interrupted_by_sigterm(), _server(server.url, chosen.repository, options) as (address, options):
        assigned = _assigned(studies, chosen.model, address, options, study.allow or ())
        studies = [each.study for each in assigned]
        outcomes, interrupted = _run(
            studies, functools.partial(segment_assigned, assigned, folders, address, options, job)
        )
    try:
        if len(studies) > 1:
            write_summary(results.output, outcomes, deidentified=outputs.pseudonyms is not None)
    finally:
        finish(outcomes, len(studies), interrupted)


def _refuse_too_large(study: Study, chosen: ModelOptions, options: StudyOptions) -> Study:
    """The study, unless the model cannot take it as a whole: refused before a server is started for it."""
    from swinunet.client.early_refusal import refuse_too_large
    from swinunet.client.model_choice import answering, choose_model
    from swinunet.foundation.errors import SwinUNetError
    from swinunet.foundation.paths import default_repository
    from swinunet.imaging.repository_specs import specs_in_repository

    try:
        specs = specs_in_repository(chosen.repository or default_repository(), chosen.model)
    except SwinUNetError:  # whoever starts the server says what is wrong with the repository
        return study
    if not answering(specs):
        return study
    spec, study = choose_model(study, specs, options.allow or ())
    return study if spec.boxes else refuse_too_large(study, spec, options.allow or (), assume_ras=options.assume_ras)


def _assigned(
    studies: Sequence[Study], model: str | None, url: str, options: ServerOptions, allow: Sequence[str]
) -> Sequence[Assigned]:
    """Each study with the model that it is for: the one asked for, or by the rules of those that are served."""
    from swinunet.client.model_choice import Assigned, assign_models
    from swinunet.client.triton.served_models import specs_on_server

    if model is not None:
        return [Assigned(study, model) for study in studies]
    return assign_models(studies, specs_on_server(url, options), allow)


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

    segment: `segment_assigned`, but for its `progress`.
    """
    from swinunet.foundation.progress import work_progress
    from swinunet.foundation.terminal import printable

    outcomes: list[Outcome] = []
    interrupted = False
    with work_progress(lines=False) as bars:
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
                        line = printable(f"swinunet: {outcome.study.path}: {outcome.reason}")
                        bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
        except KeyboardInterrupt:
            interrupted = True
    position = {study: number for number, study in enumerate(studies)}
    return sorted(outcomes, key=lambda outcome: position[outcome.study]), interrupted
