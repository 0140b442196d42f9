"""Heads as hospitals send them, made from heads as a study collected them: whole volumes, before slices are made.

    image, labels = as_sent(image, labels, np.random.default_rng(0), sides=((1, 2),))

Each change is a function of its own, so that it can be measured alone (training/studies/locator_check.py). Volumes are
laid out L, P, S (`Volume.lps_view`); voxels are float32, labels uint8 on the same grid. Same generator, same result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from swinunet.imaging import Volume
from swinunet.imaging.resample import AxisMap

Sides = tuple[tuple[int, int], ...]
"""Pairs of labels, left and right of one structure."""

_HIGH = 99.0  # percentile that stands for the brightest tissue


@dataclass(frozen=True)
class HeadRanges:
    """How often and how far. Angles in degrees, lengths in mm; `*_chance` is a probability.

    tilt: length of the rotation vector, at most. scale: natural logarithm, of all axes together, and half of it of
        each. shift: along each axis.
    strip_margin: what is further from a label is 0, as after skull stripping.
    neck: the image ends that far under the lowest label. side_chance: the left or the right is cut away, at most to
        beyond the middle. edge: cut from each of the other faces, at most.
    thickness: of slices along one axis. blur: deviation of a Gaussian.
    bias: natural logarithm of the field's largest gain. gamma: natural logarithm of the exponent.
    noise: deviation, as a share of the 99th percentile.
    """

    mirror_chance: float = 0.5
    move_chance: float = 0.8
    tilt: float = 27.0
    scale: float = 0.15
    shift: float = 12.0
    strip_chance: float = 0.2
    strip_margin: float = 6.0
    neck_chance: float = 0.4
    neck: tuple[float, float] = (-4.0, 40.0)
    side_chance: float = 0.15
    edge_chance: float = 0.3
    edge: float = 30.0
    thick_chance: float = 0.3
    thickness: tuple[float, float] = (3.0, 6.0)
    blur_chance: float = 0.2
    blur: float = 1.5
    bias_chance: float = 0.5
    bias: float = 0.5
    gamma_chance: float = 0.5
    gamma: float = 0.5
    noise_chance: float = 0.5
    noise: float = 0.1


def as_sent(
    image: Volume, labels: Volume, draw: np.random.Generator, sides: Sides = (), ranges: HeadRanges | None = None
) -> tuple[Volume, Volume]:
    """A head as it might be sent: image and labels on one grid, in any orientation, to the same laid out L, P, S.

    sides: pairs of labels that a mirror image swaps.
    """
    ranges = ranges or HeadRanges()
    image, labels = image.lps_view(), labels.lps_view()
    image = Volume(image.voxels.astype(np.float32), image.affine)
    if draw.random() < ranges.mirror_chance:
        image, labels = mirrored(image, labels, sides)
    if draw.random() < ranges.strip_chance:
        image = stripped(image, labels, draw.uniform(0, ranges.strip_margin))
    if draw.random() < ranges.move_chance:
        image, labels = _moved(image, labels, draw, ranges)
    image = _shaded(image, draw, ranges)
    if draw.random() < ranges.thick_chance:
        image = with_thick_slices(image, int(draw.integers(3)), draw.uniform(*ranges.thickness))
    if draw.random() < ranges.noise_chance:
        image = noisy(image, draw, draw.uniform(0, ranges.noise))
    return _cut(image, labels, draw, ranges)


def mirrored(image: Volume, labels: Volume, sides: Sides) -> tuple[Volume, Volume]:
    """The mirror image, left for right, with the labels of the sides swapped."""
    swap = np.arange(256, dtype=np.uint8)
    for left, right in sides:
        swap[left], swap[right] = right, left
    return Volume(image.voxels[::-1], image.affine), Volume(swap[labels.voxels[::-1]], labels.affine)


def stripped(image: Volume, labels: Volume, margin_mm: float) -> Volume:
    """0 wherever no label is within `margin_mm`."""
    inside = labels.voxels > 0
    if steps := round(margin_mm / min(image.spacing_mm)):
        inside = ndimage.binary_dilation(inside, iterations=steps)
    return Volume(image.voxels * inside, image.affine)


def moved(
    image: Volume, labels: Volume, rotation: np.ndarray, scale: np.ndarray, shift_mm: np.ndarray
) -> tuple[Volume, Volume]:
    """The head turned, scaled and shifted on its grid, about the grid's middle; what comes from outside is 0.

    rotation: vector along the axis (L, P, S), its length the angle in degrees. scale: [3], above 1 enlarges.
    shift_mm: [3].
    """
    half_mm = np.multiply(image.shape, image.spacing_mm) / 2
    back = np.diag(1 / scale) @ _rotation(-np.radians(rotation))  # from a place in the result to one in the head
    back, shift = back * half_mm / half_mm[:, None], -(back @ shift_mm) / half_mm
    theta = torch.from_numpy(np.concatenate([back, shift[:, None]], axis=1)[::-1][:, [2, 1, 0, 3]].copy()).float()
    grid = F.affine_grid(theta[None], [1, 1, *image.shape], align_corners=False)

    def sampled(voxels: np.ndarray, mode: str) -> np.ndarray:
        whole = torch.from_numpy(np.ascontiguousarray(voxels, np.float32))[None, None]
        return F.grid_sample(whole, grid, mode=mode, padding_mode="zeros", align_corners=False)[0, 0].numpy()

    found = sampled(labels.voxels, "nearest").astype(np.uint8)
    return Volume(sampled(image.voxels, "bilinear"), image.affine), Volume(found, labels.affine)


def with_thick_slices(image: Volume, axis: int, thickness_mm: float) -> Volume:
    """As read from slices of `thickness_mm` along `axis`, brought back to the grid between them."""
    count = image.shape[axis]
    thick = max(1, round(count * image.spacing_mm[axis] / thickness_mm))
    averaged = AxisMap.stretch(count, thick)
    both = averaged.inverse_linear() @ averaged.linear()  # [count, count]
    voxels = np.moveaxis(np.tensordot(both, image.voxels, axes=(1, axis)), 0, axis)
    return Volume(np.ascontiguousarray(voxels, np.float32), image.affine)


def with_bias(image: Volume, draw: np.random.Generator, strength: float) -> Volume:
    """Times a smooth field: the exponential of a random cubic of the place, `strength` at its highest."""
    axes = [np.linspace(-1, 1, count, dtype=np.float32) for count in image.shape]
    powers = [np.stack([axis**power for power in range(4)]) for axis in axes]
    weights = draw.normal(size=(4, 4, 4)).astype(np.float32)
    weights[0, 0, 0] = 0
    weights *= np.add.outer(np.add.outer(np.arange(4), np.arange(4)), np.arange(4)) <= 3
    field = np.einsum("abc,ai,bj,ck->ijk", weights, *powers, optimize=True)
    return Volume(image.voxels * np.exp(field * (strength / np.abs(field).max())), image.affine)


def with_gamma(image: Volume, exponent: float) -> Volume:
    """Intensities between the lowest and the highest raised to a power."""
    low, high = float(image.voxels.min()), float(image.voxels.max())
    if high <= low:
        return image
    return Volume(((image.voxels - low) / (high - low)) ** np.float32(exponent) * (high - low) + low, image.affine)


def noisy(image: Volume, draw: np.random.Generator, deviation: float) -> Volume:
    """With Rician noise, as magnitude images have it, of a deviation that is a share of the brightest tissue."""
    sigma = np.float32(deviation * _brightest(image))
    noise = draw.standard_normal((2, *image.shape), dtype=np.float32) * sigma
    return Volume(np.hypot(image.voxels + noise[0], noise[1]), image.affine)


def blurred(image: Volume, deviation_mm: float) -> Volume:
    """Smoothed with a Gaussian."""
    sigma = [deviation_mm / mm for mm in image.spacing_mm]
    return Volume(ndimage.gaussian_filter(image.voxels, sigma, truncate=3), image.affine)


def cut(image: Volume, labels: Volume, low: tuple[int, int, int], high: tuple[int, int, int]) -> tuple[Volume, Volume]:
    """Without that many voxels at the low and at the high end of each axis."""
    ranges = tuple(slice(a, count - b) for a, b, count in zip(low, high, image.shape, strict=True))
    i, j, k = ranges
    return image.crop((i, j, k)), labels.crop((i, j, k))


def neck_cut(labels: Volume, below_mm: float) -> int:
    """Voxels to cut from the feet's end, so that the image ends `below_mm` under the lowest label."""
    held = np.flatnonzero((labels.voxels > 0).any(axis=(0, 1)))
    return max(0, int(held[0] - round(below_mm / labels.spacing_mm[2]))) if len(held) else 0


