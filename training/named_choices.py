"""The names that settings may have, where they name one of several things. No torch here: the command line asks first.

What each name stands for is told where it is implemented, in the modules that are named below.
"""

from __future__ import annotations

from swinunet.foundation.errors import InputError
from swinunet.foundation.nearest import did_you_mean

LOSSES = ("dice-ce", "dice-bce", "dice-focal", "dice-balanced", "slice-dice-ce")  # loop/losses.py
INITS = ("normal", "xavier")  # network/initialise.py
VOLUME_AUGMENTATIONS = ("head",)  # loop/volume_augmentation.py
DEVICES = ("auto", "cpu", "cuda")  # loop/hardware.py
PRECISIONS = ("auto", "fp32", "bf16", "fp16")


def require_loss(name: str) -> None:
    """Raises InputError, listing the names, if there is no such loss."""
    base, _, _ = name.partition("+")
    if base not in LOSSES or name.partition("+")[1:] not in (("", ""), ("+", "boundary")):
        names = ", ".join(LOSSES)
        raise InputError(
            f"no loss is named {name!r}; choose one of {names}, or one of them with +boundary after it"
            f"{did_you_mean(base, LOSSES)}"
        )


def require_init(name: str) -> None:
    """Raises InputError, listing the names, if weights cannot be drawn so."""
    if name not in INITS:
        raise InputError(f"no init is named {name!r}; choose one of {', '.join(INITS)}")


def require_device(name: str) -> None:
    """Raises InputError, listing the names, for what names no device."""
    kind, colon, index = name.partition(":")
    if kind not in DEVICES or (colon and not (kind == "cuda" and index.isdigit())):
        raise InputError(f"device {name!r}; expected cpu, cuda, cuda:N or auto")


def require_precision(name: str) -> None:
    """Raises InputError, listing the names, if there is no such precision."""
    if name not in PRECISIONS:
        raise InputError(f"precision {name!r}; expected auto, fp32, bf16 or fp16")


def require_volume_augmentation(name: str) -> None:
    """Raises InputError, listing the names, if there is no such augmentation of whole volumes."""
    if name not in VOLUME_AUGMENTATIONS:
        raise InputError(
            f"no augmentation of volumes is named {name!r}; choose one of {', '.join(VOLUME_AUGMENTATIONS)}"
        )
