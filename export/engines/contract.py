"""What every engine takes and returns: the wire contract, `image` float16 in, `labels` and `probabilities` out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from swinunet.foundation.errors import InputError


class Outputs(NamedTuple):
    """labels: uint8 [B, H, W]; probabilities: float16 [B, K, H, W]."""

    labels: np.ndarray
    probabilities: np.ndarray


Run = Callable[[np.ndarray], Outputs]


@dataclass(frozen=True)
class Loaded:
    """An engine ready to run.

    run: image float16 [B, C, H, W] to Outputs, which are good until the next run.
    describe: what it is and how it computes, asked after the first run. import_s: its library's import, s.
    """

    run: Run
    describe: Callable[[], str]
    import_s: float = 0.0


def expect_file(path: Path, remedy: str) -> Path:
    """`path`. Raises InputError, with the remedy, if no such file is there."""
    if not path.is_file():
        raise InputError(f"{path} is missing; {remedy}")
    return path
