"""`swinunet train`: a folder of labelled images in, a checkpoint out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from training.settings import FREE_ON_RESUME, Augmentation, TrainSettings

if TYPE_CHECKING:
    from imaging import ModelSpec
    from training.choices import SpecChoices

_S, _A = TrainSettings(), Augmentation()
_DATA, _LEARNING, _MACHINE, _AUGMENTATION = (
    "Data, and what follows from it unless said",
    "Learning",
    "Machine",
    "Augmentation",
)


def register(app: typer.Typer) -> None:
    """Add the verb, with the recipes' table in its help where PyTorch is installed."""
    app.command("train", help=_help(), no_args_is_help=True)(_train)


def _option(text: str, panel: str, *flags: str, **rules: Any) -> Any:
    return typer.Option(*flags, help=text, rich_help_panel=panel, **rules)


def _train(
    context: typer.Context,
    data: Annotated[
        Path | None, typer.Argument(help="dataset.json (MSD, nnU-Net), or images/ and labels/; NIfTI or PNG")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="run folder; must not hold anything yet")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="run folder to go on with; its data, spec and settings need not be said again")
    ] = None,
    recipe: Annotated[str, typer.Option(help="network, see the table above")] = _S.recipe,
    spec: Annotated[Path | None, typer.Option(help="model spec (JSON), as in training/specs/")] = None,
    weights: Annotated[str, typer.Option(help="checkpoint to start from (fine-tuning), as of `swinunet import`")] = "",
    init: Annotated[
        str, typer.Option(help="of weights that start at random: normal (Swin's), or xavier for narrow networks")
    ] = _S.init,
    epochs: Annotated[int, typer.Option(min=1, help="at most; the learning rate falls over all of them")] = _S.epochs,
    patience: Annotated[
        int, typer.Option(min=0, help="epochs without a better validation Dice before it stops; 0: never")
    ] = _S.patience,
    seed: Annotated[int, typer.Option(help="of the split by case, the weights and the augmentation")] = _S.seed,
    validation_fraction: Annotated[
        float, typer.Option(min=0, max=1, help="of the cases, held out")
    ] = _S.validation_fraction,
    group_by: Annotated[
        str,
        typer.Option(
            help="regular expression; cases in whose names it matches the same, as the slices of one patient, fall on "
            "one side of the split. '.+(?=_)' is the text before the last underscore"
        ),
    ] = _S.group_by,
    split: Annotated[
        str, typer.Option(help="split.json of an earlier run: its validation cases are held out again, --seed or not")
    ] = _S.split,
    validate_every: Annotated[int, typer.Option(min=1, help="epochs")] = _S.validate_every,
    check: Annotated[bool, _option("look the data over and stop; exit status 1 if a case is broken", _DATA)] = False,
    skip_broken: Annotated[bool, _option("go on without broken cases; fingerprint.json lists them", _DATA)] = False,
    plane: Annotated[
        str | None,
        _option(
            "sagittal, coronal, axial, or acquired: as taken; several with commas: their answers are averaged", _DATA
        ),
    ] = None,
    context_slices: Annotated[int | None, _option("neighbouring slices as channels, odd", _DATA, "--context")] = None,
    context_step: Annotated[float | None, _option("mm between these", _DATA)] = None,
    spacing: Annotated[str | None, _option("pixels in mm: MM, or ROW,COLUMN, or stretch", _DATA)] = None,
    modality: Annotated[str | None, _option("as DICOM calls it: MR, CT, ...", _DATA)] = None,
    body_part: Annotated[str | None, _option("as DICOM calls it: BRAIN, ABDOMEN, ...", _DATA)] = None,
    name: Annotated[str | None, _option("of the model, as Triton will know it", _DATA)] = None,
    pixel_mm: Annotated[float | None, _option("side of a pixel of PNGs, which do not say it", _DATA)] = None,
    window: Annotated[str | None, _option("intensities: LOW,HIGH, or zscore", _DATA)] = None,
    loss: Annotated[
        str, _option("dice-ce, dice-bce or dice-focal; each with +boundary after it if wanted", _LEARNING)
    ] = _S.loss,
    boundary_weight: Annotated[float, _option("of the boundary term", _LEARNING, min=0)] = _S.boundary_weight,
    deep_supervision: Annotated[bool, _option("a loss on every decoder stage", _LEARNING)] = _S.deep_supervision,
    batch_size: Annotated[int, _option("slices of a step, over all processes", _LEARNING, min=1)] = _S.batch_size,
    learning_rate: Annotated[float, _option("of AdamW, after the warm-up", _LEARNING, min=0)] = _S.learning_rate,
    weight_decay: Annotated[float, _option("of AdamW, for matrices", _LEARNING, min=0)] = _S.weight_decay,
    warmup_fraction: Annotated[float, _option("of the steps", _LEARNING, min=0, max=1)] = _S.warmup_fraction,
    gradient_clip: Annotated[float, _option("largest norm of the gradient", _LEARNING)] = _S.gradient_clip,
    ema_decay: Annotated[float, _option("of the average of the weights", _LEARNING, min=0, max=1)] = _S.ema_decay,
    empty_share: Annotated[
        float, _option("of the slices without any label, drawn in an epoch", _LEARNING, min=0, max=1)
    ] = _S.empty_share,
    device: Annotated[str, _option("cpu, cuda, cuda:N or auto", _MACHINE)] = _S.device,
    precision: Annotated[
        str, _option("fp32, bf16, fp16 (GPU only) or auto: the fastest that is native", _MACHINE)
    ] = _S.precision,
    accumulate: Annotated[
        int, _option("parts a batch is computed in, for small cards (fixed for a run)", _MACHINE, min=1)
    ] = _S.accumulate,
    recompute: Annotated[
        bool, _option("compute activations twice instead of keeping them (gradient checkpointing)", _MACHINE)
    ] = _S.recompute,
    compile: Annotated[bool, _option("torch.compile", _MACHINE)] = _S.compile,
    workers: Annotated[
        int | None, _option("threads that gather batches ahead; 4 on a GPU, 0 on a CPU if not said", _MACHINE, min=0)
    ] = _S.workers,
    save_every: Annotated[
        int, _option("steps between saves of the state within an epoch; 0: at its end only", _MACHINE, min=0)
    ] = _S.save_every,
    augment_probability: Annotated[
        float, _option("of rotation, scale, shift and each change of intensity", _AUGMENTATION, min=0, max=1)
    ] = _A.probability,
    augment_mirror_probability: Annotated[
        float, _option("of a mirror image of the patient, left for right", _AUGMENTATION, min=0, max=1)
    ] = _A.mirror_probability,
    augment_flip_probability: Annotated[
        float, _option("of a flip in the plane, along either axis", _AUGMENTATION, min=0, max=1)
    ] = _A.flip_probability,
    augment_rotation_degrees: Annotated[float, _option("at most", _AUGMENTATION)] = _A.rotation_degrees,
    augment_scale: Annotated[float, _option("at most, natural logarithm", _AUGMENTATION)] = _A.scale,
    augment_shift: Annotated[float, _option("at most, of the field of view", _AUGMENTATION)] = _A.shift,
    augment_contrast: Annotated[float, _option("at most, natural logarithm", _AUGMENTATION)] = _A.contrast,
    augment_brightness: Annotated[float, _option("at most, z-score units", _AUGMENTATION)] = _A.brightness,
    augment_gamma: Annotated[float, _option("at most, natural logarithm", _AUGMENTATION)] = _A.gamma,
    augment_noise: Annotated[float, _option("at most, z-score units", _AUGMENTATION)] = _A.noise,
    augment_volumes: Annotated[
        str, _option("of whole volumes, before slices are made: head (tilted, stripped, cut, noisy)", _AUGMENTATION)
    ] = _S.augment_volumes,
) -> None:
    from swinunet.errors import InputError
    from training.choices import SpecChoices
    from training.distributed import one_voice, team_from_environment

    with one_voice():
        if check and resume is not None:
            raise InputError("--check looks DATA over before a run begins; leave it out, or --resume")
        wanted, asked = _read_spec(spec), _asked(context)
        choices = SpecChoices.parse(
            plane=plane,
            context=context_slices,
            context_step_mm=context_step,
            spacing=spacing,
            modality=modality,
            body_part=body_part,
            name=name,
            window=window,
            pixel_mm=pixel_mm,
        )
        if resume is not None:
            checkpoint = _resume(resume, data, output, wanted, choices, asked)
        elif data is None:
            raise InputError("no data given; name a folder of labelled images, or add --resume RUN")
        elif check:
            _check(data, recipe, wanted, choices, skip_broken)
            return
        elif output is None:
            raise InputError("no run folder given; add --output RUN, or --check to look the data over only")
        else:
            from training.trainer import train

            checkpoint = train(data, output, wanted, _S.changed(asked), choices, skip_broken)
        if team_from_environment().leads:
            print(f"checkpoint: {checkpoint}")


