"""`swinunet convert`: a DICOM series as a NIfTI file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swinunet.cli.options import with_options
from swinunet.cli.study_options import Allowance

if TYPE_CHECKING:
    from swinunet.client.dicom import Series


_SHOWN_FROM = 2000  # frames; fewer are read in seconds


@dataclass(frozen=True)
class ConvertOptions:
    """Which series, and the file it becomes."""

    folder: Annotated[Path, typer.Argument(metavar="DIR")]
    """Folder with DICOM files, searched recursively; or a DICOMDIR, ZIP or single file."""
    output: Annotated[Path, typer.Argument(metavar="OUT.nii.gz")]
    """File to write (.nii or .nii.gz)."""
    series: Annotated[str | None, typer.Option(metavar="UID")] = None
    """SeriesInstanceUID, if there are several; UID#NUMBER for one of its volumes."""
    allow: Annotated[list[Allowance] | None, typer.Option(metavar="VERDICT")] = None
    """Accept a series in spite of its verdict: tilted (sheared grid), gap (even steps) or variable_spacing."""
    overwrite: Annotated[bool, typer.Option("--overwrite")] = False
    """Replace a file that exists."""


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("convert")(with_options(convert))


def convert(options: ConvertOptions) -> None:
    """Write one DICOM series as NIfTI, on the scanner's own grid.

    The values are real ones. The file appears whole or not at all.

    A series in time, such as a cine of the heart, becomes a file of four axes; `--series UID#7` takes its 7th phase.

    Example: `swinunet convert STUDY brain.nii.gz`
    """
    from swinunet.cli.dicom_progress import scan_progress
    from swinunet.client.dicom import read_volume, scan_folder, select_volumes
    from swinunet.foundation.terminal import print_line
    from swinunet.imaging import write_nifti

    _check_output(options.output, options.overwrite)
    with scan_progress() as tick:
        scan = scan_folder(options.folder, tick)
    chosen, *others = select_volumes(scan, uid=options.series, allow=options.allow or ())
    if others:
        _convert_phases((chosen, *others), options)
        return
    volume = read_volume(chosen, options.allow or ()).volume
    write_nifti(volume, options.output)
    size = " x ".join(map(str, volume.shape))
    spacing = " x ".join(f"{mm:.3g}" for mm in volume.spacing_mm)
    print_line(f"{options.output}: {size} voxels of {spacing} mm, {volume.voxels.dtype}")
    if not chosen.verdict.usable:
        print_line(f"{chosen.verdict.kind}: {chosen.verdict.sentence}")


def _convert_phases(phases: tuple[Series, ...], options: ConvertOptions) -> None:
    from swinunet.client.dicom import read_phases, voxel_dtype
    from swinunet.client.dicom.phases import step_ms
    from swinunet.foundation.progress import work_progress
    from swinunet.foundation.terminal import print_line
    from swinunet.imaging import PhaseStack
    from swinunet.imaging.nifti import write_nifti_phases

    assert phases[0].shape
    frames = [frame for series in phases for frame in series.frames]
    dtype = voxel_dtype(frames)
    stack = PhaseStack(len(phases), phases[0].shape, dtype)
    with work_progress(shown=len(frames) > _SHOWN_FROM) as progress:
        task = progress.add_task("reading phases", total=len(phases))
        for number, found in enumerate(read_phases(phases, options.allow or ())):
            stack.phase(number)[:] = found.volume.voxels
            progress.advance(task)
    step = step_ms([series.phase for series in phases if series.phase])
    write_nifti_phases(stack, found.volume, step, options.output)
    size = " x ".join(map(str, found.volume.shape))
    spacing = " x ".join(f"{mm:.3g}" for mm in found.volume.spacing_mm)
    apart = f"{step:.3g} ms apart" if step else "in their order, times unknown"
    print_line(f"{options.output}: {len(phases)} phases, {apart}, of {size} voxels of {spacing} mm, {dtype}")


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
