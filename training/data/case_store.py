"""Where a run keeps its cases once they are preprocessed: in memory up to a limit, the rest in a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from swinunet.imaging import Volume
from swinunet.training.data.array_file import ArrayFile, Rows, StoredArray
from swinunet.training.data.cases import Case


@dataclass(frozen=True, eq=False)
class CaseSlices:
    """What of a case an epoch draws from, fields as Case's; and the volumes (ml) of its labels."""

    name: str
    images: Rows
    labels: Rows
    sagittal: np.ndarray
    annotated: np.ndarray
    labelled: np.ndarray
    label_ml: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class StoredCase:
    """A case whose arrays are in a file. case: without them; voxels: of its study; native: of its labels."""

    case: Case
    images: StoredArray
    labels: StoredArray
    voxels: tuple[StoredArray, ...]
    native: StoredArray

    def read(self) -> Case:
        """The case, its arrays newly read."""
        study = zip(self.voxels, self.case.study, strict=True)
        return dataclasses.replace(
            self.case,
            study=tuple(Volume(voxels.whole(), volume.affine) for voxels, volume in study),
            images=self.images.whole(),
            labels=self.labels.whole(),
            native_labels=Volume(self.native.whole(), self.case.native_labels.affine),
        )


class CaseList(Sequence[Case]):
    """Cases in their order; one that is in a file is read each time that it is asked for."""

    def __init__(self, kept: Iterable[Case | StoredCase]) -> None:
        self._kept = list(kept)

    def __len__(self) -> int:
        return len(self._kept)

    @overload
    def __getitem__(self, at: int) -> Case: ...

    @overload
    def __getitem__(self, at: slice) -> CaseList: ...

    def __getitem__(self, at: int | slice) -> Case | CaseList:
        if isinstance(at, slice):
            return CaseList(self._kept[at])
        kept = self._kept[at]
        return kept.read() if isinstance(kept, StoredCase) else kept


class CaseStore:
    """Gives room to cases: `limit_bytes` of memory, then `file`, which appears once it is needed."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self.file, self._free = ArrayFile(path), limit_bytes

    def keep_slices(self, case: Case) -> CaseSlices:
        """Keep what an epoch draws from; the rest of the case is let go. Raises OutputError."""
        images, labels = case.images, case.labels
        stored = not self._has_room(images.nbytes + labels.nbytes)
        return CaseSlices(
            name=case.name,
            images=self.file.append(images) if stored else images,
            labels=self.file.append(labels) if stored else labels,
            sagittal=case.sagittal,
            annotated=case.annotated,
            labelled=case.labelled,
            label_ml=case.label_ml,
        )

    def keep(self, case: Case) -> Case | StoredCase:
        """Keep all of a case. Raises OutputError."""
        volumes = (*case.study, case.native_labels)
        if self._has_room(case.images.nbytes + case.labels.nbytes + sum(each.voxels.nbytes for each in volumes)):
            return case
        nothing = np.zeros((1, 1, 1), np.uint8)
        bare = dataclasses.replace(
            case,
            study=tuple(Volume(nothing, volume.affine) for volume in case.study),
            images=nothing,
            labels=nothing,
            native_labels=Volume(nothing, case.native_labels.affine),
        )
        return StoredCase(
            case=bare,
            images=self.file.append(case.images),
            labels=self.file.append(case.labels),
            voxels=tuple(self.file.append(volume.voxels) for volume in case.study),
            native=self.file.append(case.native_labels.voxels),
        )

    def _has_room(self, size: int) -> bool:
        if size > self._free:
            return False
        self._free -= size
        return True