def _check(data: Path, network: str, spec: ModelSpec | None, choices: SpecChoices, skip_broken: bool) -> None:
    """Look the data over and show the spec that follows; InputError if a run would refuse."""
    from rich.console import Console

    from training.prepare import prepare
    from training.recipes import recipe

    size = recipe(network).build(1, 2).input_size
    prepare(data, size, spec=spec, choices=choices, skip_broken=skip_broken, console=Console())


def _asked(context: typer.Context) -> dict[str, Any]:
    """The settings that were typed, by name: not the defaults."""
    named = {name for name in context.params if hasattr(_S, name) or hasattr(_A, name.removeprefix("augment_"))}
    sources = {name: context.get_parameter_source(name) for name in named}
    return {name: context.params[name] for name, source in sources.items() if source and source.name == "COMMANDLINE"}


def _resume(
    run: Path,
    data: Path | None,
    output: Path | None,
    spec: ModelSpec | None,
    choices: SpecChoices,
    asked: dict[str, Any],
) -> Path:
    from swinunet.errors import InputError
    from training.run_folder import read_run_folder
    from training.trainer import train

    if output is not None and output.resolve() != run.resolve():
        raise InputError(f"--resume {run} writes there, not to {output}; leave --output out")
    started = read_run_folder(run)
    settings = started.settings.changed(asked)
    if differences := settings.differences(started.settings):
        raise InputError(
            f"{run} was started otherwise: {'; '.join(differences)} (now, then); only "
            f"{', '.join(sorted(FREE_ON_RESUME))} may change; leave the option out, or start a new run"
        )
    return train(data or started.data, run, spec, settings, choices, resume=True)


