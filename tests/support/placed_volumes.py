"""Volumes whose voxels say where they lie, in every order and direction of the array axes."""

from __future__ import annotations

import itertools

import numpy as np

from swinunet.imaging import Volume


def axis_orders() -> list[np.ndarray]:
    """All 48 signed permutations as 3x3 matrices, with three different spacings."""
    found = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            matrix = np.zeros((3, 3))
            for axis, (row, sign) in enumerate(zip(order, signs, strict=True)):
                matrix[row, axis] = sign * (1.0, 1.5, 2.0)[axis]
            found.append(matrix)
    return found


def place(
    matrix: np.ndarray, shape: tuple[int, int, int] = (5, 6, 7), origin: tuple[float, ...] = (3, -4, 5)
) -> Volume:
    """A volume whose voxels say where they are: value = L + 100 P + 10000 S (mm)."""
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = matrix, origin
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    lps = index @ affine[:3, :3].T + affine[:3, 3]
    return Volume((lps @ [1.0, 100.0, 10000.0]).astype(np.float64), affine)
