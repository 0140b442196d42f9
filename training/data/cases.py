"""Cases as training slices: split by case, read, checked against the spec and preprocessed."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from swinunet.foundation.errors import InputError
from swinunet.imaging import ModelSpec, StudySlices, Volume, plane_view
from swinunet.imaging.study_slices import Output
from swinunet.training.data.folders import CasePaths
from swinunet.training.data.groups import group_of
from swinunet.training.data.volume_store import CaseVolumes, read_volumes
from swinunet.training.metrics.case_scores import IGNORED

_AT_ONCE = 16  # slices of a case that are preprocessed together


def split_cases(
    cases: tuple[CasePaths, ...], validation_fraction: float, seed: int, group_by: str = ""
) -> tuple[list[CasePaths], list[CasePaths]]:
    """Training and validation cases, by group, shuffled with `seed`; each part has one group at least.

    group_by: as in `swinunet.training.data.groups.group_of`; the fraction is of the groups. Empty: each case is one.
    Raises InputError if there are fewer than two cases, or groups.
    """
    if len(cases) < 2:
        raise InputError(f"{len(cases)} labelled cases; training needs two at least, one of them to validate on")
    members: dict[str, list[CasePaths]] = {}
    for case in sorted(cases, key=lambda case: case.name):
        members.setdefault(group_of(case.name, group_by), []).append(case)
    if len(members) < 2:
        raise InputError(f"all {len(cases)} cases are of one group, {next(iter(members))!r}; training needs two groups")
    shuffled = sorted(members)
    random.Random(seed).shuffle(shuffled)
    held_out = min(max(1, round(len(shuffled) * validation_fraction)), len(shuffled) - 1)
    training, validation = (
        sorted((case for group in part for case in members[group]), key=lambda case: case.name)
        for part in (shuffled[held_out:], shuffled[:held_out])
    )
    return training, validation


PredictSlices = Callable[[np.ndarray, Output], np.ndarray]
"""A network: images float16 [B, C, H, W] and the output wanted, to labels [B, H, W] or probabilities
[B, classes, H, W]."""


@dataclass(frozen=True, eq=False)
class Case:
    """One case, preprocessed. images: float16 [S, C, H, W]; labels: uint8 [S, H, W], S slices of all planes.

    sagittal: bool [S], whether a slice is. annotated: bool [S], whether anybody annotated any of it; labels are
    IGNORED where nobody did. study: the images that predictions are made from, one for each modality.
    native_labels: the reference mask on the case's own grid.
    """

    name: str
    spec: ModelSpec
    study: tuple[Volume, ...]
    images: np.ndarray
    labels: np.ndarray
    sagittal: np.ndarray
    annotated: np.ndarray
    native_labels: Volume

    @property
    def labelled(self) -> np.ndarray:
        """Slices that hold a foreground label: bool [S]."""
        return ((self.labels > 0) & (self.labels != IGNORED)).any(axis=(1, 2))

    @property
    def label_ml(self) -> tuple[float, ...]:
        """Volume of each of the spec's labels in the reference, ml."""
        mask = self.native_labels
        return tuple(mask.voxel_ml * np.count_nonzero(mask.voxels == label.index) for label in self.spec.labels)

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
    return prepare_case(paths.name, *_checked(paths, spec, volumes or read_volumes(paths, spec.pixel_mm)), spec)


def load_volumes(paths: CasePaths, spec: ModelSpec, volumes: CaseVolumes | None = None) -> Case:
    """One case without slices: they are made of what an augmentation of the whole volume makes of it.

    volumes: what its files hold; None reads them. Raises InputError naming the case if image and labels do not belong
    together.
    """
    study, labels = _checked(paths, spec, volumes or read_volumes(paths, spec.pixel_mm))
    return Case(
        name=paths.name,
        spec=spec,
        study=tuple(_in_few_bytes(volume) for volume in study),
        images=np.empty((0, spec.in_channels, *spec.input_size), np.float16),
        labels=np.empty((0, *spec.input_size), np.uint8),
        sagittal=np.empty(0, bool),
        annotated=np.empty(0, bool),
        native_labels=labels,
    )


def _in_few_bytes(volume: Volume) -> Volume:
    """Whole numbers of 0..255 as bytes."""
    if not 0 <= volume.voxels.min() <= volume.voxels.max() <= 255:
        return volume
    small = volume.voxels.astype(np.uint8)
    return Volume(small, volume.affine) if np.array_equal(small, volume.voxels) else volume


def _checked(paths: CasePaths, spec: ModelSpec, volumes: CaseVolumes) -> tuple[tuple[Volume, ...], Volume]:
    """The images and the labels of a case. Raises InputError naming it if they do not belong together."""
    study, labels = volumes.study, volumes.labels
    if not labels.same_grid(study[0]):
        raise InputError(
            f"{paths.name}: image grid {study[0].shape} and label grid {labels.shape} differ in size or position"
        )
    highest = int(np.where(labels.voxels == IGNORED, 0, labels.voxels).max())
    if highest >= spec.num_classes:
        raise InputError(f"{paths.name}: label {highest} found, the spec has 0..{spec.num_classes - 1}")
    return study, labels


def prepare_case(name: str, study: tuple[Volume, ...], labels: Volume, spec: ModelSpec) -> Case:
    """Preprocess one case. Raises InputError naming it if the spec does not allow its images."""
    try:
        slices = StudySlices(study, spec)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    indices = range(len(slices))
    images = np.empty((len(slices), spec.in_channels, *spec.input_size), np.float16)
    for start, batch in slices.batches(_AT_ONCE):
        images[start : start + len(batch)] = batch
    network_labels = np.stack([slices.network_labels(labels.voxels, index) for index in indices])
    sagittal = np.array([slices.locate(index)[0].plane == "sagittal" for index in indices])
    return Case(name, spec, study, images, network_labels, sagittal, _annotated(slices, labels), labels)


def _annotated(slices: StudySlices, labels: Volume) -> np.ndarray:
    """Slices of which any voxel is not IGNORED: bool [S]. What pads a slice to the network's input does not count."""
    places = [slices.locate(index) for index in range(len(slices))]
    known = labels.voxels != IGNORED
    return np.array([bool(plane_view(known, labels.affine, view.plane)[at].any()) for view, at in places])


class HasVolumes(Protocol):
    """A case whose labels' volumes are known."""

    @property
    def annotated(self) -> np.ndarray:
        """Whether anybody annotated any of each slice: bool [S]; empty where slices are made later."""
        ...

    @property
    def label_ml(self) -> tuple[float, ...]:
        """Of each label of the spec, ml."""
        ...


def with_seen_volumes(spec: ModelSpec, cases: Sequence[HasVolumes]) -> ModelSpec:
    """The spec with each label's lowest and highest volume (ml) among the cases that hold it.

    Cases of a single slice say nothing of the structure's volume: no range then.
    """
    if all(len(case.annotated) == 1 for case in cases):
        return spec
    ranges = {}
    by_case = [case.label_ml for case in cases]
    for at, label in enumerate(spec.labels):
        held = [round(float(volumes[at]), 3) for volumes in by_case if volumes[at]]
        ranges[label.index] = (min(held), max(held)) if held else None
    labels = tuple(dataclasses.replace(label, volume_ml=ranges[label.index]) for label in spec.labels)
    return dataclasses.replace(spec, labels=labels)
