"""The fingerprint of a folder of labelled images: its figures, and which of its cases are broken; made before training.

    folder = DataFolder.open(Path("Task04_Hippocampus"), keep_broken=True)
    found = examine_folder(folder)
    found.broken            # each case that cannot be used, and why
    found.spacing_mm()      # and what else the spec follows from, see training/data/derive_spec.py

Each thread has one case in memory; of each, only figures are kept, and its volumes where a store is given.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from swinunet.foundation.errors import InputError
from swinunet.imaging import Volume
from swinunet.training.data.folders import BrokenCase, CasePaths, DataFolder, unnamed_labels
from swinunet.training.data.volume_store import VolumeStore, read_volumes
from swinunet.training.metrics.case_scores import IGNORED

PERCENTILES = (0.5, 50.0, 99.5)
THREADS = min(4, os.cpu_count() or 1)  # files are unpacked in parallel; a thread holds one case
_SAMPLES = 10_000  # foreground voxels kept of a case
_MAX_SORTED = 2_000_000  # voxels of which percentiles are taken


@dataclass(frozen=True)
class CaseFacts:
    """Figures of one case. Axes are the patient's: L, P, S.

    intensities: for each modality its percentiles (PERCENTILES). foreground: the same of labelled voxels, empty where
    there are none. label_voxels: voxels of each label value, background included; ignored_voxels: those that nobody
    annotated, which are in none of the other figures of labels. digest: of the image's voxels.
    """

    name: str
    size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    modalities: int
    intensities: tuple[tuple[float, ...], ...]
    foreground: tuple[tuple[float, ...], ...]
    label_voxels: dict[int, int]
    ignored_voxels: int
    digest: str
    samples: tuple[np.ndarray, ...] = field(repr=False, compare=False)  # labelled voxels of each modality, float32

    @property
    def is_empty(self) -> bool:
        """Whether every voxel is background."""
        return set(self.label_voxels) <= {0}

    def label_ml(self, index: int) -> float:
        """Volume of a label, in ml."""
        return self.label_voxels.get(index, 0) * math.prod(self.spacing_mm) / 1000

    def as_dict(self) -> dict[str, object]:
        """For JSON, without the samples."""
        fields = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        del fields["samples"]
        return fields | {"empty": self.is_empty}


@dataclass(frozen=True)
class Fingerprint:
    """What was found in a folder. cases: the usable ones. remarks: what is no fault, but good to know."""

    folder: DataFolder
    cases: tuple[CaseFacts, ...]
    broken: tuple[BrokenCase, ...]
    label_names: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def modalities(self) -> int:
        """Images of a study."""
        return self.cases[0].modalities if self.cases else max(1, len(self.folder.modalities))

    @property
    def usable(self) -> DataFolder:
        """The folder without its broken cases, its labels named."""
        good = {case.name for case in self.cases}
        cases = tuple(case for case in self.folder.cases if case.name in good)
        return dataclasses.replace(self.folder, cases=cases, broken=(), indexed_labels=self.label_names)

    def without(self, broken: Sequence[BrokenCase]) -> Fingerprint:
        """The same, with these cases counted as broken."""
        bad = {case.name for case in broken}
        cases = tuple(case for case in self.cases if case.name not in bad)
        return dataclasses.replace(self, cases=cases, broken=(*self.broken, *broken))

    def spacing_mm(self) -> tuple[float, float, float]:
        """Median spacing along L, P and S, in mm."""
        left, back, head = np.median([case.spacing_mm for case in self.cases], axis=0)
        return float(left), float(back), float(head)

    def extents_mm(self) -> np.ndarray:
        """Extent of each case along L, P and S: float64 [cases, 3], mm."""
        return np.array([np.multiply(case.size, case.spacing_mm) for case in self.cases])

    def class_voxels(self) -> list[int]:
        """Voxels of each class over all cases, background first: [classes]."""
        total: Counter[int] = Counter()
        for case in self.cases:
            total.update(case.label_voxels)
        return [total[index] for index in range(len(self.label_names) + 1)]

    def class_cases(self) -> list[int]:
        """Cases in which each class is, background first: [classes]."""
        return [sum(index in case.label_voxels for case in self.cases) for index in range(len(self.label_names) + 1)]

    def as_dict(self) -> dict[str, object]:
        """For fingerprint.json."""
        extents = self.extents_mm() if self.cases else np.zeros((1, 3))
        names = ("background", *self.label_names)
        return {
            "data": self.folder.name,
            "modalities": list(self.folder.modalities) or self.modalities,
            "axes": "LPS",
            "median_spacing_mm": self.spacing_mm() if self.cases else None,
            "smallest_mm": extents.min(axis=0).tolist(),
            "largest_mm": extents.max(axis=0).tolist(),
            "percentiles": PERCENTILES,
            "classes": [
                {"index": index, "name": name, "voxels": voxels, "cases": cases}
                for index, (name, voxels, cases) in enumerate(
                    zip(names, self.class_voxels(), self.class_cases(), strict=True)
                )
            ],
            "ignored_voxels": sum(case.ignored_voxels for case in self.cases),
            "remarks": self.remarks,
            "skipped": [dataclasses.asdict(case) for case in self.broken],
            "cases": [case.as_dict() for case in self.cases],
        }


def examine_folder(
    folder: DataFolder,
    label_names: tuple[str, ...] | None = None,
    tick: Callable[[], None] = lambda: None,
    threads: int = THREADS,
    store: VolumeStore | None = None,
    pixel_mm: float | None = None,
) -> Fingerprint:
    """Read every case of `folder` once, and find what is there and what is broken.

    label_names: of foreground classes in a given spec; None takes the index's, or as many as are found.
    tick: called after each case. store: keeps the volumes that were read, for whoever needs them next; None keeps none.
    pixel_mm: side of a pixel of images that do not say it (PNG); None takes 1 mm.
    Raises InputError if the label maps hold nothing but background, or values with gaps where nothing names them.
    """

    def examine(paths: CasePaths) -> CaseFacts | BrokenCase:
        try:
            volumes = read_volumes(paths, pixel_mm)
            facts = _examine(paths.name, volumes.study, volumes.labels)
        except InputError as error:
            return BrokenCase(paths.name, str(error))
        if store:
            store.keep(paths, volumes)
        return facts

    found: list[CaseFacts | BrokenCase] = []
    with ThreadPoolExecutor(threads) as pool:
        for each in pool.map(examine, folder.cases):
            found.append(each)
            tick()
    facts = [each for each in found if isinstance(each, CaseFacts)]
    broken = [*folder.broken, *(each for each in found if isinstance(each, BrokenCase))]
    if facts and all(case.is_empty for case in facts):
        raise InputError(f"{folder.root}: no labels: every voxel of all {len(facts)} label maps is 0 (background)")
    names = label_names or _label_names(folder, facts)
    known = "the spec" if label_names else "dataset.json" if folder.indexed_labels else "the folder"
    for problem in (
        _wrong_modalities(facts, folder),
        _unknown_labels(facts, len(names), known),
        _copies(facts),
    ):
        broken += problem
        bad = {case.name for case in problem}
        facts = [case for case in facts if case.name not in bad]
    return Fingerprint(folder, tuple(facts), tuple(broken), names, tuple(_remarks(folder, facts, names, pixel_mm)))


def _examine(name: str, study: Sequence[Volume], labels: Volume) -> CaseFacts:
    """The figures of one case. Raises InputError saying what is wrong with it."""
    first = study[0]
    for index, volume in enumerate(study[1:], start=1):
        if not volume.same_grid(first):
            raise InputError(
                f"modality {index} has the grid {volume.shape}, the first {first.shape}, or they lie apart"
            )
    if not labels.same_grid(first):
        raise InputError(f"image grid {first.shape} and label grid {labels.shape} differ in size or position")
    for index, volume in enumerate(study):
        named = f"modality {index} of the image" if len(study) > 1 else "the image"
        if not np.isfinite(volume.voxels).all():
            raise InputError(f"{named} has voxels that are not finite numbers")
        if volume.voxels.min() == volume.voxels.max():
            raise InputError(f"{named} is empty: every voxel is {volume.voxels.flat[0]:g}")
    counts = np.bincount(labels.voxels.ravel(), minlength=IGNORED + 1)
    if not counts[:IGNORED].any():
        raise InputError("nothing of it is annotated: every voxel has the label `ignore`")
    labelled = (labels.voxels > 0) & (labels.voxels != IGNORED)
    view = first.lps_view()
    left, back, head = view.shape
    foreground = [volume.voxels[labelled] for volume in study]
    return CaseFacts(
        name=name,
        size=(left, back, head),
        spacing_mm=view.spacing_mm,
        modalities=len(study),
        intensities=tuple(_percentiles(volume.voxels.ravel()) for volume in study),
        foreground=tuple(_percentiles(voxels) for voxels in foreground) if labelled.any() else (),
        label_voxels={index: int(count) for index, count in enumerate(counts[:IGNORED]) if count},
        ignored_voxels=int(counts[IGNORED]),
        digest=_digest(study),
        samples=tuple(_some(voxels, _SAMPLES).copy() for voxels in foreground),
    )


def _percentiles(voxels: np.ndarray) -> tuple[float, ...]:
    """PERCENTILES of voxels [N], of an even share of them where there are very many."""
    return tuple(round(float(value), 4) for value in np.percentile(_some(voxels, _MAX_SORTED), PERCENTILES))


def _some(voxels: np.ndarray, limit: int) -> np.ndarray:
    """Every n-th voxel of [N], `limit` at most."""
    return voxels[:: -(-len(voxels) // limit) or 1]


def _digest(study: Sequence[Volume]) -> str:
    """SHA-256 over shape and voxels of all modalities."""
    digest = hashlib.sha256(repr([volume.shape for volume in study]).encode())
    for volume in study:
        digest.update(volume.voxels.tobytes())
    return digest.hexdigest()


def _label_names(folder: DataFolder, facts: list[CaseFacts]) -> tuple[str, ...]:
    """Names of foreground classes, the index's or made up. Raises InputError for unnamed values with gaps."""
    if folder.indexed_labels is not None:
        return folder.indexed_labels
    seen = sorted({value for case in facts for value in case.label_voxels} - {0})
    if seen != list(range(1, len(seen) + 1)):
        shown = ", ".join(str(value) for value in seen[:20])
        raise InputError(
            f"{folder.root}: the label maps hold the values {shown}; expected 1, 2, ... without a gap: renumber them, "
            "or name every class in a dataset.json"
        )
    return unnamed_labels(len(seen))


