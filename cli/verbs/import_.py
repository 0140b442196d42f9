"""`swinunet import`: published weights in, a checkpoint out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swinunet.cli.options import OptionGroup, with_options
from swinunet.cli.spec_options import SpecOptions

if TYPE_CHECKING:
    from swinunet.foundation.tables import Table
    from swinunet.imaging import ModelSpec
    from swinunet.training.network.pretrained import Imported

_PANEL = "What the weights are a model of"


@dataclass(frozen=True)
class ImportOptions:
    """The published file, and the network it becomes."""

    weights: Annotated[Path, typer.Argument()]
    """Published weights (.pth)."""
    output: Annotated[Path, typer.Option("--output", "-o")]
    """Checkpoint to write (.safetensors); it must not exist."""
    in_channels: Annotated[int | None, typer.Option(min=1, show_default="the model's, else the file's")] = None
    """Input channels."""
    classes: Annotated[int | None, typer.Option(min=1, show_default="the model's, else a Swin-Unet file's")] = None
    """Classes, the background included."""
    depths: Annotated[str | None, typer.Option(show_default="all")] = None
    """Blocks to keep of each Swin Transformer stage, as 2,2,2,2."""


@dataclass(frozen=True)
class ModelOptions:
    """What the weights are a model of, where no spec says it."""

    like: Path | None = None
    """Checkpoint, or folder of a model or of its version in a repository, whose spec is taken."""
    labels: str | None = None
    """Names of the classes without the background, in their order: NAME,NAME,..."""


_COMMON = (
    "--output",
    "--labels",
    "--spec",
    "--like",
    "--in-channels",
    "--classes",
    "--window",
)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("import", no_args_is_help=True)(with_options(import_weights, common=_COMMON))


def import_weights(
    options: ImportOptions,
    model: Annotated[ModelOptions, OptionGroup(_PANEL)],
    chosen: Annotated[SpecOptions, OptionGroup(_PANEL)],
) -> None:
    """Turn published weights into a checkpoint.

    Of Swin-Unet, or of the Swin Transformer for ImageNet. The original key names are understood: those of
    HuCaoFighting/Swin-Unet, whose network the result then computes, and of microsoft/Swin-Transformer, whose blocks go
    into the encoder and, mirrored, into the decoder. Sizes follow from the file. Nothing in it is executed.

    With --spec, --like or --labels the result is a model that can be exported, evaluated and served; its input size is
    that of the weights.

    Published Synapse weights: `swinunet import synapse.pth -o organs.safetensors --labels
    aorta,gallbladder,left_kidney,right_kidney,liver,pancreas,spleen,stomach --modality CT --body-part ABDOMEN
    --window -125,275 --scaled-to 0,1`

    Example: `swinunet import swin_tiny_patch4_window7_224.pth -o swin-t.safetensors --in-channels 1 --classes 9`
    """
    from swinunet.foundation.errors import InputError, OutputError
    from swinunet.foundation.terminal import print_line, show_table

    chosen.overrides()  # refuses what cannot be read before PyTorch is imported
    from swinunet.training.network import pretrained
    from swinunet.training.network.checkpoint import save_checkpoint

    if options.output.exists():
        raise OutputError(f"{options.output}: exists already and is not overwritten; choose another name")
    try:
        kept = tuple(int(part) for part in options.depths.split(",")) if options.depths else None
    except ValueError:
        raise InputError(f"--depths {options.depths}: expected numbers with commas between them, as 2,2,2,2") from None
    spec = _spec(model, chosen)
    channels, classes = options.in_channels, options.classes
    if spec:
        channels = channels or spec.in_channels
        classes = classes or (None if pretrained.segments(options.weights) else spec.num_classes)
    imported = pretrained.import_weights(
        options.weights,
        in_channels=channels,
        num_classes=classes,
        depths=kept,
    )
    if spec:
        spec = _fitting(spec, imported, options.weights)
    save_checkpoint(options.output, imported.model, spec)
    show_table(_table(imported))
    for line in (*_notes(imported), f"checkpoint: {options.output}, {_use(spec, imported, options.output)}"):
        print_line(line)


def _spec(options: ModelOptions, chosen: SpecOptions) -> ModelSpec | None:
    """The spec that the options give; None where they give none. Raises InputError, SpecError."""
    import dataclasses

    from swinunet.foundation.errors import InputError
    from swinunet.imaging import Provenance
    from swinunet.training.data.derive_spec import plain_spec
    from swinunet.training.data.spec_overrides import SpecOverrides
    from swinunet.training.network.checkpoint import read_spec

    if sum(source is not None for source in (chosen.spec, options.like, options.labels)) > 1:
        raise InputError("--spec, --like and --labels each say what the labels are; give one of them")
    overrides, found = chosen.overrides(), chosen.given()
    if options.like is not None:
        found = read_spec(_checkpoint_of(options.like))
    elif options.labels is not None:
        found = plain_spec(tuple(name.strip() for name in options.labels.split(",") if name.strip()))
    if found is None and overrides != SpecOverrides():
        raise InputError("what the weights are a model of begins with its labels; add --labels, --spec or --like")
    if found is None:
        return None
    found = overrides.applied_to(found)
    labels = tuple(dataclasses.replace(label, volume_ml=None) for label in found.labels)
    return dataclasses.replace(found, version=1, labels=labels, provenance=Provenance())


def _checkpoint_of(model: Path) -> Path:
    """The checkpoint that a path means: itself, or that of a version, or of the newest version of a model."""
    if not model.is_dir():
        return model
    numbered = sorted((path for path in model.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
    return (numbered[-1] if numbered else model) / "checkpoint.safetensors"


def _fitting(spec: ModelSpec, imported: Imported, weights: Path) -> ModelSpec:
    """The spec with the input size of the weights. Raises InputError where they segment something else."""
    import dataclasses

    from swinunet.foundation.errors import InputError

    config = imported.model.config
    if config.num_classes != spec.num_classes:
        names = ", ".join(label.name for label in spec.labels)
        raise InputError(
            f"{weights}: segments {config.num_classes - 1} classes besides the background, the model has "
            f"{len(spec.labels)} ({names}); name as many"
        )
    if config.in_channels != spec.in_channels:
        raise InputError(
            f"--in-channels {config.in_channels}: the model has {spec.in_channels} (--context, or its modalities); "
            "leave the option out"
        )
    return dataclasses.replace(spec, input_size=config.input_size)


def _use(spec: ModelSpec | None, imported: Imported, output: Path) -> str:
    """What can be done with the result."""
    if spec is None:
        return "to train from (swinunet train --weights); no model yet (--labels, --spec or --like make it one)"
    if imported.fresh:
        return f"a model whose {', '.join(imported.fresh[:3])} are random: train it first (swinunet train --weights)"
    return f"a model: swinunet export {output}"


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
