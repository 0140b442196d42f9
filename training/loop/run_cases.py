"""The cases of a run, preprocessed: shared out among the processes of a machine, and kept within its memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from swinunet.foundation.errors import SwinUNetError
from swinunet.imaging import ModelSpec
from swinunet.training.data.case_store import CaseList, CaseSlices, CaseStore, StoredCase
from swinunet.training.data.cases import Case, load_case, load_volumes
from swinunet.training.data.folders import CasePaths
from swinunet.training.data.volume_store import VolumeStore
from swinunet.training.loop.distributed import ProcessGroup

MIB = 2**20
_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class RunCases:
    """training: what an epoch draws from; validation: whole cases; both in the order of their paths.

    volumes: training cases without slices, instead of `training`, where whole volumes are augmented; else empty.
    """

    training: list[CaseSlices]
    validation: CaseList
    holds_labels: bool  # whether a validation case has any
    volumes: CaseList


_Kept = list[Case | StoredCase]
_Part = tuple[CaseStore, list[CaseSlices], _Kept, bool, _Kept]


def volume_store(memory_mib: int) -> VolumeStore:
    """Room for volumes between examination and preprocessing: half of the memory, which slices take over later."""
    return VolumeStore(memory_mib * MIB // 2)


def load_run_cases(
    parts: tuple[list[CasePaths], list[CasePaths]],
    specs: tuple[ModelSpec, ModelSpec],
    folder: Path,
    memory_mib: int,
    group: ProcessGroup | None = None,
    volumes: VolumeStore | None = None,
    tick: Callable[[], None] = lambda: None,
    whole_volumes: bool = False,
) -> RunCases:
    """Preprocess training and validation cases, each part with its spec.

    whole_volumes: make no slices of the training cases yet; their volumes are augmented first.
    At most half of `memory_mib` holds slices; what is beyond lies in a nameless file in `folder`. Several processes on
    one machine take equal shares of the work, and all their slices lie in such files, which they share.
    Raises InputError naming a case that cannot be used, OutputError where the file finds no room.
    """
    group = group or ProcessGroup()
    limit = memory_mib * MIB // 2 if group.world_size == 1 else 0
    store, volumes = CaseStore(folder / f".{os.getpid()}.{group.rank}.slices", limit), volumes or VolumeStore(0)
    own = [part[group.local_rank :: group.local_world_size] for part in parts]
    try:
        mine = _load(store, own, specs, volumes, tick, whole_volumes)
    except SwinUNetError as error:
        store.file.unlink()
        if group.world_size == 1:
            raise
        group.all_gather(error)
        raise
    found = group.all_gather(mine)
    if failed := [each for each in found if isinstance(each, SwinUNetError)]:
        raise failed[0]
    first = group.rank - group.local_rank
    here: list[_Part] = found[first : first + group.local_world_size]
    for each, *_ in here:
        if each.file.size:
            each.file.open()
    group.barrier()
    store.file.unlink()
    training = _in_turn([each[1] for each in here])
    return RunCases(
        training=training,
        validation=CaseList(_in_turn([each[2] for each in here])),
        holds_labels=any(each[3] for each in here),
        volumes=CaseList(_in_turn([each[4] for each in here])),
    )


def _load(
    store: CaseStore,
    parts: list[list[CasePaths]],
    specs: tuple[ModelSpec, ModelSpec],
    volumes: VolumeStore,
    tick: Callable[[], None],
    whole_volumes: bool,
) -> _Part:
    training: list[CaseSlices] = []
    validation: _Kept = []
    whole: _Kept = []
    holds_labels = False
    for paths in parts[0]:
        read = volumes.take(paths, specs[0].pixel_mm)
        if whole_volumes:
            whole.append(store.keep(load_volumes(paths, specs[0], read)))
        else:
            training.append(store.keep_slices(load_case(paths, specs[0], read)))
        tick()
    for paths in parts[1]:
        case = load_case(paths, specs[1], volumes.take(paths, specs[1].pixel_mm))
        holds_labels = holds_labels or any(case.label_ml)
        validation.append(store.keep(case))
        tick()
    volumes.clear()
    return store, training, validation, holds_labels, whole


def _in_turn(shares: list[list[_T]]) -> list[_T]:
    """The first of each share, then the second of each: the order that was shared out."""
    return [share[at] for at in range(max(map(len, shares))) for share in shares if at < len(share)]