def _wrong_modalities(facts: list[CaseFacts], folder: DataFolder) -> list[BrokenCase]:
    """Cases of another number of modalities than the index's, or without one than most."""
    counts = Counter(case.modalities for case in facts)
    if not counts:
        return []
    expected = len(folder.modalities) or counts.most_common(1)[0][0]
    source = "dataset.json names" if folder.modalities else "most cases have"
    return [
        BrokenCase(case.name, f"{_modalities(case.modalities)} found, {source} {_modalities(expected)}")
        for case in facts
        if case.modalities != expected
    ]


def _unknown_labels(facts: list[CaseFacts], highest: int, known: str) -> list[BrokenCase]:
    return [
        BrokenCase(case.name, f"label {max(case.label_voxels)} found, {known} has 0..{highest}")
        for case in facts
        if max(case.label_voxels) > highest
    ]


def _copies(facts: list[CaseFacts]) -> list[BrokenCase]:
    """All but the first of cases with the same voxels: one in each part of the split would flatter the figures."""
    first: dict[str, str] = {}
    return [
        BrokenCase(case.name, f"the same image as {first[case.digest]}; keep one")
        for case in facts
        if first.setdefault(case.digest, case.name) != case.name
    ]


def _remarks(folder: DataFolder, facts: list[CaseFacts], names: tuple[str, ...], pixel_mm: float | None) -> list[str]:
    remarks = []
    empty = [case.name for case in facts if case.is_empty]
    if ignored := [case for case in facts if case.ignored_voxels]:
        voxels = sum(case.ignored_voxels for case in ignored)
        share = 100 * voxels / sum(math.prod(case.size) for case in ignored)
        remarks.append(
            f"{voxels} voxels of {len(ignored)} cases ({share:.3g} % of theirs) have the label `ignore`: they are left "
            "out of loss and scores"
        )
    if empty:
        remarks.append(f"cases without a labelled voxel: {len(empty)} ({_listed(empty)})")
    seen = {value for case in facts for value in case.label_voxels}
    unseen = [name for index, name in enumerate(names, start=1) if index not in seen]
    if unseen:
        remarks.append(f"no case has {_listed(unseen)}: a class without examples cannot be learnt")
    if facts and all(min(case.size) == 1 for case in facts):
        remarks.append("single slices: each a case of its own; without --group-by a patient may fall on both sides")
    if any(path.suffix.lower() == ".png" for case in folder.cases for path in case.images):
        size = "taken as 1 mm; --pixel-mm says it" if pixel_mm is None else f"{pixel_mm:g} mm, as the user says"
        remarks.append(f"PNG does not say how large a pixel is: {size}")
    spacings: dict[tuple[float, ...], list[str]] = defaultdict(list)
    for case in facts:
        spacings[tuple(round(value, 1) for value in case.spacing_mm)].append(case.name)
    if len(spacings) > 1:
        remarks.append(f"{len(spacings)} different spacings (to 0.1 mm)")
    return remarks


def _listed(names: Sequence[str], shown: int = 5) -> str:
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


def _modalities(number: int) -> str:
    return f"{number} modality" if number == 1 else f"{number} modalities"
