"""`swinunet train`: a folder of labelled images in, a checkpoint out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swinunet.cli.options import OptionGroup, with_options
from swinunet.cli.spec_options import SpecOptions
from swinunet.training.loop.settings import FREE_ON_RESUME, Augmentation, TrainSettings
from swinunet.training.network.recipe_sizes import OF_THE_WEIGHTS, RECIPE_SIZES, require_recipe

if TYPE_CHECKING:
    from swinunet.imaging import ModelSpec
    from swinunet.training.data.spec_overrides import SpecOverrides

_DEFAULTS = TrainSettings()
_HELP = """Train a Swin-UNet on a folder of labelled images.

The images are checked first.

Example: `swinunet train Task04_Hippocampus -o runs/hippocampus --spec training/specs/hippocampus.json`

Continue a run that was interrupted: `swinunet train --resume runs/hippocampus`

On several GPUs or machines, `torchrun --nproc-per-node 4 -m swinunet train` replaces `swinunet train`.

Recipes (at 1 input channel and 9 classes):
"""
_DATA_PANEL = "Data, and what follows from it unless it is set here"
_PANELS = {
    _DATA_PANEL: ("assume_ras",),
    "Learning": (
        "loss", "boundary_weight", "deep_supervision", "batch_size", "learning_rate", "weight_decay",
        "warmup_fraction", "gradient_clip", "ema_decay", "empty_share",
    ),
    "Machine": ("device", "precision", "accumulate", "recompute", "compile", "workers", "save_every", "memory_mib"),
    "Augmentation": ("augment_volumes",),
}  # fmt: skip
_COUNTS = ("epochs", "validate_every", "batch_size", "accumulate")
_NOT_NEGATIVE = ("patience", "boundary_weight", "learning_rate", "weight_decay", "workers", "save_every", "memory_mib")
_SHARES = (
    "validation_fraction", "warmup_fraction", "ema_decay", "empty_share",
    "probability", "mirror_probability", "flip_probability",
)  # fmt: skip
_LIMITS: dict[str, dict[str, float]] = {
    **{name: {"min": 1} for name in _COUNTS},
    **{name: {"min": 0} for name in _NOT_NEGATIVE},
    **{name: {"min": 0, "max": 1} for name in _SHARES},
}


@dataclass(frozen=True)
class RunOptions:
    """What to train on, and where the run is kept."""

    data: Annotated[Path | None, typer.Argument()] = None
    """Folder with a dataset.json (MSD or nnU-Net), or with images/ and labels/ or imagesTr/ and labelsTr/; NIfTI or
    PNG."""
    output: Annotated[Path | None, typer.Option("--output", "-o")] = None
    """Run folder to write; it must be empty or new."""
    resume: Path | None = None
    """Run folder to continue. Its data, spec and settings need not be given again."""


@dataclass(frozen=True)
class DataOptions:
    """How the data are checked."""

    check: Annotated[bool, typer.Option("--check")] = False
    """Check the data and stop; exit status 1 if a case is broken."""
    skip_broken: Annotated[bool, typer.Option("--skip-broken")] = False
    """Train without the broken cases; fingerprint.json lists them."""


_COMMON = (
    "--output",
    "--resume",
    "--spec",
    "--check",
    "--recipe",
    "--epochs",
    "--batch-size",
    "--weights",
    "--split",
)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    sizes = [f"- `{name}`: {size}" for name, size in RECIPE_SIZES.items()]
    app.command("train", help="\n".join([_HELP, *sizes]), no_args_is_help=True)(with_options(train, common=_COMMON))


def train(
    run: RunOptions,
    data: Annotated[DataOptions, OptionGroup(_DATA_PANEL)],
    model: Annotated[SpecOptions, OptionGroup(_DATA_PANEL)],
    settings: Annotated[dict[str, Any], OptionGroup(of=TrainSettings, panels=_PANELS, limits=_LIMITS)],
    augmentation: Annotated[
        dict[str, Any], OptionGroup("Augmentation", of=Augmentation, prefix="augment_", limits=_LIMITS)
    ],
) -> None:
    """Train, resume, or check the data only. settings, augmentation: what was typed, by option."""
    typed = settings | augmentation
    if "weights" in typed and run.resume is None:
        typed = {"recipe": OF_THE_WEIGHTS} | typed
    _refuse_unknown_names(model, typed)
    from swinunet.training.loop.distributed import errors_from_rank_zero_only, process_group_from_environment

    with errors_from_rank_zero_only():
        checkpoint = _checkpoint(run, data, model, typed)
        if checkpoint and process_group_from_environment().is_rank_zero:
            _print_result(checkpoint)


def _refuse_unknown_names(model: SpecOptions, typed: dict[str, Any]) -> None:
    """Before PyTorch is imported; processes of torchrun leave it to the training, where one of them speaks for all."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return
    name = typed.get("recipe", _DEFAULTS.recipe)
    if name != OF_THE_WEIGHTS:
        require_recipe(name)
    _DEFAULTS.changed(typed).require_known_names()
    model.overrides()


