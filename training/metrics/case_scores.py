"""Scores of a case: a mask against its reference, by class, on the native grid, in mm.

A miss counts; a class that is in neither mask is left out.

Metrics follow Maier-Hein and Reinke et al., "Metrics reloaded" (2024, arXiv 2206.01653): overlap by Dice, boundary by
HD95 and NSD, size by the error in ml. `swinunet.training.metrics.surfaces` says what a surface is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

from swinunet.foundation.errors import InputError
from swinunet.imaging import Volume
from swinunet.training.metrics.surfaces import surface, surface_distances

TOLERANCE_MM = 1.0  # of the NSD
IGNORED = 255  # in a reference: voxels that nobody annotated, neither learnt from nor scored
Outcome = Literal["found", "missed", "false_positive", "absent"]


@dataclass(frozen=True)
class ClassScore:
    """One class in one case. None: the class is absent from prediction and reference, and nothing is to be averaged.

    dice, nsd: 0 to 1. hd95_mm: 95 % Hausdorff distance, mm. volume_error_ml: predicted minus reference.
    A miss (reference there, nothing predicted) and a false positive (predicted, no reference) count Dice 0, NSD 0 and
    the volume's diagonal as HD95. `found` says that both hold the class, not that they overlap.
    """

    outcome: Outcome
    reference_ml: float
    predicted_ml: float
    dice: float | None = None
    hd95_mm: float | None = None
    nsd: float | None = None
    volume_error_ml: float | None = None
    absolute_volume_error_ml: float | None = None


def dice(predicted: np.ndarray, reference: np.ndarray, num_classes: int) -> np.ndarray:
    """Dice (1945) of foreground classes of two label maps of one shape: float64 [classes - 1].

    A class absent from both is NaN, to be left out of means; absent from one only, it is 0. Voxels that the reference
    ignores do not count.
    """
    predicted = without_ignored(predicted, reference)
    scores = np.full(num_classes - 1, np.nan)
    for index in range(1, num_classes):
        ours, theirs = predicted == index, reference == index
        total = int(ours.sum()) + int(theirs.sum())
        if total:
            scores[index - 1] = 2.0 * int((ours & theirs).sum()) / total
    return scores


def score_case(
    predicted: np.ndarray, reference: Volume, num_classes: int, tolerance_mm: float = TOLERANCE_MM
) -> tuple[ClassScore, ...]:
    """Every metric of foreground classes of one case; voxels that the reference ignores do not count.

    predicted: uint8 [I, J, K] labels on the reference's grid. reference: the labels, uint8, whose affine gives the mm;
    axes are taken as perpendicular, as DICOM's are. Raises InputError if the shapes differ.
    """
    if predicted.shape != reference.shape:
        raise InputError(f"the prediction is {predicted.shape}, the reference {reference.shape}; expected one grid")
    predicted = without_ignored(predicted, reference.voxels)
    ours = ndimage.find_objects(predicted, num_classes - 1)
    theirs = ndimage.find_objects(reference.voxels, num_classes - 1)
    return tuple(
        _score_class(predicted, reference, index + 1, (ours[index], theirs[index]), tolerance_mm)
        for index in range(num_classes - 1)
    )


def without_ignored(predicted: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """`predicted` with background where the reference says IGNORED; itself where it never does."""
    ignored = reference == IGNORED
    return np.where(ignored, 0, predicted).astype(predicted.dtype) if ignored.any() else predicted


def diagonal_mm(volume: Volume) -> float:
    """From one corner of the volume to the opposite one, mm: what a miss counts as HD95."""
    return float(np.linalg.norm(np.multiply(volume.shape, volume.spacing_mm)))


def _score_class(
    predicted: np.ndarray,
    reference: Volume,
    index: int,
    boxes: tuple[tuple[slice, ...] | None, tuple[slice, ...] | None],
    tolerance_mm: float,
) -> ClassScore:
    """One class. boxes: its bounding box in the prediction and in the reference, None where it is not."""
    present = [box for box in boxes if box is not None]
    if not present:
        return ClassScore("absent", 0.0, 0.0)
    box = _around(present, reference.shape)
    ours, theirs = predicted[box] == index, reference.voxels[box] == index
    a, b = int(ours.sum()), int(theirs.sum())
    reference_ml, predicted_ml = b * reference.voxel_ml, a * reference.voxel_ml
    error = predicted_ml - reference_ml
    if not a or not b:
        outcome: Outcome = "missed" if b else "false_positive"
        return ClassScore(outcome, reference_ml, predicted_ml, 0.0, diagonal_mm(reference), 0.0, error, abs(error))
    spacing = reference.spacing_mm
    distances = surface_distances(surface(ours, spacing), surface(theirs, spacing), spacing)
    return ClassScore(
        outcome="found",
        reference_ml=reference_ml,
        predicted_ml=predicted_ml,
        dice=2.0 * int((ours & theirs).sum()) / (a + b),
        hd95_mm=distances.hausdorff_mm(),
        nsd=distances.surface_dice(tolerance_mm),
        volume_error_ml=error,
        absolute_volume_error_ml=abs(error),
    )


def _around(boxes: list[tuple[slice, ...]], shape: tuple[int, int, int]) -> tuple[slice, ...]:
    """The box around `boxes` with a voxel of margin where the volume has one.

    The margin keeps a class one slice thick from looking like a two-dimensional image.
    """
    low = [max(0, min(box[axis].start for box in boxes) - 1) for axis in range(3)]
    high = [min(shape[axis], max(box[axis].stop for box in boxes) + 1) for axis in range(3)]
    return tuple(slice(a, b) for a, b in zip(low, high, strict=True))
