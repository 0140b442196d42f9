"""Connected pieces of a mask, and post-processing by what anatomy allows: how many pieces structures may be in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import cc3d
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from swinunet.imaging.slices import in_memory_order

_NEIGHBOURS: Final = 26  # pieces that touch at a corner are one
_SLAB_VOXELS = 2**21  # that are labelled at a time


class Pieces:
    """The 26-connected pieces of a mask, each of one value, numbered as they begin in memory.

    mask: uint8 [I, J, K]. values: uint8 [N], the mask's in each piece. sizes: int64 [N], in voxels.
    A slab of slices is labelled at a time, and pieces are joined where slabs meet: besides the mask that takes tens of
    megabytes, however large the mask is.
    """

    def __init__(self, mask: np.ndarray) -> None:
        self._stack = in_memory_order(mask)
        parts, sizes, values, joins = 0, [np.empty(0, np.int64)], [np.empty(0, np.uint8)], [np.empty((2, 0), np.int32)]
        self._firsts: list[int] = []  # of each slab: how many parts of pieces the slabs before it have
        below: np.ndarray | None = None
        for at, labels, count in self._slabs():
            if below is not None:
                joins.append(_pairs(below, _numbered(labels[0], parts)))
            value = np.zeros(count + 1, np.uint8)
            value[labels] = self._stack[at.start : at.start + len(labels)]
            values.append(value[1:])
            sizes.append(np.bincount(labels[: at.stop - at.start].ravel(), minlength=count + 1)[1:])
            below = _numbered(labels[-1], parts)
            self._firsts.append(parts)
            parts += count
        one, other = np.hstack(joins)
        graph = coo_array((np.ones(len(one), bool), (one, other)), shape=(parts + 1, parts + 1))
        count, self._piece = connected_components(graph, directed=False)  # piece 0 is part 0, the background
        self.sizes = np.bincount(self._piece[1:] - 1, np.concatenate(sizes), count - 1).astype(np.int64)
        self.values = np.empty(count - 1, np.uint8)
        self.values[self._piece[1:] - 1] = np.concatenate(values)

    def erase_all_but(self, kept: int) -> None:
        """Set every piece of the mask but number `kept` to 0."""
        for first, (at, labels, _) in zip(self._firsts, self._slabs(), strict=True):
            own = labels[: at.stop - at.start]
            self._stack[at][self._piece[_numbered(own, first)] != kept + 1] = 0

    def _slabs(self) -> Iterator[tuple[slice, np.ndarray, int]]:
        """Slices of the stack, the numbers of their pieces from 1 up, and how many; the next slice, if any, with them.

        Because of that next slice the stack may be changed up to the slab's end before the next slab is asked for.
        """
        depth = max(1, _SLAB_VOXELS // self._stack[0].size)
        for start in range(0, len(self._stack), depth):
            stop = min(start + depth, len(self._stack))
            labels, count = cc3d.connected_components(
                np.ascontiguousarray(self._stack[start : stop + 1]), connectivity=_NEIGHBOURS, return_N=True
            )
            yield slice(start, stop), labels, count


def keep_largest(labels: np.ndarray) -> int:
    """Keep, in place, the largest connected piece of the foreground (all labels together) of a mask.

    labels: uint8 [I, J, K]. Of pieces of one size the first in memory stays. Returns the voxels set to 0.
    """
    foreground = (labels > 0).view(np.uint8)  # cc3d 4.1 fails on some bool masks
    pieces = Pieces(foreground)
    if len(pieces.sizes) < 2:
        return 0
    pieces.erase_all_but(int(pieces.sizes.argmax()))
    np.copyto(labels, 0, where=foreground == 0)
    return int(pieces.sizes.sum() - pieces.sizes.max())


def _numbered(labels: np.ndarray, first: int) -> np.ndarray:
    """A slab's numbers among those of all slabs, int32; 0 stays 0."""
    return np.where(labels > 0, labels.astype(np.int32) + first, 0)


def _pairs(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Which numbers are on the same voxels, int32 [2, N]; of runs of the same two only the first."""
    pairs = np.stack([one.ravel(), other.ravel()])
    changes = (pairs[:, 1:] != pairs[:, :-1]).any(axis=0)
    return pairs[:, np.concatenate([[True], changes])]
