"""`swinunet inspect`: the series in a folder, and the verdict on each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from client.dicom import Scan, Series

_PIPE_WIDTH = 240  # columns of the table where the output is no terminal: a UID is never folded


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("inspect")(inspect)


def inspect(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with DICOM files, searched to its depth.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show the DICOM series in a folder: what each is, and whether it is a volume, with the reason if it is not.

    Exit status 1 if the folder is empty or holds no DICOM image.

    Example: `swinunet inspect STUDY --json`
    """
    from client.dicom import require_images, scan_folder

    scan = scan_folder(folder)
    require_images(scan)
    if as_json:
        typer.echo(json.dumps(_report(scan), indent=2))
        return
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=_PIPE_WIDTH)
    console.print(_table(scan))
    console.print(
        f"{len(scan.series)} series; ignored: {scan.not_images} DICOM objects that are no images, "
        f"{scan.not_dicom} files that are no DICOM"
    )
    for file in scan.unreadable:
        console.print(f"unreadable, of no known series: {file.path.name}: {file.fault}", markup=False)


def _table(scan: Scan) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("series", "modality", "description", "frames", "size", "spacing (mm)", "verdict")
    for column in (3, 4, 5):
        table.columns[column].justify = "right"
    for series in scan.series:
        verdict = Text(series.verdict.kind, style="green" if series.verdict.usable else "bold red")
        verdict.append(f": {series.verdict.sentence}", style="default")
        table.add_row(
            Text(series.uid, overflow="fold"),
            Text(series.modality),
            Text(series.description),
            str(len(series.frames)),
            " x ".join(map(str, series.shape or ())) or "-",
            " x ".join(f"{mm:.3g}" for mm in series.spacing_mm or ()) or "-",
            verdict,
        )
    return table


def _report(scan: Scan) -> dict[str, Any]:
    return {
        "series": [_series_report(series) for series in scan.series],
        "not_dicom": scan.not_dicom,
        "not_images": scan.not_images,
        "unreadable": [{"file": file.path.name, "reason": file.fault} for file in scan.unreadable],
    }


def _series_report(series: Series) -> dict[str, Any]:
    return {
        "series_instance_uid": series.uid,
        "modality": series.modality,
        "body_part": series.body_part,
        "description": series.description,
        "files": len(series.files),
        "frames": len(series.frames),
        "size": series.shape,
        "spacing_mm": series.spacing_mm,
        "verdict": series.verdict.kind,
        "sentence": series.verdict.sentence,
        "usable": series.verdict.usable,
    }