def _read_spec(path: Path | None) -> ModelSpec | None:
    from imaging import ModelSpec
    from swinunet.errors import InputError

    if path is None:
        return None
    try:
        return ModelSpec.from_json(path.read_text(), str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot read ({error.strerror})") from None


def _help() -> str:
    lines = [
        "Train a Swin-UNet on a folder of labelled images; it is looked over first.",
        "Example: `swinunet train Task04_Hippocampus -o runs/hippocampus --spec training/specs/hippocampus.json`",
        "A run that was killed goes on with `swinunet train --resume runs/hippocampus`. Several GPUs or machines: "
        "`torchrun --nproc-per-node 4 -m training` instead of `swinunet train`.",
    ]
    return "\n\n".join([*lines, *_recipe_lines()])


def _recipe_lines() -> list[str]:
    import importlib.util
    import sys

    if not {"train", "--help"} <= set(sys.argv) or importlib.util.find_spec("torch") is None:
        return []
    from training.recipes import RECIPES, gflop, parameters

    lines = ["Recipes (at 1 input channel and 9 classes):"]
    for recipe in RECIPES.values():
        config = recipe.build(1, 9)
        size = f"{parameters(config) / 1e6:.2f} M parameters, {gflop(config):.2f} GFLOP"
        lines.append(f"- `{recipe.name}`: {recipe.description}; {size}")
    return lines
