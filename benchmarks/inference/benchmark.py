"""The run: every engine, Triton and the whole chain, each measured once a round, in turn."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from swinunet.benchmarks.inference.chain import Chain
from swinunet.benchmarks.inference.engines import engine_tasks
from swinunet.benchmarks.inference.gpu import Gpu
from swinunet.benchmarks.inference.matrix_peaks import peak_tasks
from swinunet.benchmarks.inference.model_version import ModelVersion, gflop, real_slices
from swinunet.benchmarks.inference.result import BenchmarkResult, Workspace
from swinunet.benchmarks.inference.settings import BenchmarkSettings
from swinunet.benchmarks.inference.triton import Triton
from swinunet.benchmarks.measure.rounds import Group, Progress, no_progress, run_interleaved


def run_benchmark(
    version: ModelVersion,
    settings: BenchmarkSettings,
    progress: Progress = no_progress,
    *,
    data: Path | None = None,
    trained: bool = True,
) -> BenchmarkResult:
    """Measure `version` as set. An engine that does not load or fails has its reason in its rows; the others go on.

    data: labelled cases to score each engine on. trained: False where the weights are no trained model's.
    Raises InputError if there are no slices to measure with. Every process it starts has ended when it returns.
    """
    slices, slices_from = real_slices(version)
    result = BenchmarkResult(version, settings, slices_from, gflop(version), trained, data)
    with tempfile.TemporaryDirectory(prefix="swinunet-benchmark-") as folder:
        work = Workspace(result, Path(folder), ExitStack())
        np.save(work.slices, slices)
        chain = Chain(result.chain, version, work.folder) if result.chain else None
        parts = list(_parts(work, chain))
        load = [task for part in parts for task in part.load]
        measure = [task for part in parts for task in part.measure]
        group = Group(load, measure, resources=work.resources)
        result.run = run_interleaved([group], settings.rounds, progress, settings.budget_s)
        if chain:
            chain.read_jobs()
    return result


def _parts(work: Workspace, chain: Chain | None) -> Iterator[Group]:
    """What the settings want, in the order in which it is loaded and measured."""
    result = work.result
    yield engine_tasks(work)
    if result.settings.hardware:
        yield peak_tasks(work)
        yield Gpu(result.gpu, result.version.folder, work.slices).tasks(work.resources, result.settings.seconds)
    if result.triton:
        yield Triton(work).tasks()
    if chain:
        yield chain.tasks(work.resources)
