"""Cases as training slices: split by case, read, checked against the spec and preprocessed."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from swinunet.foundation.errors import InputError
from swinunet.imaging import ModelSpec, StudySlices, Volume
from swinunet.imaging.study_slices import Output
from swinunet.training.data.folders import CasePaths
from swinunet.training.data.volume_store import CaseVolumes, VolumeStore, read_volumes


def split_cases(
    cases: tuple[CasePaths, ...], validation_fraction: float, seed: int
) -> tuple[list[CasePaths], list[CasePaths]]:
    """Training and validation cases, by case, shuffled with `seed`; each part has one case at least.

    Raises InputError if there are fewer than two cases.
    """
    if len(cases) < 2:
        raise InputError(f"{len(cases)} labelled cases; training needs two at least, one of them to validate on")
    shuffled = sorted(cases, key=lambda case: case.name)
    random.Random(seed).shuffle(shuffled)
    held_out = min(max(1, round(len(cases) * validation_fraction)), len(cases) - 1)
    return sorted(shuffled[held_out:], key=lambda c: c.name), sorted(shuffled[:held_out], key=lambda c: c.name)


PredictSlices = Callable[[np.ndarray, Output], np.ndarray]
"""A network: images float16 [B, C, H, W] and the output wanted, to labels [B, H, W] or probabilities
[B, classes, H, W]."""


@dataclass(frozen=True, eq=False)
class Case:
    """One case, preprocessed. images: float16 [S, C, H, W]; labels: uint8 [S, H, W], S slices of all planes.

    sagittal: bool [S], whether a slice is. study: the images that predictions are made from, one for each modality.
    native_labels: the reference mask on the case's own grid.
    """

    name: str
    spec: ModelSpec
    study: tuple[Volume, ...]
    images: np.ndarray
    labels: np.ndarray
    sagittal: np.ndarray
    native_labels: Volume

    def predict(self, predict_slices: PredictSlices, batch: int) -> np.ndarray:
        """A network's mask on the case's own grid, post-processed as the spec says: uint8 [I, J, K].

        The network is given `batch` slices at a time.
        """
        slices = StudySlices(self.study, self.spec)
        for start in range(0, len(self.images), batch):
            slices.add(start, predict_slices(self.images[start : start + batch], slices.output))
        return slices.mask()


def load_case(paths: CasePaths, spec: ModelSpec, volumes: CaseVolumes | None = None) -> Case:
    """Preprocess one case. volumes: what its files hold; None reads them.

    Raises InputError naming the case if image and labels do not belong together.
    """
    volumes = volumes or read_volumes(paths)
    study, labels = volumes.study, volumes.labels
    if not labels.same_grid(study[0]):
        raise InputError(
            f"{paths.name}: image grid {study[0].shape} and label grid {labels.shape} differ in size or position"
        )
    if labels.voxels.max() >= spec.num_classes:
        raise InputError(f"{paths.name}: label {labels.voxels.max()} found, the spec has 0..{spec.num_classes - 1}")
    return prepare_case(paths.name, study, labels, spec)


def prepare_case(name: str, study: tuple[Volume, ...], labels: Volume, spec: ModelSpec) -> Case:
    """Preprocess one case. Raises InputError naming it if the spec does not allow its images."""
    try:
        slices = StudySlices(study, spec)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    indices = range(len(slices))
    images = np.concatenate([image for _, image in slices.batches(len(slices))])
    network_labels = np.stack([slices.network_labels(labels.voxels, index) for index in indices])
    sagittal = np.array([slices.locate(index)[0].plane == "sagittal" for index in indices])
    return Case(name, spec, study, images, network_labels, sagittal, labels)


def load_cases(
    paths: list[CasePaths], spec: ModelSpec, tick: Callable[[], None] = lambda: None, store: VolumeStore | None = None
) -> list[Case]:
    """`load_case` for each, with the volumes that `store` has kept; `tick` is called after each."""
    store = store or VolumeStore(0)
    cases = []
    for case in paths:
        cases.append(load_case(case, spec, store.take(case)))
        tick()
    return cases


def with_seen_volumes(spec: ModelSpec, cases: list[Case]) -> ModelSpec:
    """The spec with each label's lowest and highest volume (ml) among the cases that hold it."""
    ranges = {}
    for label in spec.labels:
        masks = [case.native_labels for case in cases]
        volumes = [mask.voxel_ml * np.count_nonzero(mask.voxels == label.index) for mask in masks]
        held = [round(float(volume_ml), 3) for volume_ml in volumes if volume_ml]
        ranges[label.index] = (min(held), max(held)) if held else None
    labels = tuple(dataclasses.replace(label, volume_ml=ranges[label.index]) for label in spec.labels)
    return dataclasses.replace(spec, labels=labels)
