"""Cases as training slices: split by case, read, checked against the spec and preprocessed."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from imaging import ModelSpec, StudySampler, Volume, read_labels, read_study
from imaging.study_sampler import Output
from swinunet.errors import InputError
from training.folders import CasePaths
from training.groups import group_of


def split_cases(
    cases: tuple[CasePaths, ...], validation_fraction: float, seed: int, group_by: str = ""
) -> tuple[list[CasePaths], list[CasePaths]]:
    """Training and validation cases, by group, shuffled with `seed`; each part has one group at least.

    group_by: as in `training.groups.group_of`; the fraction is of the groups. Empty: each case is one.
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


Ask = Callable[[np.ndarray, Output], np.ndarray]
"""A network: image float16 [B, C, H, W] and what is wanted of it, to labels [B, H, W] or probabilities [B, K, H, W]."""


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

    def predict(self, ask: Ask, batch: int) -> np.ndarray:
        """A network's mask on the case's own grid, post-processed as the spec says: uint8 [I, J, K].

        The network is asked for `batch` slices at a time.
        """
        sampler = StudySampler(self.study, self.spec)
        for start in range(0, len(self.images), batch):
            sampler.add(start, ask(self.images[start : start + batch], sampler.output))
        return sampler.mask()


def load_case(paths: CasePaths, spec: ModelSpec) -> Case:
    """Read and preprocess one case. Raises InputError naming it if image and labels do not belong together."""
    return prepare_case(paths.name, *read_case(paths, spec), spec)


def read_case(paths: CasePaths, spec: ModelSpec) -> tuple[tuple[Volume, ...], Volume]:
    """The images and the labels of one case. Raises InputError naming it if they do not belong together."""
    study, labels = read_study(paths.images, spec.pixel_mm), read_labels(paths.labels, spec.pixel_mm)
    if not labels.same_grid(study[0]):
        raise InputError(
            f"{paths.name}: image grid {study[0].shape} and label grid {labels.shape} differ in size or position"
        )
    if labels.voxels.max() >= spec.num_classes:
        raise InputError(f"{paths.name}: label {labels.voxels.max()} found, the spec has 0..{spec.num_classes - 1}")
    return study, labels


def prepare_case(name: str, study: tuple[Volume, ...], labels: Volume, spec: ModelSpec) -> Case:
    """Preprocess one case. Raises InputError naming it if the spec does not allow its images."""
    try:
        sampler = StudySampler(study, spec)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    slices = range(len(sampler))
    images = np.concatenate([image for _, image in sampler.batches(len(sampler))])
    network_labels = np.stack([sampler.network_labels(labels.voxels, index) for index in slices])
    sagittal = np.array([sampler.locate(index)[0].plane == "sagittal" for index in slices])
    return Case(name, spec, study, images, network_labels, sagittal, labels)


def load_cases(paths: list[CasePaths], spec: ModelSpec, tick: Callable[[], None] = lambda: None) -> list[Case]:
    """`load_case` for each, with `tick` called after each."""
    cases = []
    for case in paths:
        cases.append(load_case(case, spec))
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