def _checkpoint(run: RunOptions, data: DataOptions, model: SpecOptions, typed: dict[str, Any]) -> Path | None:
    """What the options ask for; returns the best checkpoint, None where the data were only checked."""
    from swinunet.foundation.errors import InputError

    if data.check and run.resume is not None:
        raise InputError("--check looks DATA over before a run begins; leave it out, or --resume")
    spec, overrides = model.given(), model.overrides()
    if run.resume is not None:
        return _resume(run, run.resume, spec, overrides, typed)
    if run.data is None:
        raise InputError("no data given; name a folder of labelled images, or add --resume RUN")
    if data.check:
        _check(run.data, _DEFAULTS.changed(typed), spec, overrides, data.skip_broken)
        return None
    if run.output is None:
        raise InputError("no run folder given; add --output RUN, or --check to look the data over only")
    from swinunet.training.loop.trainer import train

    return train(run.data, run.output, spec, _DEFAULTS.changed(typed), overrides, data.skip_broken)


def _check(
    data: Path, settings: TrainSettings, spec: ModelSpec | None, overrides: SpecOverrides, skip_broken: bool
) -> None:
    """Look the data over and show the spec that follows; InputError if a run would refuse."""
    from rich.console import Console

    from swinunet.training.data.prepare_data import prepare
    from swinunet.training.loop.trainer import network_config

    size = network_config(settings).input_size
    prepare(
        data,
        size,
        spec=spec,
        overrides=overrides,
        skip_broken=skip_broken,
        console=Console(),
        assume_ras=settings.assume_ras,
    )


def _resume(
    options: RunOptions, run: Path, spec: ModelSpec | None, overrides: SpecOverrides, typed: dict[str, Any]
) -> Path:
    from swinunet.foundation.errors import InputError
    from swinunet.training.loop.run_folder import read_run_folder
    from swinunet.training.loop.trainer import train

    if options.output is not None and options.output.resolve() != run.resolve():
        raise InputError(f"--resume {run} writes there, not to {options.output}; leave --output out")
    started = read_run_folder(run)
    settings = started.settings.changed(typed)
    if differences := settings.differences(started.settings):
        raise InputError(
            f"{run} was started otherwise: {'; '.join(differences)} (now, then); only "
            f"{', '.join(sorted(FREE_ON_RESUME))} may change; leave the option out, or start a new run"
        )
    return train(options.data or started.data, run, spec, settings, overrides, resume=True)


def _print_result(checkpoint: Path) -> None:
    """Where the best checkpoint is, how good it is, from which epoch, and how long the whole run took."""
    from swinunet.foundation.terminal import print_line
    from swinunet.training.loop.run_folder import read_log

    records = read_log(checkpoint.parent)
    best = max((record for record in records if "dice" in record), key=lambda record: float(record["dice"]))
    minutes = sum(record["seconds"] + record.get("validation_seconds", 0) for record in records) / 60
    print_line(
        f"checkpoint: {checkpoint}, validation Dice {best['dice']:.4f} at epoch {best['epoch']} of "
        f"{records[-1]['epoch']}, {minutes:.1f} min of training"
    )
