"""`swinunet train`: a folder of labelled volumes in, a checkpoint out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from imaging import ModelSpec
    from training.choices import SpecChoices


def register(app: typer.Typer) -> None:
    """Add the verb, with the recipes' table in its help where PyTorch is installed."""
    app.command("train", help=_help(), no_args_is_help=True)(_train)


def _data_option(text: str, *flags: str) -> Any:
    return typer.Option(*flags, help=text, rich_help_panel="Data, and what follows from it unless said")


def _train(
    data: Annotated[Path, typer.Argument(help="dataset.json (MSD, nnU-Net), or images/ and labels/; NIfTI or PNG")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="run folder; must not hold anything yet")
    ] = None,
    recipe: Annotated[str, typer.Option(help="network, see the table above")] = "small",
    spec: Annotated[Path | None, typer.Option(help="model spec (JSON), as in training/specs/")] = None,
    epochs: Annotated[int, typer.Option(min=1)] = 60,
    batch_size: Annotated[int, typer.Option(min=1)] = 16,
    learning_rate: Annotated[float, typer.Option(min=0)] = 5e-4,
    seed: Annotated[int, typer.Option(help="of the split by case, the weights and the augmentation")] = 0,
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16")] = "auto",
    check: Annotated[bool, _data_option("look the data over and stop; exit status 1 if a case is broken")] = False,
    skip_broken: Annotated[bool, _data_option("go on without broken cases; fingerprint.json lists them")] = False,
    plane: Annotated[str | None, _data_option("sagittal, coronal or axial")] = None,
    context_slices: Annotated[int | None, _data_option("neighbouring slices as channels, odd", "--context")] = None,
    context_step: Annotated[float | None, _data_option("mm between these")] = None,
    spacing: Annotated[str | None, _data_option("pixels in mm: MM, or ROW,COLUMN, or stretch")] = None,
    modality: Annotated[str | None, _data_option("as DICOM calls it: MR, CT, ...")] = None,
    body_part: Annotated[str | None, _data_option("as DICOM calls it: BRAIN, ABDOMEN, ...")] = None,
    name: Annotated[str | None, _data_option("of the model, as Triton will know it")] = None,
    window: Annotated[str | None, _data_option("intensities: LOW,HIGH, or zscore")] = None,
) -> None:
    from imaging import ModelSpec
    from swinunet.errors import InputError
    from training.choices import SpecChoices
    from training.trainer import TrainSettings, train

    wanted = None
    if spec is not None:
        try:
            wanted = ModelSpec.from_json(spec.read_text(), str(spec))
        except OSError as error:
            raise InputError(f"{spec}: cannot read ({error.strerror})") from None
    choices = SpecChoices.parse(
        plane=plane,
        context=context_slices,
        context_step_mm=context_step,
        spacing=spacing,
        modality=modality,
        body_part=body_part,
        name=name,
        window=window,
    )
    if check:
        _check(data, recipe, wanted, choices, skip_broken)
        return
    if output is None:
        raise InputError("no run folder given; add --output RUN, or --check to look the data over only")
    settings = TrainSettings(
        recipe=recipe, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, seed=seed, precision=precision
    )
    print(f"checkpoint: {train(data, output, wanted, settings, choices, skip_broken)}")


def _check(data: Path, network: str, spec: ModelSpec | None, choices: SpecChoices, skip_broken: bool) -> None:
    """Look the data over and show the spec that follows; InputError if a run would refuse."""
    from rich.console import Console

    from training.prepare import prepare
    from training.recipes import recipe

    size = recipe(network).build(1, 2).input_size
    prepare(data, size, spec=spec, choices=choices, skip_broken=skip_broken, console=Console())


def _help() -> str:
    lines = [
        "Train a Swin-UNet on a folder of labelled images; it is looked over first.",
        "Example: `swinunet train Task04_Hippocampus -o runs/hippocampus --spec training/specs/hippocampus.json`",
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
