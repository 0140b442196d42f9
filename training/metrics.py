"""How a mask is judged: per case, on the native grid; a miss counts, an absent class in both is left out."""

from __future__ import annotations

import numpy as np


def dice(predicted: np.ndarray, reference: np.ndarray, num_classes: int) -> np.ndarray:
    """Dice (1945) of classes 1..K-1 of two label maps of one shape: float64 [K-1].

    A class absent from both is NaN, to be left out of means; absent from one only, it is 0.
    """
    scores = np.full(num_classes - 1, np.nan)
    for index in range(1, num_classes):
        ours, theirs = predicted == index, reference == index
        total = int(ours.sum()) + int(theirs.sum())
        if total:
            scores[index - 1] = 2.0 * int((ours & theirs).sum()) / total
    return scores
