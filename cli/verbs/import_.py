"""`swinunet import`: published weights in, a checkpoint out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from swinunet.training.network.pretrained import Imported

_HELP = """Turn published Swin-Unet or ImageNet Swin Transformer weights into a checkpoint.

Understood are the original key names: of HuCaoFighting/Swin-Unet, whose network the result then computes, and of
microsoft/Swin-Transformer, whose blocks go into the encoder and, mirrored, into the decoder. Sizes follow from the
file. Nothing in it is executed.

Example: `swinunet import swin_tiny_patch4_window7_224.pth -o swin-t.safetensors --in-channels 1 --classes 9`
"""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("import", help=_HELP, no_args_is_help=True)(_import)


def _import(
    weights: Annotated[Path, typer.Argument(help="published weights (.pth)")],
    output: Annotated[Path, typer.Option("--output", "-o", help="checkpoint to write (.safetensors); must not exist")],
    in_channels: Annotated[int | None, typer.Option(min=1, help="input channels; by default the file's")] = None,
    classes: Annotated[
        int | None, typer.Option(min=1, help="classes with the background; by default those of a Swin-Unet file")
    ] = None,
    depths: Annotated[
        str | None, typer.Option(help="blocks to keep of each Swin Transformer stage, as 2,2,2,2; by default all")
    ] = None,
) -> None:
    from rich.console import Console

    from swinunet.foundation.errors import InputError, OutputError
    from swinunet.training.network.checkpoint import save_checkpoint
    from swinunet.training.network.pretrained import import_weights

    if output.exists():
        raise OutputError(f"{output}: exists already and is not overwritten; choose another name")
    try:
        kept = tuple(int(part) for part in depths.split(",")) if depths else None
    except ValueError:
        raise InputError(f"--depths {depths}: expected numbers with commas between them, as 2,2,2,2") from None
    imported = import_weights(weights, in_channels=in_channels, num_classes=classes, depths=kept)
    save_checkpoint(output, imported.model, None)
    console = Console()
    console.print(_table(imported))
    console.print(
        "\n".join([*_notes(imported), f"checkpoint: {output}"]), markup=False, highlight=False, soft_wrap=True
    )


def _table(imported: Imported) -> Table:
    """One line per part of the network: how many of its tensors were loaded, adapted and left fresh."""
    from rich.table import Table

    table = Table("part", title=f"{imported.kind} weights, in tensors")
    for heading in ("loaded", "adapted", "left fresh"):
        table.add_column(heading, justify="right")
    accounts = (imported.loaded, list(imported.adapted), imported.fresh)
    parts = dict.fromkeys(_part(name) for name in imported.model.state_dict())
    for part in parts:
        counts = [sum(_part(name) == part for name in account) for account in accounts]
        table.add_row(part, *(str(count) if count else "" for count in counts))
    table.add_section()
    table.add_row("all", *(str(len(account)) for account in accounts))
    return table


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
