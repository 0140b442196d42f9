"""`swinunet inspect`: the series in a folder, the verdict on each, and which would be taken."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from client.dicom import Choice, Scan, Series
    from imaging import ModelSpec

_PIPE_WIDTH = 320  # columns of the table where the output is no terminal: a UID is never folded


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("inspect")(inspect)


def inspect(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="Folder with DICOM files, searched to its depth; or a DICOMDIR, ZIP or file."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    series: Annotated[
        str | None, typer.Option(metavar="UID", help="The series that is meant; UID#NUMBER for one of its volumes.")
    ] = None,
    spec: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A model's spec (JSON): show what such a model would take.")
    ] = None,
    allow: Annotated[
        list[str] | None, typer.Option(metavar="VERDICT", help="Overrule a verdict: tilted or gap; repeatable.")
    ] = None,
) -> None:
    """Show the DICOM volumes in a folder: what each is, whether it would be taken, and why, or why not.

    Exit status 1 if the folder is empty or holds no DICOM image.

    Example: `swinunet inspect STUDY --json`
    """
    from client.dicom import choose, require_images, scan_folder

    with scan_progress() as tick:
        scan = scan_folder(folder, tick)
    require_images(scan)
    choice = choose(scan, series, spec=_read_spec(spec), allow=allow or ())
    if as_json:
        typer.echo(json.dumps(_report(scan, choice), indent=2))
        return
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=_PIPE_WIDTH)
    console.print(_table(scan, choice))
    console.print(
        f"{len({one.uid for one in scan.series})} series with {len(scan.series)} volumes; "
        f"ignored: {scan.not_images} DICOM objects that are no images, {scan.not_dicom} files that are no DICOM"
    )
    for name, count in sorted(scan.objects.items()):
        console.print(f"no images: {count} x {name}", markup=False)
    for file in scan.unreadable:
        console.print(f"unreadable, of no known series: {file.name}: {file.fault}", markup=False)


@contextmanager
def scan_progress() -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error, for `scan_folder`; it is gone when the block ends."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not Console(stderr=True).is_terminal) as bar:
        task = bar.add_task("reading headers", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _read_spec(path: Path | None) -> ModelSpec | None:
    from imaging import ModelSpec
    from swinunet.errors import InputError

    if path is None:
        return None
    try:
        return ModelSpec.from_json(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({type(error).__name__}); give the JSON file of a spec") from None


def _table(scan: Scan, choice: Choice) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("series", "modality", "description", "volume", "frames", "size", "spacing (mm)", "verdict", "taken?")
    for column in (4, 5, 6):
        table.columns[column].justify = "right"
    for series, reason in zip(scan.series, choice.reasons, strict=True):
        verdict = Text(series.verdict.kind, style="green" if series.verdict.usable else "bold red")
        verdict.append(f": {series.verdict.sentence}", style="default")
        table.add_row(
            Text(series.selector, overflow="fold"),
            Text(series.modality),
            Text(series.description),
            Text(series.name or "-"),
            str(len(series.frames)),
            " x ".join(map(str, series.shape or ())) or "-",
            " x ".join(f"{mm:.3g}" for mm in series.spacing_mm or ()) or "-",
            verdict,
            Text(reason, style="green" if series is choice.taken else ""),
        )
    return table


def _report(scan: Scan, choice: Choice) -> dict[str, Any]:
    return {
        "series": [
            _series_report(series) | {"taken": series is choice.taken, "reason": reason}
            for series, reason in zip(scan.series, choice.reasons, strict=True)
        ],
        "not_dicom": scan.not_dicom,
        "not_images": scan.not_images,
        "objects": scan.objects,
        "unreadable": [{"file": file.name, "reason": file.fault} for file in scan.unreadable],
    }


def _series_report(series: Series) -> dict[str, Any]:
    return {
        "series_instance_uid": series.uid,
        "selector": series.selector,
        "volume": series.number,
        "volumes": series.total,
        "name": series.name,
        "modality": series.modality,
        "body_part": series.body_part,
        "description": series.description,
        "files": len(series.files),
        "copies": series.copies,
        "frames": len(series.frames),
        "size": series.shape,
        "spacing_mm": series.spacing_mm,
        "verdict": series.verdict.kind,
        "sentence": series.verdict.sentence,
        "usable": series.verdict.usable,
        "allowances": sorted(series.verdict.needs),
    }
