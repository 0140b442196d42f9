"""`swinunet train`: a folder of labelled volumes in, a checkpoint out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb, with the recipes' table in its help where PyTorch is installed."""
    app.command("train", help=_help(), no_args_is_help=True)(_train)


def _train(
    data: Annotated[Path, typer.Argument(help="folder in the Medical Segmentation Decathlon layout (dataset.json)")],
    output: Annotated[Path, typer.Option("--output", "-o", help="run folder; must not hold anything yet")],
    recipe: Annotated[str, typer.Option(help="network, see the table above")] = "small",
    spec: Annotated[Path | None, typer.Option(help="model spec (JSON), as in training/specs/")] = None,
    epochs: Annotated[int, typer.Option(min=1)] = 60,
    batch_size: Annotated[int, typer.Option(min=1)] = 16,
    learning_rate: Annotated[float, typer.Option(min=0)] = 5e-4,
    seed: Annotated[int, typer.Option(help="of the split by case, the weights and the augmentation")] = 0,
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16")] = "auto",
) -> None:
    from imaging import ModelSpec
    from swinunet.errors import InputError
    from training.trainer import TrainSettings, train

    wanted = None
    if spec is not None:
        try:
            wanted = ModelSpec.from_json(spec.read_text(), str(spec))
        except OSError as error:
            raise InputError(f"{spec}: cannot read ({error.strerror})") from None
    settings = TrainSettings(
        recipe=recipe, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, seed=seed, precision=precision
    )
    print(f"checkpoint: {train(data, output, wanted, settings)}")


def _help() -> str:
    lines = [
        "Train a Swin-UNet on a folder of labelled volumes.",
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
