"""Probabilities of several readings added up on a study's grid, in bounded memory."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator
from typing import get_args

import numpy as np

from swinunet.foundation.errors import OutputError
from swinunet.imaging.slices import plane_view
from swinunet.imaging.spec import Plane

_MOST_BYTES = 2**26  # of sums in memory


class ProbabilitySums:
    """Sums float32 [classes, I, J, K] of slices of probabilities, over a grid of I x J x K voxels.

    Up to 64 MiB they are in memory. Larger ones would be 4 bytes a class and voxel: then the slices wait in an unnamed
    temporary file as float16, 2 bytes a class, voxel and reading, each cut along I, and are added up a slab at a time.
    """

    def __init__(self, num_classes: int, shape: tuple[int, int, int], affine: np.ndarray) -> None:
        self._classes, self._shape, self._affine = num_classes, shape, affine
        depth = max(1, _MOST_BYTES // (4 * num_classes * shape[1] * shape[2]))
        self._slabs = [slice(start, min(start + depth, shape[0])) for start in range(0, shape[0], depth)]
        self._whole = self._zeros(self._slabs[0]) if len(self._slabs) == 1 else None
        self._views = None if self._whole is None else self._views_of(self._whole)
        self._file = tempfile.TemporaryFile() if self._whole is None else None  # noqa: SIM115 - gone with this object
        self._waiting: list[list[tuple[int, Plane, int, tuple[int, ...]]]] = [[] for _ in self._slabs]

    def add(self, plane: Plane, at: int, probabilities: np.ndarray) -> None:
        """Add a slice's, float32 [classes, rows, columns] of `plane_view`. Raises OutputError if the disk is full."""
        if self._views is not None:
            _add_up(self._views[plane], at, probabilities)
            return
        axis, index = self._first_axis(plane)
        for slab, waiting in zip(self._slabs, self._waiting, strict=True):
            inside = (index >= slab.start) & (index < slab.stop)
            if axis > 0:
                self._put_aside(waiting, plane, at, probabilities.compress(inside, axis))
            elif inside[at]:
                self._put_aside(waiting, plane, at - int(inside.argmax()), probabilities)

    def slabs(self) -> Iterator[tuple[slice, np.ndarray]]:
        """The sums, float32 [classes, i, J, K], of one range of I after the other."""
        if self._whole is not None:
            yield self._slabs[0], self._whole
            return
        assert self._file is not None
        for slab, waiting in zip(self._slabs, self._waiting, strict=True):
            sums = self._zeros(slab)
            views = self._views_of(sums)
            for offset, plane, at, shape in waiting:
                self._file.seek(offset)
                stored = np.frombuffer(self._file.read(2 * math.prod(shape)), np.float16)
                _add_up(views[plane], at, stored.reshape(shape))
            yield slab, sums

    def _zeros(self, slab: slice) -> np.ndarray:
        return np.zeros((self._classes, slab.stop - slab.start, *self._shape[1:]), np.float32)

    def _views_of(self, sums: np.ndarray) -> dict[Plane, list[np.ndarray]]:
        """Each class's sums as `plane_view` shows them."""
        return {plane: [plane_view(each, self._affine, plane) for each in sums] for plane in get_args(Plane)}

    def _first_axis(self, plane: Plane) -> tuple[int, np.ndarray]:
        """Which axis of `plane_view` runs along I, and the I at each place of it."""
        numbers = np.broadcast_to(np.arange(self._shape[0])[:, None, None], self._shape)
        view = plane_view(numbers, self._affine, plane)
        axis = int(np.flatnonzero(view.strides)[0])
        return axis, np.moveaxis(view, axis, 0)[:, 0, 0]

    def _put_aside(
        self, waiting: list[tuple[int, Plane, int, tuple[int, ...]]], plane: Plane, at: int, probabilities: np.ndarray
    ) -> None:
        assert self._file is not None
        offset = self._file.tell()
        try:
            self._file.write(probabilities.astype(np.float16).tobytes())
            self._file.flush()
        except OSError as error:
            raise OutputError(
                f"{tempfile.gettempdir()}: cannot write ({os.strerror(error.errno or 0)}); probabilities of "
                f"{self._classes} classes in several planes wait there: set TMPDIR to a folder with more room"
            ) from None
        waiting.append((offset, plane, at, probabilities.shape))


def _add_up(views: list[np.ndarray], at: int, probabilities: np.ndarray) -> None:
    """Add [classes, rows, columns] to slice `at` of each class."""
    for view, share in zip(views, probabilities, strict=True):
        view[at] += share
