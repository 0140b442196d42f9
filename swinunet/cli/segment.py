"""`swinunet segment`: DICOM folders or NIfTI files in, a folder of results for each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from client import JobResult

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
    inputs: Annotated[list[Path], typer.Argument(help="DICOM folders or NIfTI files", metavar="INPUT...")],
    output: Annotated[Path, typer.Option("--output", "-o", help="results go here, a folder per input")],
    url: Annotated[str | None, typer.Option(help="HOST:PORT of Triton's gRPC [default: start one here]")] = None,
    model: Annotated[str | None, typer.Option(help="model name, where the server has several")] = None,
    roi: Annotated[
        list[str] | None,
        typer.Option(help="[left=|right=]XMIN,XMAX,YMIN,YMAX,ZMIN,ZMAX: a box in patient mm (LPS); repeatable"),
    ] = None,
    series: Annotated[str | None, typer.Option(help="SeriesInstanceUID, where a folder has several")] = None,
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
) -> None:
    """Segment DICOM folders or NIfTI files through Triton: DICOM SEG and SR, NIfTI, JSON report and overlay PNG.

    Example: `swinunet segment study/ case.nii.gz -o results --url triton.hospital:8001`

    A box: `swinunet segment study/ -o results --roi left=7,43,-2,47,-31,8`
    """
    from client import TritonModel, load_input, output_folders, parse_roi, run_job
    from client.job import input_name
    from client.results.deidentify import Pseudonyms
    from client.results.outputs import OutputOptions, parse_outputs
    from client.segmentation import count_slices
    from swinunet.errors import SwinUNetError

    rois = tuple(parse_roi(text) for text in roi or [])
    pseudonyms = Pseudonyms.from_file(deidentify) if deidentify else None
    options = OutputOptions(None if outputs is None else parse_outputs(outputs), seg_type, restore, pseudonyms)
    folders = output_folders(inputs, output, overwrite, pseudonyms.case if pseudonyms else input_name)
    results: list[JobResult] = []
    failures: list[tuple[Path, SwinUNetError]] = []
    with _server(url, repository) as address, TritonModel(address, model) as served:
        for path, folder in zip(inputs, folders, strict=True):
            try:
                loaded = load_input(path, served.spec, series)
                with _bar(path.name, count_slices(loaded.volume, served, rois)) as tick:
                    results.append(run_job(loaded, folder, served, rois, tick, options, overwrite))
                results[-1].require_all_outputs()
            except SwinUNetError as error:
                failures.append((path, error))
                if len(inputs) > 1:
                    print(f"swinunet: {path}: {error}", file=sys.stderr)
    if results:
        _show(results)
    if len(inputs) == 1 and failures:
        raise failures[0][1]
    if failures:
        raise SwinUNetError(f"{len(failures)} of {len(inputs)} inputs were not wholly segmented; the reasons are above")


@contextmanager
def _server(url: str | None, repository: Path | None) -> Iterator[str]:
    """Address of the server to ask: the given one, or one of our own for as long as the job lasts."""
    if url is not None:
        yield url
        return
    from serving import TritonServer
    from swinunet.paths import default_repository

    with TritonServer(repository or default_repository()) as server:
        yield server.url


@contextmanager
def _bar(name: str, slices: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=slices)
        yield lambda done: progress.advance(task, done)


def _show(results: list[JobResult]) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    found = [(result.report.input.name, structure) for result in results for structure in result.report.structures]
    flagged = any(structure.flags for _, structure in found)
    table = Table(
        Column("input", overflow="fold"), "structure", "volume (ml)", "voxels", "seconds", title="Segmentation"
    )
    if flagged:
        table.add_column("look at")
    for result in results:
        seconds = f"{sum(result.report.timings_s.values()):.1f}"
        for row, structure in enumerate(result.report.structures):
            cells = [result.report.input.name if row == 0 else "", structure.name, f"{structure.volume_ml:.2f}"]
            cells += [str(structure.voxels), seconds if row == 0 else ""]
            raised = ", ".join(flag.kind.replace("_", " ") for flag in structure.flags)
            table.add_row(*cells, *([raised] if flagged else []))
    console = Console()
    console.print(table)
    for name, structure in found:
        for flag in structure.flags:
            console.print(f"Look at {name}, {structure.name}: {flag.detail}", soft_wrap=True)
    for result in results:
        console.print(f"{result.folder}: {', '.join(sorted(result.report.outputs.values()))}", soft_wrap=True)
    if unknown := sorted({check for _, structure in found for check in structure.not_judged}):
        console.print(f"Not judged: {', '.join(_NOT_JUDGED[check] for check in unknown)}", soft_wrap=True)
