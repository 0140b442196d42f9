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


MAX_BATCH_SIZE = 16  # slices; of the configs, and of a TensorRT plan

Run = Callable[[np.ndarray], Outputs]


@dataclass(frozen=True)
class LoadedEngine:
    """An engine ready to run.

    run: image float16 [B, C, H, W] to Outputs, which are good until the next run.
    describe: what it is and how it computes, asked after the first run. import_s: its library's import, s.
    """

    run: Run
    describe: Callable[[], str]
    import_s: float = 0.0


def require_file(path: Path, engine: str) -> Path:
    """`path`. Raises InputError, naming the engine whose export makes it, if no such file is there."""
    if not path.is_file():
        raise InputError(f"{path} is missing; export this version again with --engine {engine}")
    return path
