"""Named network sizes. A recipe is a function from (in_channels, num_classes) to a SwinUNetConfig."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from swinunet.training.network.recipe_sizes import RECIPE_SIZES, require_recipe
from swinunet.training.network.swin_unet import SwinUNet, SwinUNetConfig


@dataclass(frozen=True)
class Recipe:
    """A named size. `build(in_channels, num_classes)` returns its configuration."""

    name: str
    description: str
    build: Callable[[int, int], SwinUNetConfig]


def swin_unet(in_channels: int, num_classes: int) -> SwinUNetConfig:
    """The network of the paper (2105.05537, section 4.2)."""
    return SwinUNetConfig(input_size=(224, 224), in_channels=in_channels, num_classes=num_classes)


def swin_unet_t(in_channels: int, num_classes: int) -> SwinUNetConfig:
    """With the depths of Swin-T (2103.14030, section 3.3), so that all of its ImageNet weights have a place."""
    return SwinUNetConfig(input_size=(224, 224), in_channels=in_channels, num_classes=num_classes, depths=(2, 2, 6, 2))


def small(in_channels: int, num_classes: int) -> SwinUNetConfig:
    """For crops, and to train on a CPU."""
    return SwinUNetConfig(
        input_size=(64, 64),
        in_channels=in_channels,
        num_classes=num_classes,
        patch_size=2,
        embed_dim=48,
        depths=(2, 2, 2),
        num_heads=(3, 6, 12),
        window_size=8,
    )


def slice_128(in_channels: int, num_classes: int) -> SwinUNetConfig:
    """Narrow, for whole slices and one core: the bottleneck sees 176 mm of a heart, 256 mm of a head."""
    return SwinUNetConfig(
        input_size=(128, 128),
        in_channels=in_channels,
        num_classes=num_classes,
        patch_size=4,
        embed_dim=32,
        depths=(2, 2, 4),
        num_heads=(1, 2, 4),
        window_size=8,
        drop_path_rate=0.0,  # so few channels have none to spare: it learnt several times as slowly with 0.1
    )


def slice_128_detail(in_channels: int, num_classes: int) -> SwinUNetConfig:
    """`slice-128` with convolutions at full resolution, for structures of a few patches whose border counts."""
    return dataclasses.replace(slice_128(in_channels, num_classes), detail_dim=16)


def tiny(in_channels: int, num_classes: int) -> SwinUNetConfig:
    """For tests: everything there is, shifted windows included, in the fewest operations."""
    return SwinUNetConfig(
        input_size=(32, 32),
        in_channels=in_channels,
        num_classes=num_classes,
        patch_size=2,
        embed_dim=12,
        depths=(2, 2),
        num_heads=(2, 4),
        window_size=4,
    )


_BUILDERS = {
    "swin-unet": swin_unet,
    "swin-unet-t": swin_unet_t,
    "small": small,
    "slice-128": slice_128,
    "slice-128-detail": slice_128_detail,
    "tiny": tiny,
}
RECIPES: dict[str, Recipe] = {
    name: Recipe(name, size.description, _BUILDERS[name]) for name, size in RECIPE_SIZES.items()
}


def recipe(name: str) -> Recipe:
    """The recipe of that name. Raises InputError, listing the names, if there is none."""
    require_recipe(name)
    return RECIPES[name]


def parameters(config: SwinUNetConfig) -> int:
    """Number of trainable parameters of the network that `config` describes."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in SwinUNet(config).parameters())


def gflop(config: SwinUNetConfig) -> float:
    """GFLOP of one forward pass at batch 1: matrix products and convolutions, a multiply-add counting as two."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        SwinUNet(config).eval()(torch.empty(1, config.in_channels, *config.input_size))
    return counter.get_total_flops() / 1e9
