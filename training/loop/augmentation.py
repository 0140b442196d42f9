"""Augmentation of whole batches, on any device: rotation, scale, shift, deformation, mirror images, contrast, gamma,
bias, noise."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from swinunet.training.loop.settings import Augmentation

__all__ = ["Augmentation", "augment"]

ELASTIC_GRID = 5  # nodes along each edge: a deformation as coarse as the organs of a slice


def augment(
    image: Tensor,
    labels: Tensor,
    settings: Augmentation,
    generator: torch.Generator,
    context_slices: int | None = None,
    sagittal: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Augmented copies of image float32 [B, C, H, W] and labels int64 [B, H, W], drawn from `generator` (on the CPU).

    context_slices: C is this many neighbouring slices for each modality, one modality after the other; None: all of C.
    sagittal: bool [B], which slices are; None: all.
    """
    slices = image.unflatten(1, (-1, context_slices or image.shape[1]))  # B, modalities, context slices, H, W
    image, labels = _flip(slices, labels, settings, generator, sagittal)
    image, labels = _move(image, labels, settings, generator)
    return _shade(image, settings, generator), labels


def _uniform(n: int, spread: float, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """[n] draws from -spread..spread, each 0 with probability 1 - settings.probability."""
    value = (torch.rand(n, generator=generator) * 2 - 1) * spread
    return value * (torch.rand(n, generator=generator) < settings.probability)


def _flip(
    slices: Tensor, labels: Tensor, settings: Augmentation, generator: torch.Generator, sagittal: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Mirror images: the patient's left for right, then in the plane upside down and along the rows.

    Left is right through a sagittal slice (the neighbours' order reversed), and along the rows of the other planes.
    """
    chance = torch.tensor([settings.mirror_probability, settings.flip_probability, settings.flip_probability])
    drawn = torch.rand(len(slices), 3, generator=generator) < chance
    mirrored, upside_down, along_rows = drawn.to(slices.device).unbind(dim=1)
    through = mirrored if sagittal is None else mirrored & sagittal
    for flipped, axis in ((through, 2), (upside_down, -2), (along_rows ^ (mirrored & ~through), -1)):
        slices = torch.where(flipped.view(-1, 1, 1, 1, 1), slices.flip(axis), slices)
        if axis < 0:
            labels = torch.where(flipped.view(-1, 1, 1), labels.flip(axis), labels)
    return slices.flatten(1, 2), labels


def _move(image: Tensor, labels: Tensor, settings: Augmentation, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rotate, scale, shift and deform in the plane."""
    n = image.shape[0]
    angle = _uniform(n, torch.pi * settings.rotation_degrees / 180, settings, generator)
    zoom = torch.exp(_uniform(n, settings.scale, settings, generator))
    stretch = torch.exp(_uniform(n, settings.scale / 2, settings, generator))
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = zoom * angle.cos(), -zoom * angle.sin()
    theta[:, 1, 0], theta[:, 1, 1] = zoom * stretch * angle.sin(), zoom * stretch * angle.cos()
    theta[:, 0, 2] = _uniform(n, 2 * settings.shift, settings, generator)
    theta[:, 1, 2] = _uniform(n, 2 * settings.shift, settings, generator)
    grid = F.affine_grid(theta.to(image.device), [n, 1, *image.shape[2:]], align_corners=False)
    if settings.elastic:
        grid = grid + _displacement(image, _uniform(n, 2 * settings.elastic, settings, generator), generator)
    image = F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    moved = F.grid_sample(labels[:, None].float(), grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return image, moved[:, 0].long()


def _displacement(image: Tensor, largest: Tensor, generator: torch.Generator) -> Tensor:
    """Smooth random displacements float32 [B, H, W, 2], of at most `largest` [B], in units of half an edge.

    Random vectors on a coarse grid, between which a bicubic spline runs (Ronneberger et al., arXiv 1505.04597, 3.1).
    """
    coarse = torch.randn(len(image), 2, ELASTIC_GRID, ELASTIC_GRID, generator=generator).to(image.device)
    field = F.interpolate(coarse, size=image.shape[2:], mode="bicubic", align_corners=True)
    field = field / field.abs().amax(dim=(1, 2, 3), keepdim=True)
    return (field * largest.to(image.device).view(-1, 1, 1, 1)).permute(0, 2, 3, 1)


def _shade(image: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """Change contrast, brightness and gamma, add noise and bias; padding (exactly 0 in every channel) stays 0."""
    n, device = image.shape[0], image.device

    def drawn(spread: float) -> Tensor:
        return _uniform(n, spread, settings, generator).view(n, 1, 1, 1).to(device)

    inside = image != 0
    low, high = image.amin(dim=(1, 2, 3), keepdim=True), image.amax(dim=(1, 2, 3), keepdim=True)
    span = (high - low).clamp_min(1e-3)
    image = ((image - low) / span).clamp(0, 1) ** torch.exp(drawn(settings.gamma)) * span + low
    image = image * torch.exp(drawn(settings.contrast)) + drawn(settings.brightness)
    seed = int(torch.randint(2**62, (1,), generator=generator))
    noise = torch.randn(image.shape, device=device, generator=torch.Generator(device).manual_seed(seed))
    image = image + drawn(settings.noise).abs() * noise
    if settings.bias:
        image = _with_bias(image, low, drawn(settings.bias), generator)
    return image * inside


def _with_bias(image: Tensor, low: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Times the exponential of a random quadratic of the place, `strength` [B, 1, 1, 1] at its furthest from 0."""
    rows, columns = (torch.linspace(-1, 1, size, device=image.device) for size in image.shape[2:])
    y, x = rows.view(-1, 1), columns.view(1, -1)
    terms = torch.stack(torch.broadcast_tensors(y, x, y * x, y.square(), x.square()))  # 5, H, W
    weights = torch.randn(len(image), len(terms), generator=generator).to(image.device)
    field = torch.einsum("bt,thw->bhw", weights, terms)[:, None]
    field = field / field.abs().amax(dim=(2, 3), keepdim=True).clamp_min(1e-6)
    return (image - low) * torch.exp(strength * field) + low
