"""Batches for the loop: which slices an epoch sees, gathered ahead of the step that needs them, augmented.

Everything random is seeded by (seed, epoch, step, process), so any step can be made without those before it: batches
are gathered by several threads in any order, and a resumed run sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from swinunet.foundation.errors import InputError
from swinunet.training.data.array_file import Rows
from swinunet.training.loop.augmentation import augment
from swinunet.training.loop.distributed import ProcessGroup
from swinunet.training.loop.settings import TrainSettings

GPU_WORKERS = 4


@dataclass(frozen=True, eq=False)
class Batch:
    """image: float32 [B, C, H, W], labels: int64 [B, H, W], both on the device; cases: the name behind each slice."""

    image: Tensor
    labels: Tensor
    cases: tuple[str, ...]

    def describe(self) -> str:
        """The cases in words, or those whose image is broken."""
        finite = torch.isfinite(self.image).flatten(1).all(dim=1).tolist()
        broken = sorted({name for name, fine in zip(self.cases, finite, strict=True) if not fine})
        if broken:
            return f"the image of {', '.join(broken)} is not finite"
        return f"slices of {', '.join(sorted(set(self.cases)))}"


class Slices(Protocol):
    """What is drawn from, of one case: as training/data/cases.py's Case describes it."""

    @property
    def name(self) -> str: ...

    @property
    def images(self) -> Rows: ...

    @property
    def labels(self) -> Rows: ...

    @property
    def sagittal(self) -> np.ndarray: ...

    @property
    def annotated(self) -> np.ndarray: ...

    @property
    def labelled(self) -> np.ndarray: ...


class BatchLoader:
    """The training slices, epoch by epoch. Raises InputError where batches do not divide among the processes.

    cases: their slices stay where they are, in memory or in a file; a batch copies its own. Slices that nobody
        annotated are never drawn.
    waited_s: how long the loop has waited for data since this was set to 0; made: slices given out since then.
    """

    def __init__(
        self,
        cases: Sequence[Slices],
        settings: TrainSettings,
        device: torch.device,
        context_slices: int,
        group: ProcessGroup,
    ) -> None:
        if settings.batch_size % group.world_size:
            raise InputError(
                f"a batch of {settings.batch_size} slices does not divide among {group.world_size} processes"
            )
        self._settings, self._device, self._group, self._context = settings, device, group, context_slices
        self._cases = list(cases)
        self._place = [(at, row) for at, case in enumerate(self._cases) for row in range(len(case.labels))]
        self._sagittal = torch.from_numpy(np.concatenate([case.sagittal for case in cases]))
        labelled, annotated = (
            torch.from_numpy(np.concatenate([getattr(case, name) for case in cases]))
            for name in ("labelled", "annotated")
        )
        self._full, self._empty = labelled.nonzero().flatten(), (annotated & ~labelled).nonzero().flatten()
        self._empties = math.ceil(settings.empty_share * len(self._empty))
        slices = (len(self._full) + self._empties) // group.world_size * group.world_size
        self.steps = math.ceil(slices / settings.batch_size)
        if not self.steps:
            raise InputError(f"{len(self._place)} slices do not make one batch for {group.world_size} processes")
        self._workers = settings.workers if settings.workers is not None else GPU_WORKERS * (device.type == "cuda")
        self.waited_s, self.made = 0.0, 0

    def __len__(self) -> int:
        """Training slices, drawn or not."""
        return len(self._place)

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """This process's share of each batch of an epoch, from `first_step` (0 is the first) on."""
        shares = [share[self._group.rank :: self._group.world_size] for share in self._order(epoch)]
        gathered = self._ahead(shares[first_step:]) if self._workers else map(self._gather, shares[first_step:])
        for step in range(first_step, len(shares)):
            began = time.perf_counter()
            image, labels = next(gathered)
            batch = self._augmented(image, labels, shares[step], epoch, step)
            self.waited_s += time.perf_counter() - began
            self.made += len(shares[step]) * self._group.world_size
            yield batch

    def _order(self, epoch: int) -> tuple[Tensor, ...]:
        """Index batches of all processes: every slice with a label, a random share of the empty ones, shuffled."""
        generator = torch.Generator().manual_seed(seed_of(self._settings.seed, "order", epoch))
        empty = self._empty[torch.randperm(len(self._empty), generator=generator)[: self._empties]]
        drawn = torch.cat([self._full, empty])
        drawn = drawn[torch.randperm(len(drawn), generator=generator)]
        return drawn[: len(drawn) // self._group.world_size * self._group.world_size].split(self._settings.batch_size)

    def _ahead(self, shares: list[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        with ThreadPoolExecutor(self._workers) as pool:
            pending: deque[Future[tuple[Tensor, Tensor]]] = deque()
            for share in shares:
                pending.append(pool.submit(self._gather, share))
                if len(pending) > 2 * self._workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()

    def _gather(self, share: Tensor) -> tuple[Tensor, Tensor]:
        places = [self._place[index] for index in share.tolist()]
        first = self._cases[0]
        images = np.empty((len(places), *first.images.shape[1:]), np.float16)
        masks = np.empty((len(places), *first.labels.shape[1:]), np.uint8)
        for at, (case, row) in enumerate(places):
            images[at], masks[at] = self._cases[case].images[row], self._cases[case].labels[row]
        image, labels = torch.from_numpy(images), torch.from_numpy(masks)
        return (image.pin_memory(), labels.pin_memory()) if self._device.type == "cuda" else (image, labels)

    def _augmented(self, image: Tensor, labels: Tensor, share: Tensor, epoch: int, step: int) -> Batch:
        """Moved to the device as stored, in few bytes, and augmented there."""
        image = image.to(self._device, non_blocking=True).float()
        labels = labels.to(self._device, non_blocking=True).long()
        sagittal = self._sagittal[share].to(self._device)
        seed = seed_of(self._settings.seed, "augment", epoch, step, self._group.rank)
        generator = torch.Generator().manual_seed(seed)
        image, labels = augment(image, labels, self._settings.augmentation, generator, self._context, sagittal)
        return Batch(image, labels, tuple(self._cases[self._place[index][0]].name for index in share.tolist()))


def seed_of(*parts: object) -> int:
    """A seed below 2^56 for a random generator, from what must give the same numbers again."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=7).digest())
