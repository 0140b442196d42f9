"""`swinunet convert`: a DICOM series as a NIfTI file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("convert")(convert)


def convert(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="Folder with DICOM files, searched to its depth; or a DICOMDIR, ZIP or file."
        ),
    ],
    output: Annotated[Path, typer.Argument(metavar="OUT.nii.gz", help="File to write (.nii or .nii.gz).")],
    series: Annotated[
        str | None,
        typer.Option(
            metavar="UID", help="SeriesInstanceUID where there are several; UID#NUMBER for one of its volumes."
        ),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VERDICT", help="Overrule a verdict: tilted (sheared grid) or gap (even steps); repeatable."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that exists.")] = False,
) -> None:
    """Write one DICOM series as NIfTI: real values, on the scanner's own grid. The file appears whole or not at all.

    Example: `swinunet convert STUDY brain.nii.gz`
    """
    from swinunet.cli.verbs.inspect import scan_progress
    from swinunet.client.dicom import read_volume, scan_folder, select_series
    from swinunet.imaging import write_nifti

    _check_output(output, overwrite)
    with scan_progress() as tick:
        scan = scan_folder(folder, tick)
    chosen = select_series(scan, uid=series, allow=allow or ())
    volume = read_volume(chosen, allow or ()).volume
    write_nifti(volume, output)
    size = " x ".join(map(str, volume.shape))
    spacing = " x ".join(f"{mm:.3g}" for mm in volume.spacing_mm)
    typer.echo(f"{output}: {size} voxels of {spacing} mm, {volume.voxels.dtype}")
    if not chosen.verdict.usable:
        typer.echo(f"{chosen.verdict.kind}: {chosen.verdict.sentence}")


def _check_output(output: Path, overwrite: bool) -> None:
    from swinunet.foundation.errors import OutputError

    if not output.name.endswith((".nii", ".nii.gz")):
        raise OutputError(f"{output}: expected a name that ends in .nii or .nii.gz; choose such a name")
    if output.is_dir():
        raise OutputError(f"{output}: this is a folder; give a file name")
    if output.exists() and not overwrite:
        raise OutputError(f"{output}: the file exists; add --overwrite to replace it, or choose another name")
    if not output.parent.is_dir():
        raise OutputError(f"{output}: there is no folder {output.parent}; create it first")
