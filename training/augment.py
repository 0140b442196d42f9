"""Augmentation of whole batches: rotation, scale, shift, mirrored neighbours, contrast, gamma, noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """Ranges to draw from, uniformly, for each slice on its own; `probability` is that of each family."""

    probability: float = 0.7
    rotation_degrees: float = 20.0
    scale: float = 0.2
    shift: float = 0.08  # of the field of view
    contrast: float = 0.3
    brightness: float = 0.3  # z-score units
    gamma: float = 0.4  # natural logarithm
    noise: float = 0.15  # z-score units


def augment(image: Tensor, labels: Tensor, settings: Augmentation, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Augmented copies of image float32 [B, C, H, W] and labels int64 [B, H, W], drawn from `generator`."""
    image, labels = _move(image, labels, settings, generator)
    return _shade(image, settings, generator), labels


def _uniform(n: int, spread: float, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """[n] draws from -spread..spread, each 0 with probability 1 - settings.probability."""
    value = (torch.rand(n, generator=generator) * 2 - 1) * spread
    return value * (torch.rand(n, generator=generator) < settings.probability)


def _move(image: Tensor, labels: Tensor, settings: Augmentation, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rotate, scale and shift in the plane; reverse the neighbours' order (a mirror image through the plane)."""
    n = image.shape[0]
    angle = _uniform(n, torch.pi * settings.rotation_degrees / 180, settings, generator)
    zoom = torch.exp(_uniform(n, settings.scale, settings, generator))
    stretch = torch.exp(_uniform(n, settings.scale / 2, settings, generator))
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = zoom * angle.cos(), -zoom * angle.sin()
    theta[:, 1, 0], theta[:, 1, 1] = zoom * stretch * angle.sin(), zoom * stretch * angle.cos()
    theta[:, 0, 2] = _uniform(n, 2 * settings.shift, settings, generator)
    theta[:, 1, 2] = _uniform(n, 2 * settings.shift, settings, generator)
    grid = F.affine_grid(theta, [n, 1, *image.shape[2:]], align_corners=False)
    mirrored = torch.rand(n, 1, 1, 1, generator=generator) < 0.5
    image = torch.where(mirrored, image.flip(1), image)
    image = F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    moved = F.grid_sample(labels[:, None].float(), grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return image, moved[:, 0].long()


def _shade(image: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """Change contrast, brightness and gamma, add noise; padding (exactly 0 in every channel) stays 0."""
    n = image.shape[0]
    shape = (n, 1, 1, 1)
    inside = image != 0
    low, high = image.amin(dim=(1, 2, 3), keepdim=True), image.amax(dim=(1, 2, 3), keepdim=True)
    span = (high - low).clamp_min(1e-3)
    gamma = torch.exp(_uniform(n, settings.gamma, settings, generator)).view(shape)
    image = ((image - low) / span).clamp(0, 1) ** gamma * span + low
    image = image * torch.exp(_uniform(n, settings.contrast, settings, generator)).view(shape)
    image = image + _uniform(n, settings.brightness, settings, generator).view(shape)
    strength = _uniform(n, settings.noise, settings, generator).abs().view(shape)
    return (image + strength * torch.randn(image.shape, generator=generator)) * inside
