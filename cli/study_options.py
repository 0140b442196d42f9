"""Options of `swinunet segment`: which studies, and which results."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from swinunet.client.results.formats import outputs_help
from swinunet.foundation.errors import InputError

if TYPE_CHECKING:
    from swinunet.client import OutputOptions, Study
    from swinunet.client.results.deidentify import Pseudonyms

_STDIN = Path("-")

# As swinunet.client.results.options has them: importing that would load Matplotlib for `swinunet --help`.
_SegType = Literal["binary", "labelmap"]
_Output = Literal["labels", "probabilities"]

Inputs = Annotated[
    list[Path] | None,
    typer.Argument(help="DICOM folders or NIfTI files; - reads paths from standard input", metavar="INPUT..."),
]
Results = Annotated[Path, typer.Option("--output", "-o", help="results go here, a folder per input")]
Tree = Annotated[Path | None, typer.Option(help="every DICOM series, in ZIPs too, and NIfTI file below this folder")]
StudyList = Annotated[Path | None, typer.Option("--list", help="a text file with a path a line")]
Model = Annotated[str | None, typer.Option(help="model name, where the server has several")]
Rois = Annotated[
    list[str] | None,
    typer.Option("--roi", help="[left=|right=]XMIN,XMAX,YMIN,YMAX,ZMIN,ZMAX: a box in patient mm (LPS); repeatable"),
]
SeriesUid = Annotated[str | None, typer.Option(help="SeriesInstanceUID, where a folder has several")]
Allow = Annotated[
    list[str] | None,
    typer.Option(metavar="VERDICT", help="overrule a verdict: tilted (sheared grid), gap (even steps); repeatable"),
]
Repository = Annotated[
    Path | None, typer.Option(help="model repository to start Triton on [default: model_repository/]")
]
Outputs = Annotated[str | None, typer.Option(help=outputs_help())]
SegTypeChoice = Annotated[_SegType, typer.Option(help="how the DICOM SEG stores its segments")]
Restore = Annotated[
    _Output, typer.Option(help="to the native grid by nearest label (fast), or by interpolated probability (smooth)")
]
Deidentify = Annotated[
    Path | None,
    typer.Option(help="de-identify results for research; names and UIDs follow from this key file, made if absent"),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace results that exist")]
Resume = Annotated[
    bool, typer.Option("--resume", help="skip inputs whose result is there, by the same model and options")
]


def output_options(outputs: str | None, seg_type: _SegType, restore: _Output, deidentify: Path | None) -> OutputOptions:
    """OutputOptions from the command line; makes the key if it is absent. Raises InputError."""
    from swinunet.client import OutputOptions
    from swinunet.client.results.deidentify import Pseudonyms
    from swinunet.client.results.formats import parse_outputs

    formats = None if outputs is None else parse_outputs(outputs)
    return OutputOptions(formats, seg_type, restore, Pseudonyms.from_file(deidentify) if deidentify else None)


def require_report(results: OutputOptions, output: Path, tree: Path | None, resume: bool) -> None:
    """Raise InputError where results are told by their JSON report and there would be none."""
    if results.formats is None or "json" in results.formats:
        return
    if resume:
        raise InputError("--resume goes by the JSON report of each result; add json to --outputs")
    if tree and "nifti" in results.formats and output.resolve().is_relative_to(tree.resolve()):
        raise InputError(
            f"{output}: lies in the tree, where the next run would take masks without a JSON report for images; add "
            "json to --outputs, or give an output folder elsewhere"
        )


def chosen_studies(inputs: Sequence[Path], tree: Path | None, list_: Path | None, series: str | None) -> list[Study]:
    """The studies that the command line names. Raises InputError if there are none, or it contradicts itself."""
    from swinunet.client.study_list import read_list, read_paths, studies_at, studies_below

    if tree and series:
        raise InputError("--tree takes every series and --series one of an input; give one of the two")
    paths: list[Path] = []
    for path in inputs:
        paths += read_paths(sys.stdin) if path == _STDIN else [path]
    if list_:
        paths += read_list(list_)
    studies = studies_at(paths, series) + (studies_below(tree) if tree else [])
    if not studies:
        raise InputError("nothing to segment: no input was given, and no list that names one")
    return studies


def result_names(studies: Sequence[Study], pseudonyms: Pseudonyms | None) -> list[str]:
    """What the studies' folders of results are to be called."""
    if pseudonyms is None:
        return [study.name for study in studies]
    return [pseudonyms.case(study.path, study.series_uid) for study in studies]
