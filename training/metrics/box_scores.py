"""How well boxes that a locator drew hold the structures they are drawn for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from swinunet.imaging import ModelSpec, Volume
from swinunet.imaging.location import Location

HELD = 0.99  # share of a structure's voxels that a box must hold
_NEAR_MM = 15.0  # of a structure's place, from which a box that is called otherwise is taken for a swap


@dataclass(frozen=True)
class BoxScore:
    """One box. label: of the locator. whole: whether the image holds all of the structure.

    held: share of its voxels that the box holds. needed_mm: the margin that holds `HELD` of them; None: not found.
    swapped: it lies on the other side.
    """

    label: str
    true_ml: float
    whole: bool
    found: bool
    held: float
    needed_mm: float | None
    swapped: bool

    @property
    def holds(self) -> bool:
        """Whether it is a box for this structure that holds enough of it."""
        return self.found and not self.swapped and self.held >= HELD


def score_boxes(labels: Volume, spec: ModelSpec, location: Location, margin_mm: float) -> list[BoxScore]:
    """Each part of a location against `labels` (uint8, any grid; indices as in the locator's spec).

    Also one that is not in the image at all.
    """
    index_of = {label.name: label.index for label in spec.labels}
    centres = {
        name: _places(labels, index).mean(axis=0) for name, index in index_of.items() if (labels.voxels == index).any()
    }
    scores = []
    for part in location.parts:
        places, whole = _places(labels, index_of[part.label]), _is_whole(labels, index_of[part.label])
        held, needed, swapped = 0.0, None, False
        if part.found:
            low = part.places_mm.min(axis=0) - part.voxel_mm / 2
            high = part.places_mm.max(axis=0) + part.voxel_mm / 2
            beyond = np.maximum(low - places, places - high).max(axis=1) if len(places) else np.empty(0)
            needed = float(np.quantile(beyond, HELD, method="inverted_cdf")) if len(places) else None
            held = float((beyond <= margin_mm).mean()) if len(places) else 0.0
            others = [other.label for other in location.parts if other is not part]
            swapped = any(_nearer((low + high) / 2, centres, other, part.label) for other in others)
        scores.append(BoxScore(part.label, len(places) * labels.voxel_ml, whole, part.found, held, needed, swapped))
    return scores


def _places(labels: Volume, index: int) -> np.ndarray:
    """LPS mm of the voxels of a label: [N, 3]."""
    return np.argwhere(labels.voxels == index) @ labels.affine[:3, :3].T + labels.affine[:3, 3]


def _is_whole(labels: Volume, index: int) -> bool:
    """Whether the label is there and touches no face of the image."""
    (box,) = ndimage.find_objects((labels.voxels == index).astype(np.uint8)) or (None,)
    return box is not None and all(
        each.start > 0 and each.stop < size for each, size in zip(box, labels.shape, strict=True)
    )


def _nearer(place: np.ndarray, centres: dict[str, np.ndarray], other: str, own: str) -> bool:
    """Whether `place` is nearer to the other side's true place than to its own; also where its own is not there."""
    if other not in centres:
        return False
    to_other = np.linalg.norm(place - centres[other])
    return bool(to_other < np.linalg.norm(place - centres[own])) if own in centres else bool(to_other < _NEAR_MM)
