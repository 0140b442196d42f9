"""Voxels of all phases of a series in time, on one grid, in bounded memory."""

from __future__ import annotations

import math
import os
import tempfile

import numpy as np

from swinunet.foundation.errors import OutputError

_MOST_BYTES = 2**26  # in memory


class PhaseStack:
    """Voxels [I, J, K] of each of T phases, all 0 at first.

    Up to 64 MiB they are in memory, beyond in an unnamed temporary file that is mapped. Raises OutputError if there is
    no room for that.
    """

    def __init__(self, phases: int, shape: tuple[int, int, int], dtype: np.dtype) -> None:
        columns, rows, slices = shape
        self._voxels = _zeros((phases, slices, rows, columns), dtype)

    def phase(self, number: int) -> np.ndarray:
        """Those of one phase, counted from 0, to read and to write: [I, J, K]."""
        return self._voxels[number].transpose(2, 1, 0)

    @property
    def in_time(self) -> np.ndarray:
        """All, the phase as the last axis, as NIfTI has it: [I, J, K, T]."""
        return self._voxels.transpose(3, 2, 1, 0)

    @property
    def in_one_stack(self) -> np.ndarray:
        """All, the slices of one phase after those of the one before: [I, J, T * K]."""
        return self._voxels.reshape(-1, *self._voxels.shape[2:]).transpose(2, 1, 0)


def _zeros(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    size = math.prod(shape) * dtype.itemsize
    if size <= _MOST_BYTES:
        return np.zeros(shape, dtype)
    try:
        with tempfile.TemporaryFile() as file:  # the mapping keeps it until it is gone itself
            os.posix_fallocate(file.fileno(), 0, size)  # a full disk is an error here, not a crash later
            return np.memmap(file, dtype, "r+", shape=shape)
    except OSError as error:
        raise OutputError(
            f"{tempfile.gettempdir()}: cannot write ({os.strerror(error.errno or 0)}); the {shape[0]} phases of a "
            f"series wait there ({size >> 20} MiB): set TMPDIR to a folder with more room"
        ) from None
