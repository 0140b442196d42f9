"""Every engine by itself, each in its own process: the smallest batch of all engines first, then the next."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from itertools import groupby

from swinunet.benchmarks.inference.result import MeasuredEngine, MeasuredInference, Workspace
from swinunet.benchmarks.inference.settings import BASELINE, COMPILED
from swinunet.benchmarks.measure.processes import WorkerError, WorkerProcess
from swinunet.benchmarks.measure.rounds import Group, Task
from swinunet.benchmarks.measure.samples import LabelComparison, LatencySample

_TIMEOUT_S = 600.0


def engine_tasks(work: Workspace) -> Group:
    """Load every engine; measure each at every batch. One that fails has its reason in its rows."""
    engines, once_over_s = work.result.engines, work.result.settings.once_over_s
    load = [
        Task(f"loading {', '.join(each.engine.title for each in some)}", partial(_load, work, some))
        for some in _loaded_at_once(engines)
    ]
    measure = [
        Task(
            f"{row.title}, batch {row.size}",
            partial(row.attempt, partial(_measure, work, each, row)),
            partial(row.due, once_over_s),
        )
        for index in range(len(work.result.settings.batches))
        for each in engines
        for row in each.rows[index : index + 1]
    ]
    return Group(load, measure)


def _loaded_at_once(engines: list[MeasuredEngine]) -> Iterator[list[MeasuredEngine]]:
    """One after the other; only those that are compiled for minutes at once."""
    for compiled, group in groupby(engines, lambda each: each.engine.loader == COMPILED):
        some = list(group)
        yield from [some] if compiled else ([each] for each in some)


def _load(work: Workspace, engines: list[MeasuredEngine]) -> None:
    for do in (_start, _finish):
        for each in engines:
            try:
                do(work, each)
            except WorkerError as error:
                # The version's files by their place in the repository.
                each.refuse(str(error).replace(f"{work.result.version.repository.resolve()}{os.sep}", ""))
                if each.worker:
                    each.worker.close()  # its memory is of use to the others


def _start(work: Workspace, each: MeasuredEngine) -> None:
    each.worker = work.resources.enter_context(WorkerProcess("engine_worker"))
    order = {"loader": each.engine.loader, "precision": each.engine.precision, "threads": work.result.threads}
    each.worker.send("load", folder=str(work.result.version.folder.resolve()), slices=str(work.slices), **order)


def _finish(work: Workspace, each: MeasuredEngine) -> None:
    """Take in what the worker replies once it has loaded. Raises WorkerError."""
    if each.rows[0].error is not None:
        return
    assert each.worker is not None
    result = work.result
    loaded = each.worker.receive(_TIMEOUT_S)
    if each.engine == BASELINE:
        each.worker.ask("labels", _TIMEOUT_S, path=str(work.folder / "reference.npy"))
    result.process_mib = loaded["process_mib"]
    dice = None
    if result.data:
        order = {"data": str(result.data.resolve()), "split": str(result.version.folder.resolve() / "split.json")}
        dice = each.worker.ask("dice", _TIMEOUT_S, spec=result.version.spec.to_json(), **order)["dice"]
    for row in each.rows:
        row.description, row.import_s, row.load_s = loaded["description"], loaded["import_s"], loaded["load_s"]
        row.dice = dice


def _measure(work: Workspace, each: MeasuredEngine, row: MeasuredInference) -> None:
    """One round of one row. Raises WorkerError.

    A new process is started where the kernel ended the engine's for want of memory: its other rows need less.
    """
    if each.worker is not None and not each.worker.alive:
        each.worker.close()
        _start(work, each)
        _finish(work, each)
    row.add(*run_engine(work, each, row.size))


def run_engine(work: Workspace, each: MeasuredEngine, batch: int) -> tuple[LatencySample, LabelComparison]:
    """One engine at one batch for the time of a row. Raises WorkerError."""
    assert each.worker is not None
    seconds = work.result.settings.seconds
    order = {"batch": batch, "seconds": seconds, "reference": work.reference}
    measured = each.worker.ask("measure", _TIMEOUT_S + seconds, **order)
    return LatencySample(**measured["sample"]), LabelComparison(**measured["comparison"])
