"""The recipes' names, descriptions and sizes, without torch: for help, and to check a name early."""

from __future__ import annotations

from dataclasses import dataclass

from swinunet.foundation.errors import InputError
from swinunet.foundation.nearest import did_you_mean


@dataclass(frozen=True)
class RecipeSize:
    """At 1 input channel and 9 classes; a test compares the figures with the network that the recipe builds.

    million_parameters: trainable ones. gflop: of one forward pass of one slice.
    """

    description: str
    million_parameters: float
    gflop: float

    def __str__(self) -> str:
        return f"{self.description}; {self.million_parameters:.2f} M parameters, {self.gflop:.2f} GFLOP"


OF_THE_WEIGHTS = "weights"  # in place of a recipe's name: the network of the checkpoint that a run starts from
RECIPE_SIZES: dict[str, RecipeSize] = {
    "swin-unet": RecipeSize("the paper's network: 224 x 224, depths 2-2-2-2", 27.17, 12.20),
    "swin-unet-t": RecipeSize("with Swin-T's depths 2-2-6-2, for its ImageNet weights", 41.38, 17.87),
    "small": RecipeSize("for CPUs and crops: 64 x 64, patches of 2, depths 2-2-2", 1.68, 0.73),
    "slice-128": RecipeSize(
        "for CPUs and whole slices: 128 x 128, patches of 4, depths 2-2-4, best with --init xavier", 1.16, 0.43
    ),
    "slice-128-detail": RecipeSize("slice-128 with convolutions at full resolution, for fine borders", 1.18, 0.76),
    "tiny": RecipeSize("for tests: 32 x 32, depths 2-2", 0.03, 0.01),
}


def require_recipe(name: str) -> None:
    """Raises InputError, listing the names, if there is no such recipe."""
    if name not in RECIPE_SIZES:
        raise InputError(
            f"no recipe is named {name!r}; choose one of {', '.join(RECIPE_SIZES)}{did_you_mean(name, RECIPE_SIZES)}"
        )
