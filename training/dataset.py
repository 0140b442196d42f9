"""A Medical Segmentation Decathlon folder as training slices: found, checked, split by case and preprocessed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imaging import Code, Label, ModelSpec, SliceSampler, Volume, ZScore, read_nifti, read_nifti_labels
from swinunet.errors import InputError

_MODALITIES = {"MRI": "MR", "MR": "MR", "T1": "MR", "T2": "MR", "CT": "CT"}
_COLORS = ((230, 80, 60), (70, 150, 240), (250, 200, 60), (90, 200, 120), (190, 110, 220), (240, 140, 40))
_TISSUE = Code("85756007", "SCT", "Tissue")  # CID 7191: the property type where a data set names no other


@dataclass(frozen=True)
class CasePaths:
    """One labelled image: its name and its two files."""

    name: str
    image: Path
    labels: Path


@dataclass(frozen=True)
class MsdFolder:
    """What `dataset.json` says of a folder in the layout of medicaldecathlon.com."""

    root: Path
    name: str
    licence: str
    attribution: str
    modality: str
    label_names: tuple[str, ...]  # of indices 1..K-1
    cases: tuple[CasePaths, ...]

    @staticmethod
    def open(root: Path) -> MsdFolder:
        """Read `root/dataset.json`. Raises InputError if it is missing or broken, or a listed file is not there."""
        index = root / "dataset.json"
        try:
            said = json.loads(index.read_text())
            labels = {int(value): name for value, name in said["labels"].items()}
            pairs = [(root / case["image"], root / case["label"]) for case in said["training"]]
            modalities = list(said["modality"].values())
        except FileNotFoundError:
            raise InputError(f"{root}: no dataset.json; expected a Medical Segmentation Decathlon folder") from None
        except (json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{index}: broken ({error!r}); expected the Decathlon's layout") from None
        if len(modalities) != 1:
            raise InputError(f"{index}: {len(modalities)} modalities; this trainer takes images of one channel")
        if sorted(labels) != list(range(len(labels))) or len(labels) < 2:
            raise InputError(f"{index}: labels {sorted(labels)}; expected 0 (background), 1, 2, ... without a gap")
        missing = [path.name for pair in pairs for path in pair if not path.is_file()]
        if missing:
            raise InputError(f"{root}: {len(missing)} listed files are not there, the first {missing[0]}")
        cases = tuple(
            CasePaths(image.name.removesuffix(".gz").removesuffix(".nii"), image, label) for image, label in pairs
        )
        return MsdFolder(
            root=root,
            name=str(said.get("name", root.name)),
            licence=str(said.get("licence", "")),
            attribution=str(said.get("reference", "")),
            modality=_MODALITIES.get(str(modalities[0]).upper(), str(modalities[0])),
            label_names=tuple(labels[index] for index in range(1, len(labels))),
            cases=cases,
        )

    def default_spec(self, input_size: tuple[int, int]) -> ModelSpec:
        """A spec for this folder where the user brings none: sagittal, the first case's in-plane spacing, z-scored."""
        first = read_nifti(self.cases[0].image).lps_view().spacing_mm
        labels = tuple(
            Label(index=index, name=name, color=_COLORS[(index - 1) % len(_COLORS)], type=_TISSUE)
            for index, name in enumerate(self.label_names, start=1)
        )
        return ModelSpec(
            name="swin_unet_" + "".join(c if c.isalnum() else "_" for c in self.name.lower()),
            version=1,
            modality=self.modality,
            body_part="",
            plane="sagittal",
            context_slices=7,
            context_step_mm=round(first[0], 3),
            input_size=input_size,
            spacing_mm=(round(first[2], 3), round(first[1], 3)),
            intensity=ZScore(),
            labels=labels,
        )


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


@dataclass(frozen=True, eq=False)
class Case:
    """One case, preprocessed. images: float16 [S, C, H, W]; labels: uint8 [S, H, W], S native slices.

    native_labels: the reference mask on the case's own grid; sampler: the way back to that grid.
    """

    name: str
    sampler: SliceSampler
    images: np.ndarray
    labels: np.ndarray
    native_labels: Volume


def load_case(paths: CasePaths, spec: ModelSpec) -> Case:
    """Read and preprocess one case. Raises InputError naming it if image and labels do not belong together."""
    image, labels = read_nifti(paths.image), read_nifti_labels(paths.labels)
    if image.shape != labels.shape or not np.allclose(image.affine, labels.affine, atol=1e-3):
        raise InputError(
            f"{paths.name}: image grid {image.shape} and label grid {labels.shape} differ in size or position"
        )
    if labels.voxels.max() >= spec.num_classes:
        raise InputError(f"{paths.name}: label {labels.voxels.max()} found, the spec has 0..{spec.num_classes - 1}")
    try:
        sampler = SliceSampler(image, spec)
    except InputError as error:
        raise InputError(f"{paths.name}: {error}") from None
    slices = range(len(sampler))
    network_labels = np.stack([sampler.network_labels(labels.voxels, index) for index in slices])
    return Case(paths.name, sampler, sampler.batch(0, len(sampler)), network_labels, labels)


def load_cases(paths: list[CasePaths], spec: ModelSpec, tick: Callable[[], None] = lambda: None) -> list[Case]:
    """`load_case` for each, with `tick` called after each."""
    cases = []
    for case in paths:
        cases.append(load_case(case, spec))
        tick()
    return cases
