"""`swinunet export`: a checkpoint becomes a served model version, after proof."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from export.parity import BatchParity


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("export", no_args_is_help=True)(_export)


def _export(
    checkpoint: Annotated[Path, typer.Argument(help="checkpoint (.safetensors); with --check, a version folder")],
    repository: Annotated[
        Path | None, typer.Option(help="Triton model repository [default: model_repository/]")
    ] = None,
    version: Annotated[int | None, typer.Option(min=1, help="model version [default: the spec's]")] = None,
    data: Annotated[
        Path | None, typer.Option(help="NIfTI images to prove parity on [default: the MNI152 brain]")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="only repeat the proof")] = False,
) -> None:
    """Export a checkpoint to ONNX, prove that it computes the same, and put it where Triton serves it.

    Example: `swinunet export runs/hippocampus/checkpoint.safetensors`

    Repeat the proof: `swinunet export model_repository/swin_unet_hippocampus/1 --check`
    """
    from export.pipeline import check_version, export_checkpoint
    from swinunet.paths import default_repository

    if check:
        _show(check_version(checkpoint, data))
        return
    done = export_checkpoint(checkpoint, repository or default_repository(), version, data)
    _show(done.parity)
    print(f"{done.spec.name} version {done.spec.version}: {done.folder}")


def _show(parity: list[BatchParity]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("batch", "largest logit error", "labels that differ", "of them no ties", title="ONNX against PyTorch")
    for row in parity:
        beyond, differing = str(row.differing_beyond_ties), str(row.differing_labels)
        table.add_row(str(row.batch), f"{row.max_logit_error:.1e}", differing, beyond)
    Console().print(table)
