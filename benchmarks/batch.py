"""`swinunet batch` measured: what the driver costs an entry, what a batch adds to segmenting, and how workers scale.

The driver alone runs on entries whose workers answer at once, so that its own time is all there is. Studies are
segmented by a served network without training, one after another by the client, then by batches.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from swinunet.batch.local_engine import LocalPool
from swinunet.batch.manifest import ManifestRow, parts_of
from swinunet.batch.pool import Event, Finished, Pool
from swinunet.batch.run import run_batch
from swinunet.batch.settings import BatchSettings
from swinunet.benchmarks.inference.untrained import export_untrained
from swinunet.benchmarks.measure.measurements import Measurements
from swinunet.benchmarks.measure.process_tree import cpu_seconds
from swinunet.benchmarks.measure.rounds import Group, Progress, Run, Task, no_progress, run_interleaved, sampling
from swinunet.benchmarks.reports.numbers import number, spread_text
from swinunet.benchmarks.reports.report import Report
from swinunet.client import TritonModel, folders_called, segment_studies, studies_at
from swinunet.client.results.options import OutputOptions
from swinunet.client.run_summary import StructureRow
from swinunet.foundation.tables import Table
from swinunet.imaging import ModelSpec, Volume, write_nifti
from swinunet.serving import TritonServer

_RECIPE = "tiny"
_FORMATS = ("nifti", "json")
_STRUCTURES = 8
_GOAL = 0.03  # of the time of segmenting, that a batch may add


@dataclass(frozen=True)
class BatchBenchmarkSettings:
    """entries: how many the driver runs alone, each a row. studies: segmented each way in a round.

    slices, pixels: of a study. ray_workers: measured if Ray is installed.
    """

    entries: tuple[int, ...] = (100, 1_000, 10_000)
    studies: int = 24
    slices: int = 64
    pixels: int = 160
    ray_workers: tuple[int, ...] = (1, 2)
    rounds: int = 3
    quick: bool = False

    @staticmethod
    def short() -> BatchBenchmarkSettings:
        """To see that everything works."""
        return BatchBenchmarkSettings((100,), 2, 8, 64, (), 2, True)


@dataclass(frozen=True)
class DriverSample:
    """cpu_s: of a whole run, listing_s of them before the first entry was given out. bytes_: of the manifest.

    CPU time, not wall time, since nothing but the driver works: so others on the machine change little.
    """

    cpu_s: float
    listing_s: float
    bytes_: int


@dataclass
class MeasuredDriver(Measurements[DriverSample]):
    """The driver on `entries` entries."""

    entries: int


@dataclass(frozen=True)
class StudiesSample:
    """seconds: to segment all studies, from the first that was given out. cpu_s: of this process meanwhile.

    This process is the client; with Ray it is the driver, and clients are elsewhere. all_cpu_s: of this process and of
    all that it started, Triton and Ray's among them, which other programs on the machine change little.
    """

    seconds: float
    cpu_s: float
    all_cpu_s: float


@dataclass
class MeasuredStudies(Measurements[StudiesSample]):
    """All studies, one way."""

    way: str


@dataclass
class BatchResult:
    """What a run found."""

    settings: BatchBenchmarkSettings
    drivers: list[MeasuredDriver]
    ways: list[MeasuredStudies]
    run: Run = field(default_factory=Run)


class InstantPool:
    """Workers that are done at once, each entry with a row as large as a real one."""

    def __init__(self, settings: BatchSettings) -> None:
        self._spec, self._held = settings.spec, list[str]()
        self._random = np.random.default_rng(0)  # figures that differ, as real ones do, and pack as badly

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pass

    def workers(self) -> list[int]:
        """64 of them."""
        return list(range(64))

    def submit(self, worker: int, entry: str) -> None:
        """Take an entry."""
        self._held.append(entry)

    def wait(self, seconds: float) -> list[Event]:
        """All that was given."""
        held, self._held = self._held, []
        return [Finished(entry, (self._row(entry),)) for entry in held]

    def _row(self, entry: str) -> ManifestRow:
        found = tuple(
            StructureRow(label.name, "left", round(volume, 4), int(1000 * volume), round(20 * volume, 4), 0.95, ())
            for label, volume in zip(self._spec.labels, self._random.uniform(1, 9, _STRUCTURES).tolist(), strict=False)
        )
        return ManifestRow(
            entry, entry, "done", "", None, f"results/00/{entry}/{entry}", found, 12.3, self._spec.name, 1, "0" * 64, 0,
            "node-0001.cluster.local", time.time(),
        )  # fmt: skip


def run_batch_benchmark(settings: BatchBenchmarkSettings, progress: Progress = no_progress) -> BatchResult:
    """Measure as set. What fails has its reason in its row. Nothing is left on the disk."""
    ways = ["client", "local"]
    if find_spec("ray") is not None:
        ways += [f"ray, {workers} worker{'s' if workers > 1 else ''}" for workers in settings.ray_workers]
    result = BatchResult(
        settings, [MeasuredDriver(count) for count in settings.entries], [MeasuredStudies(way) for way in ways]
    )
    with tempfile.TemporaryDirectory(prefix="swinunet-batch-benchmark-") as made, ExitStack() as resources:
        bench = _Bench(settings, Path(made), resources)
        turns = [
            sampling(f"the driver on {row.entries} entries", row, partial(bench.driver, row.entries))
            for row in result.drivers
        ]
        turns += [
            sampling(f"{settings.studies} studies, {row.way}", row, partial(bench.studies, row.way))
            for row in result.ways
        ]
        load = [Task("exporting a network, starting Triton, writing studies", bench.start)]
        result.run = run_interleaved([Group(load, turns)], settings.rounds, progress)
    return result


class _Bench:
    """The server, the studies, and folders for what is made of them."""

    def __init__(self, settings: BatchBenchmarkSettings, folder: Path, resources: ExitStack) -> None:
        self._settings, self._folder, self._resources = settings, folder, resources
        self._numbers: Iterator[int] = iter(range(10**6))

    def start(self) -> None:
        """Export, serve, and write the studies."""
        version = export_untrained(_RECIPE, self._folder / "repository")
        self._spec: ModelSpec = version.spec
        self._url = self._resources.enter_context(TritonServer(version.repository)).url
        self._archive = self._folder / "archive"
        self._archive.mkdir()
        shape = (self._settings.pixels, self._settings.pixels, self._settings.slices)
        for study in range(self._settings.studies):
            voxels = np.random.default_rng(study).normal(100, 20, shape).astype(np.float32)
            write_nifti(Volume(voxels, np.eye(4)), self._archive / f"study{study:04}.nii.gz")

    def driver(self, entries: int) -> DriverSample:
        """A run of `InstantPool` on empty files."""
        archive = self._folder / f"entries{entries}"
        if not archive.exists():
            archive.mkdir()
            for number in range(entries):
                (archive / f"study{number:08}.nii.gz").touch()
        settings = self._batch(archive)
        began = time.process_time()
        run = run_batch(settings, InstantPool)
        next(run)
        listing = time.process_time() - began
        for _ in run:
            pass
        seconds = time.process_time() - began
        size = sum(path.stat().st_size for path in parts_of(settings.manifest, settings.shard.name))
        return DriverSample(seconds, listing, size)

    def studies(self, way: str) -> StudiesSample:
        """All studies, segmented anew."""
        settings = self._batch(self._archive)
        if way == "client":
            return self._by_client(settings)
        first = _now()
        for progress, _ in run_batch(settings, _pool(way)):
            if not progress.workers:  # they are being started
                first = _now()
        return _since(first)

    def _by_client(self, settings: BatchSettings) -> StudiesSample:
        studies = studies_at(sorted(self._archive.iterdir()))
        folders = folders_called([study.name for study in studies], settings.output, False)
        with TritonModel(self._url, self._spec.name) as model:
            began = _now()
            for outcome in segment_studies(studies, folders, model, options=settings.results):
                if outcome.error:
                    raise outcome.error
            return _since(began)

    def _batch(self, archive: Path) -> BatchSettings:
        return BatchSettings(
            str(archive), self._folder / f"out{next(self._numbers)}", self._spec, self._url, model=self._spec.name,
            results=OutputOptions(_FORMATS),
        )  # fmt: skip


def _now() -> StudiesSample:
    return StudiesSample(time.perf_counter(), time.process_time(), cpu_seconds(os.getpid()))


def _since(began: StudiesSample) -> StudiesSample:
    now = _now()
    return StudiesSample(now.seconds - began.seconds, now.cpu_s - began.cpu_s, now.all_cpu_s - began.all_cpu_s)


def _pool(way: str) -> Callable[[BatchSettings], Pool]:
    if way == "local":
        return LocalPool
    from swinunet.batch.ray_cluster import RayOptions
    from swinunet.batch.ray_engine import RayPool

    workers = int(way.split()[1])
    return lambda settings: RayPool(settings, RayOptions(workers_per_node=workers, cpus=0))


def batch_report(result: BatchResult) -> Report:
    """batch.md and batch.json."""
    settings = result.settings
    return Report(
        name="batch",
        title="Batch",
        heading="batches of studies",
        command="swinunet benchmark batch",
        run=result.run,
        quick=settings.quick,
        tables=[_driver_table(result), _ways_table(result)],
        figures={
            "settings": asdict(settings),
            "drivers": [
                {"entries": row.entries, "samples": [asdict(each) for each in row.samples]} for row in result.drivers
            ],
            "ways": [
                {"way": row.way, "samples": [asdict(each) for each in row.samples], "error": row.error}
                for row in result.ways
            ],
        },
        footnotes=[
            f"Driver: workers that answer at once, a row of up to {_STRUCTURES} structures an entry; bytes are of the "
            "Parquet manifest.",
            f"Studies: {settings.studies} NIfTI files of {settings.pixels} x {settings.pixels} x {settings.slices} "
            f"voxels, the untrained network of recipe {_RECIPE} in a Triton that all share, results "
            f"{', '.join(_FORMATS)}; a batch may add {_GOAL:.0%}. Starting workers is left out. Own CPU: of the "
            "client, or of Ray's driver alone. All CPU: with Triton's and all of Ray's; on a machine that does other "
            "things as well it says more than the time.",
            *(f"{row.way}: {row.error}" for row in result.ways if row.error),
        ],
    )


def _driver_table(result: BatchResult) -> Table:
    rows = []
    for row in result.drivers:
        listing = row.spread(lambda each: each.listing_s)
        size = row.spread(lambda each: float(each.bytes_))
        each = row.spread(lambda each, entries=row.entries: 1000 * each.cpu_s / entries)  # type: ignore[misc]
        rows.append(
            (
                f"{row.entries:,}",
                spread_text(each),
                number(1000 * listing.median if listing else None),
                number(size.median / row.entries if size else None),
            )
        )
    return Table("The driver alone", ("entries", "CPU ms an entry", "listing, CPU ms", "manifest, bytes a study"), rows)


def _ways_table(result: BatchResult) -> Table:
    client, studies = result.ways[0], result.settings.studies
    rows = []
    for row in result.ways:
        seconds = row.spread(lambda each: each.seconds / studies)
        cpu = row.spread(lambda each: 1000 * each.cpu_s / studies)
        all_cpu = row.spread(lambda each: 1000 * each.all_cpu_s / studies)
        ratios = [row.ratio(client, figure) for figure in (lambda each: each.seconds, lambda each: each.all_cpu_s)]
        against = ("", "") if row is client else tuple(map(spread_text, ratios))
        rows.append((row.way, spread_text(seconds), spread_text(cpu), spread_text(all_cpu), *against))
    heads = ("by", "s a study", "own CPU ms a study", "all CPU ms a study", "time, of the client's", "all CPU, of it")
    return Table("Studies", heads, rows)