def _moved(image: Volume, labels: Volume, draw: np.random.Generator, ranges: HeadRanges) -> tuple[Volume, Volume]:
    direction = draw.normal(size=3)
    rotation = direction / np.linalg.norm(direction) * draw.uniform(0, ranges.tilt)
    scale = np.exp(draw.uniform(-ranges.scale, ranges.scale) + draw.uniform(-0.5, 0.5, 3) * ranges.scale)
    return moved(image, labels, rotation, scale, draw.uniform(-ranges.shift, ranges.shift, 3))


def _shaded(image: Volume, draw: np.random.Generator, ranges: HeadRanges) -> Volume:
    if draw.random() < ranges.blur_chance:
        image = blurred(image, draw.uniform(0.3, ranges.blur))
    if draw.random() < ranges.bias_chance:
        image = with_bias(image, draw, draw.uniform(0, ranges.bias))
    if draw.random() < ranges.gamma_chance:
        image = with_gamma(image, float(np.exp(draw.uniform(-ranges.gamma, ranges.gamma))))
    return image


def _cut(image: Volume, labels: Volume, draw: np.random.Generator, ranges: HeadRanges) -> tuple[Volume, Volume]:
    """The field of view: neck, one side, and the other faces."""
    spacing = image.spacing_mm
    low, high = [0, 0, 0], [0, 0, 0]
    if draw.random() < ranges.neck_chance:
        low[2] = neck_cut(labels, draw.uniform(*ranges.neck))
    if draw.random() < ranges.side_chance:
        ends = (low, high)[int(draw.integers(2))]
        ends[0] = int(draw.uniform(0.1, 0.55) * image.shape[0])
    if draw.random() < ranges.edge_chance:
        for ends, axis in ((low, 1), (high, 1), (high, 2)):
            ends[axis] = int(draw.uniform(0, ranges.edge) / spacing[axis])
    for axis, size in enumerate(image.shape):  # something is left, also of a crop
        low[axis] = min(low[axis], size // 2)
        high[axis] = min(high[axis], size - 1 - low[axis])
    image, labels = cut(image, labels, (low[0], low[1], low[2]), (high[0], high[1], high[2]))
    if image.voxels.max() <= image.voxels.min():  # a stripped head whose brain was cut off
        image = noisy(Volume(image.voxels + 1, image.affine), draw, 0.05)
    return image, labels


def _brightest(image: Volume) -> float:
    return float(np.percentile(image.voxels[::2, ::2, ::2], _HIGH))


def _rotation(vector: np.ndarray) -> np.ndarray:
    """Rotation matrix [3, 3] of a rotation vector in radians (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-9:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
