"""`swinunet import`: published weights in, a checkpoint out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swinunet.cli.options import with_options

if TYPE_CHECKING:
    from swinunet.foundation.tables import Table
    from swinunet.training.network.pretrained import Imported


@dataclass(frozen=True)
class ImportOptions:
    """The published file, and the network it becomes."""

    weights: Annotated[Path, typer.Argument()]
    """Published weights (.pth)."""
    output: Annotated[Path, typer.Option("--output", "-o")]
    """Checkpoint to write (.safetensors); it must not exist."""
    in_channels: Annotated[int | None, typer.Option(min=1, show_default="the file's")] = None
    """Input channels."""
    classes: Annotated[int | None, typer.Option(min=1, show_default="those of a Swin-Unet file")] = None
    """Classes, the background included."""
    depths: Annotated[str | None, typer.Option(show_default="all")] = None
    """Blocks to keep of each Swin Transformer stage, as 2,2,2,2."""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("import", no_args_is_help=True)(with_options(import_weights))


def import_weights(options: ImportOptions) -> None:
    """Turn published Swin-Unet or ImageNet Swin Transformer weights into a checkpoint.

    The original key names are understood: those of HuCaoFighting/Swin-Unet, whose network the result then computes,
    and of microsoft/Swin-Transformer, whose blocks go into the encoder and, mirrored, into the decoder. Sizes follow
    from the file. Nothing in it is executed.

    Example: `swinunet import swin_tiny_patch4_window7_224.pth -o swin-t.safetensors --in-channels 1 --classes 9`
    """
    from swinunet.foundation.errors import InputError, OutputError
    from swinunet.foundation.terminal import print_line, show_table
    from swinunet.training.network import pretrained
    from swinunet.training.network.checkpoint import save_checkpoint

    if options.output.exists():
        raise OutputError(f"{options.output}: exists already and is not overwritten; choose another name")
    try:
        kept = tuple(int(part) for part in options.depths.split(",")) if options.depths else None
    except ValueError:
        raise InputError(f"--depths {options.depths}: expected numbers with commas between them, as 2,2,2,2") from None
    imported = pretrained.import_weights(
        options.weights, in_channels=options.in_channels, num_classes=options.classes, depths=kept
    )
    save_checkpoint(options.output, imported.model, None)
    show_table(_table(imported))
    for line in (*_notes(imported), f"checkpoint: {options.output}"):
        print_line(line)


def _table(imported: Imported) -> Table:
    """One line per part of the network: how many of its tensors were loaded, adapted and left fresh."""
    from swinunet.foundation.tables import Table

    accounts = (imported.loaded, list(imported.adapted), imported.fresh)
    rows = []
    for part in dict.fromkeys(_part(name) for name in imported.model.state_dict()):
        counts = [sum(_part(name) == part for name in account) for account in accounts]
        rows.append((part, *(str(count) if count else "" for count in counts)))
    rows.append(("all", *(str(len(account)) for account in accounts)))
    return Table(f"{imported.kind} weights, in tensors", ("part", "loaded", "adapted", "left fresh"), rows)


def _part(name: str) -> str:
    """encoder.0.blocks.1.norm1.weight -> encoder.0.blocks; head.weight -> head."""
    pieces = name.split(".")
    return ".".join(pieces[:3] if pieces[0] in ("encoder", "decoder") else pieces[:1])


def _notes(imported: Imported) -> list[str]:
    config = imported.model.config
    height, width = config.input_size
    notes = [
        f"network: {height} x {width}, {config.in_channels} input channels, {config.num_classes} classes, "
        f"depths {config.depths}, heads {config.num_heads}, windows of {config.window_size}"
    ]
    notes += [f"adapted: {name}, {how}" for name, how in imported.adapted.items()]
    if imported.unused:
        rest = len(imported.unused) - 3
        names = ", ".join(imported.unused[:3]) + (f" and {rest} more" if rest > 0 else "")
        notes.append(f"not used from the file: {names}")
    return notes
