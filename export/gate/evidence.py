"""What the gate judges on: labelled cases that the model was not trained on, or real images without labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from swinunet.export.graph.quantisation import split_slices
from swinunet.export.sample_slices import sample_studies
from swinunet.foundation.errors import InputError
from swinunet.imaging import ModelSpec, Volume
from swinunet.training.data.cases import Case, load_case, prepare_case
from swinunet.training.data.folders import CasePaths, DataFolder, holds_labels
from swinunet.training.data.split_file import read_part

MAX_CASES = 40
_SLICE_CASES = 4  # whose slices the tensors are compared on


@dataclass(frozen=True, eq=False)
class Evidence:
    """spec: of the model. description: what this is, for the report. labelled: whether the cases have reference labels.

    A case without labels has an empty mask for its reference. _training: labelled cases that are not judged.
    """

    spec: ModelSpec
    description: str
    labelled: bool
    _training: tuple[CasePaths, ...]
    _files: tuple[CasePaths, ...]
    _studies: tuple[tuple[Volume, ...], ...]

    @property
    def count(self) -> int:
        """Number of cases."""
        return len(self._files) + len(self._studies)

    def cases(self) -> Iterator[Case]:
        """Each case, preprocessed when it is asked for. Raises InputError naming one that cannot be used."""
        for paths in self._files:
            yield load_case(paths, self.spec)
        for index, study in enumerate(self._studies):
            nothing = Volume(np.zeros(study[0].shape, np.uint8), study[0].affine)
            yield prepare_case(f"image {index + 1}", study, nothing, self.spec)

    def slices(self) -> np.ndarray:
        """Network inputs of the first few cases: float16 [N, C, H, W]."""
        first = zip(range(_SLICE_CASES), self.cases(), strict=False)
        return np.concatenate([case.images for _, case in first])

    def calibration(self) -> np.ndarray:
        """Slices to calibrate int8 on, float16 [N, C, H, W]: of a few training cases, which nothing is judged by.

        Where none are known, half of the slices that are judged.
        """
        if not self._training:
            return split_slices(self.slices())[0]
        spread = np.unique(np.linspace(0, len(self._training) - 1, _SLICE_CASES).round().astype(int))
        return np.concatenate([load_case(self._training[at], self.spec).images for at in spread])


def gather_evidence(spec: ModelSpec, data: Path | None, split: Path, *, assume_ras: bool = False) -> Evidence:
    """The evidence in `data`: a labelled folder, images (see `sample_slices.py`), or None.

    split: split.json of the model's run, where it exists: its validation cases are taken where the folder has any, and
    its training cases never. assume_ras: as in `read_nifti`. Raises InputError if nothing is left, or what reading the
    data raises.
    """
    if data is None:
        studies = tuple(sample_studies(spec, None))
        return Evidence(spec, "the MNI152 T1 brain, no labels", False, (), (), studies)
    if not holds_labels(data):
        studies = tuple(sample_studies(spec, data, assume_ras=assume_ras))
        return Evidence(spec, f"{len(studies)} images of {data.name}, no labels", False, (), (), studies)
    folder = DataFolder.open(data, assume_ras=assume_ras)
    chosen, description = unseen_cases(folder, split)
    training = tuple(case for case in folder.cases if case not in chosen) if split.is_file() else ()
    taken = [chosen[int(at)] for at in np.unique(np.linspace(0, len(chosen) - 1, MAX_CASES).round())]
    if len(taken) < len(chosen):
        description = f"{len(taken)} of {description}"
    return Evidence(spec, f"{folder.name}: {description}", True, training, tuple(taken), ())


def unseen_cases(folder: DataFolder, split: Path) -> tuple[list[CasePaths], str]:
    """Cases that a model was not trained on, its validation cases where there are any, and which these are in words.

    split: split.json of the model's run, if it exists. Raises InputError if it is broken, or no case is left.
    """
    cases = list(folder.cases)
    if not split.is_file():
        return cases, f"{len(cases)} labelled cases (no split.json: some may be training cases)"
    training, validation = set(read_part(split, "training")), set(read_part(split, "validation"))
    held_out = [case for case in cases if case.name in validation]
    if held_out:
        return held_out, f"{len(held_out)} validation cases of split.json"
    unseen = [case for case in cases if case.name not in training]
    if not unseen:
        raise InputError(
            f"{folder.root}: all its cases were trained on ({split}); judge on cases the model has not seen"
        )
    return unseen, f"{len(unseen)} labelled cases that split.json does not name"
