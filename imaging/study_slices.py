"""A study's slices along every plane the spec names, and its mask from what the network predicts for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from swinunet.imaging.components import keep_largest
from swinunet.imaging.probability_sums import ProbabilitySums
from swinunet.imaging.slices import PlaneSlices, plane_view
from swinunet.imaging.spec import ModelSpec, Plane
from swinunet.imaging.volume import Volume

Output = Literal["labels", "probabilities"]


class StudySlices:
    """The slices of a study in all its readings (ModelSpec.readings), numbered through, and the mask they make.

    slices = StudySlices(study, spec)
    for start, images in slices.batches(8):
        slices.add(start, predict(images))  # labels or probabilities, as `slices.output` says
    mask = slices.mask()

    restore: "labels" brings labels to the native grid by nearest neighbour; "probabilities" brings probabilities there,
        linearly, and takes the largest. Several readings are always averaged as probabilities, see `ProbabilitySums`;
        otherwise nothing is kept beside the mask but, with probabilities, 1 byte a voxel.
    confidence: 255 times the winning probability, uint8 [I, J, K], whole once `mask` was called; None with labels.
    Raises what PlaneSlices raises, for the first reading that does.
    """

    def __init__(self, study: Volume | Sequence[Volume], spec: ModelSpec, restore: Output = "labels") -> None:
        first = PlaneSlices(study, spec, *spec.readings[0])
        others = (PlaneSlices(study, spec, plane, mirrored, first) for plane, mirrored in spec.readings[1:])
        self.views = (first, *others)
        self.output: Output = "probabilities" if len(self.views) > 1 else restore
        volume = study if isinstance(study, Volume) else study[0]
        self._affine, self._components = volume.affine, spec.components
        self._labels = np.zeros_like(volume.voxels, np.uint8)  # in memory as the volume lies: slices are whole pieces
        self._sums = ProbabilitySums(spec.num_classes, volume.shape, volume.affine) if len(self.views) > 1 else None
        self.confidence = np.zeros(volume.shape, np.uint8) if self.output == "probabilities" else None

    def __len__(self) -> int:
        """Slices of all readings."""
        return sum(len(view) for view in self.views)

    def batches(self, size: int) -> Iterator[tuple[int, np.ndarray]]:
        """(first slice, network inputs float16 [B, C, H, W]) with B up to `size`, all of one reading."""
        first = 0
        for view in self.views:
            for start in range(0, len(view), size):
                yield first + start, view.batch(start, min(start + size, len(view)))
            first += len(view)

    def locate(self, index: int) -> tuple[PlaneSlices, int]:
        """The reading that slice `index` belongs to, and its number there."""
        for view in self.views:
            if index < len(view):
                return view, index
            index -= len(view)
        raise IndexError(index)

    def network_labels(self, labels: np.ndarray, index: int) -> np.ndarray:
        """Labels [I, J, K] of the study's grid at slice `index`, on the network's grid: uint8 [H, W]."""
        view, at = self.locate(index)
        return view.network_labels(labels, at)

    def add(self, start: int, predicted: np.ndarray) -> None:
        """Take the prediction of slices from `start` on: labels [B, H, W] or probabilities [B, classes, H, W]."""
        for offset, one in enumerate(predicted):
            view, at = self.locate(start + offset)
            if self.output == "labels":
                view.restore(self._labels, at, one)
                continue
            restored = view.restore_probabilities(one)
            if self._sums is None:
                assert self.confidence is not None
                self._native(self._labels, view.plane)[at] = restored.argmax(axis=0)
                self._native(self.confidence, view.plane)[at] = _as_byte(restored.max(axis=0))
            else:
                self._sums.add(view.plane, at, restored)

    def mask(self) -> np.ndarray:
        """The mask on the study's grid, post-processed as the spec says, once every slice is in: uint8 [I, J, K]."""
        if self._sums is not None:
            assert self.confidence is not None
            for at, sums in self._sums.slabs():
                for index, each in enumerate(sums.swapaxes(0, 1), at.start):
                    self._labels[index] = each.argmax(axis=0)
                    self.confidence[index] = _as_byte(each.max(axis=0) / len(self.views))
        if self._components == "largest":
            keep_largest(self._labels)
        return self._labels

    def _native(self, voxels: np.ndarray, plane: Plane) -> np.ndarray:
        return plane_view(voxels, self._affine, plane)


def _as_byte(probability: np.ndarray) -> np.ndarray:
    """0..1 as 0..255; linear restoration may leave the range by a rounding error."""
    return np.rint(probability * 255).clip(0, 255).astype(np.uint8)
