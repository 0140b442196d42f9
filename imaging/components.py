"""Post-processing of a mask by what anatomy allows: how many pieces the labelled structures may be in."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

_NEIGHBOURS = np.ones((3, 3, 3), bool)  # 26-connected: pieces that touch at a corner are one


def keep_largest(labels: np.ndarray) -> int:
    """Keep, in place, the largest connected piece of the foreground (all labels together) of a mask.

    labels: uint8 [I, J, K]. Of pieces of one size the first in array order stays. Returns the voxels set to 0.
    """
    foreground = np.nonzero(labels)
    if not foreground[0].size:
        return 0
    box = tuple(slice(int(axis.min()), int(axis.max()) + 1) for axis in foreground)
    pieces, count = ndimage.label(labels[box] > 0, _NEIGHBOURS)
    if count == 1:
        return 0
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    labels[box][pieces != sizes.argmax()] = 0
    return int(sizes.sum() - sizes.max())
