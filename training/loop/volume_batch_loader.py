"""Batches from whole volumes that are augmented before slices are made of them, in the place of `BatchLoader`.

An epoch takes every case once, in pools of `POOL` cases whose slices are shuffled together. Half of a case's slices
hold a label other than its largest one, so that a small structure in a large one is seen often enough. Everything is
seeded by (seed, epoch, pool or step): any step can be made without those before its pool.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from swinunet.foundation.errors import InputError
from swinunet.imaging import ModelSpec, PlaneSlices, Volume
from swinunet.training.data.cases import Case
from swinunet.training.loop.augmentation import augment
from swinunet.training.loop.batch_loader import Batch, seed_of
from swinunet.training.loop.distributed import ProcessGroup
from swinunet.training.loop.settings import TrainSettings
from swinunet.training.loop.volume_augmentation import volume_augmentation
from swinunet.training.metrics.case_scores import IGNORED

POOL = 8  # cases whose slices are shuffled together
SLICES = 24  # of a case, in an epoch


class VolumeBatchLoader:
    """The training slices, epoch by epoch, as `BatchLoader` gives them out. Raises InputError for several processes.

    cases: as `swinunet.training.data.cases.load_volumes` reads them; one that lies in a file is read when it is drawn.
    waited_s: how long the loop has waited for data since this was set to 0; made: slices given out since then.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        settings: TrainSettings,
        device: torch.device,
        spec: ModelSpec,
        group: ProcessGroup,
    ) -> None:
        if group.world_size > 1:
            raise InputError("augmentation of volumes runs in one process; leave out torchrun, or --augment-volumes")
        if spec.num_modalities > 1:
            raise InputError(f"augmentation of volumes takes one image a case, found {spec.num_modalities}")
        self._cases, self._settings, self._device, self._spec = cases, settings, device, spec
        self._change, self._sides = volume_augmentation(settings.augment_volumes), spec.side_pairs
        self._pool_steps = [
            math.ceil(len(cases[start : start + POOL]) * SLICES / settings.batch_size)
            for start in range(0, len(cases), POOL)
        ]
        self.steps = sum(self._pool_steps)
        self.waited_s, self.made = 0.0, 0

    def __len__(self) -> int:
        """Training slices of an epoch."""
        return len(self._cases) * SLICES

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """Each batch of an epoch, from `first_step` (0 is the first) on."""
        order = _generator(self._settings.seed, "order", epoch).permutation(len(self._cases))
        step = 0
        for pool, steps in enumerate(self._pool_steps):
            if step + steps <= first_step:
                step += steps
                continue
            began = time.perf_counter()
            images, labels, names = self._pool(order[pool * POOL : (pool + 1) * POOL], epoch, pool)
            self.waited_s += time.perf_counter() - began
            for part in range(steps):
                if step >= first_step:
                    at = slice(part * self._settings.batch_size, (part + 1) * self._settings.batch_size)
                    yield self._batch(images[at], labels[at], names[at], epoch, step)
                step += 1

    def _pool(self, chosen: np.ndarray, epoch: int, pool: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Slices of these cases, shuffled: float32 [N, C, H, W], uint8 [N, H, W], and the names of their cases."""
        images, labels, names = [], [], []
        for index in chosen:
            case, draw = self._cases[index], _generator(self._settings.seed, "volume", epoch, int(index))
            for image, found in self._slices(case, draw):
                images.append(image)
                labels.append(found)
                names.append(case.name)
        order = _generator(self._settings.seed, "pool", epoch, pool).permutation(len(names))
        return np.stack(images)[order], np.stack(labels)[order], [names[at] for at in order]

    def _slices(self, case: Case, draw: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        image, labels = self._change(case.study[0], case.native_labels, draw, self._sides)
        views = [PlaneSlices(image, self._spec, plane) for plane in self._spec.planes]
        for plane, count in enumerate(np.bincount(np.arange(SLICES) % len(views))):
            view = views[plane]
            for at in _chosen(view, labels, int(count), draw):
                yield view.image(at), view.network_labels(labels.voxels, at)

    def _batch(self, images: np.ndarray, labels: np.ndarray, names: list[str], epoch: int, step: int) -> Batch:
        began = time.perf_counter()
        generator = torch.Generator().manual_seed(seed_of(self._settings.seed, "augment", epoch, step, 0))
        image = torch.from_numpy(images).to(self._device)
        found = torch.from_numpy(labels).to(self._device).long()
        # A mirror image is made of the volume, where the labels of sides are swapped: none of the slices.
        image, found = augment(image, found, self._settings.augmentation, generator, self._spec.context_slices)
        self.waited_s += time.perf_counter() - began
        self.made += len(names)
        return Batch(image, found, tuple(names))


def _chosen(view: PlaneSlices, labels: Volume, count: int, draw: np.random.Generator) -> np.ndarray:
    """`count` slices of a view: half of them, where there are such, with a label other than the largest one.

    Slices that nobody annotated are left out.
    """
    small = view.holding(labels.voxels, _all_but_the_largest(labels.voxels))
    some = draw.choice(small, min(count // 2, len(small)), replace=False) if len(small) else small
    annotated = view.holding(labels.voxels, np.arange(IGNORED))
    every = annotated if len(annotated) else np.arange(len(view))
    rest = draw.choice(every, count - len(some), replace=len(every) < count - len(some))
    return np.concatenate([some, rest]).astype(int)


def _all_but_the_largest(labels: np.ndarray) -> np.ndarray:
    counts = np.bincount(labels.ravel(), minlength=IGNORED + 1)
    counts[[0, IGNORED]] = 0
    found = np.flatnonzero(counts)
    return found[found != counts.argmax()] if len(found) > 1 else found


def _generator(*parts: object) -> np.random.Generator:
    return np.random.default_rng(seed_of(*parts))
