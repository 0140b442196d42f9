"""Augmentations of whole volumes by name, before slices are made of them. A new one is a function, a line here
and its name in named_choices.py.

head    heads as hospitals send them: tilted, stripped, cut, noisy (training/loop/head_augmentation.py); labels that
        name sides are swapped where the image is mirrored
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from swinunet.imaging import Volume
from swinunet.training.loop.head_augmentation import Sides, as_sent
from swinunet.training.named_choices import require_volume_augmentation

VolumeAugmentation = Callable[[Volume, Volume, np.random.Generator, Sides], tuple[Volume, Volume]]
"""Image and labels on one grid, a generator, and pairs of labels that a mirror swaps, to image and labels."""

VOLUME_AUGMENTATIONS: dict[str, VolumeAugmentation] = {"head": as_sent}


def volume_augmentation(name: str) -> VolumeAugmentation:
    """The augmentation of that name. Raises InputError, listing the names, if there is none."""
    require_volume_augmentation(name)
    return VOLUME_AUGMENTATIONS[name]
