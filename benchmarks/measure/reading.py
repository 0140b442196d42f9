"""`swinunet benchmark reading`: how fast DICOM folders are inspected and read, against a plain pydicom loop.

Each way reads each folder in a process of its own, in turn, in rounds; ratios are taken within a round.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from swinunet.benchmarks.measure.children import Child, ChildError
from swinunet.benchmarks.measure.figures import Spread
from swinunet.benchmarks.measure.machine import CpuWatch, Machine, describe_machine
from swinunet.benchmarks.measure.reading_series import CASES, QUICK_CASES, ReadingCase, write_case

Progress = Callable[[int, int, str], None]  # steps done, steps in all, what comes now

WAYS = {"plain": "pydicom, one thread", "client": "the client"}
_PATIENCE_S = 600.0


@dataclass(frozen=True)
class ReadingPlan:
    """`rounds` times through the cases, each way in turn."""

    cases: tuple[ReadingCase, ...] = CASES
    rounds: int = 3
    quick: bool = False

    @staticmethod
    def short() -> ReadingPlan:
        """Small folders, to see that everything works."""
        return ReadingPlan(QUICK_CASES, rounds=2, quick=True)


@dataclass(frozen=True)
class ReadingSample:
    """One way in one round. peak_mib: of the process beyond what it held after its imports, the volume included.

    helper_mib: peak of the largest helper process, its imports included; 0 where there was none. checksum: of voxels.
    """

    files: int
    slices: int
    inspect_s: float
    read_s: float
    cpu_s: float
    peak_mib: float
    volume_mib: float
    helper_mib: float
    checksum: int

    @property
    def total_s(self) -> float:
        """Inspecting and reading."""
        return self.inspect_s + self.read_s

    @property
    def cores(self) -> float:
        """That worked at once, on average; helpers included."""
        return self.cpu_s / self.total_s

    @property
    def beyond_mib(self) -> float:
        """Of the peak, what is not the volume."""
        return self.peak_mib - self.volume_mib


Figure = Callable[[ReadingSample], float]


@dataclass
class ReadingRow:
    """A case read one way. way: of WAYS."""

    case: ReadingCase
    way: str
    samples: list[ReadingSample] = field(default_factory=list)
    error: str | None = None

    @property
    def measured(self) -> bool:
        """Whether every round went well."""
        return self.error is None and bool(self.samples)

    def spread(self, figure: Figure) -> Spread | None:
        """One figure over the rounds; None if it was not measured."""
        return Spread(tuple(map(figure, self.samples))) if self.measured else None

    def speed_up(self, other: ReadingRow, seconds: Figure) -> Spread | None:
        """How many times faster this row is than the other in a stage, round by round."""
        if not (self.measured and other.measured):
            return None
        pairs = zip(self.samples, other.samples, strict=True)
        return Spread(tuple(seconds(theirs) / seconds(mine) for mine, theirs in pairs))


@dataclass
class ReadingResult:
    """What a run found. seconds: the whole run took."""

    plan: ReadingPlan
    machine: Machine
    rows: list[ReadingRow]
    seconds: float = 0.0

    def baseline(self, row: ReadingRow) -> ReadingRow:
        """The plain loop on the same case."""
        return next(each for each in self.rows if (each.case, each.way) == (row.case, "plain"))


def run_reading_benchmark(plan: ReadingPlan, progress: Progress = lambda done, total, text: None) -> ReadingResult:
    """Measure as planned. What fails has its reason in its row, and the others go on. Nothing is left on the disk."""
    began, watch = time.monotonic(), CpuWatch()
    rows = [ReadingRow(case, way) for case in plan.cases for way in WAYS]
    result = ReadingResult(plan, describe_machine(), rows)
    steps, done = len(plan.cases) + plan.rounds * len(rows), 0
    with tempfile.TemporaryDirectory(prefix="swinunet-reading-") as made:
        folders = {}
        for case in plan.cases:
            progress(done, steps, f"writing: {case.title}")
            folders[case] = write_case(case, Path(made) / case.name)
            done += 1
        for number in range(1, plan.rounds + 1):
            for row in rows:
                progress(done, steps, f"round {number} of {plan.rounds}: {row.case.title}, {WAYS[row.way]}")
                _measure(row, folders[row.case])
                done += 1
    for row in rows:
        _require_same_voxels(row, result.baseline(row))
    progress(steps, steps, "done")
    result.machine = replace(result.machine, others_cpu=watch.others())
    result.seconds = time.monotonic() - began
    return result


def _measure(row: ReadingRow, folder: Path) -> None:
    if row.error is not None:
        return
    try:
        with Child("reading_worker") as child:
            row.samples.append(ReadingSample(**child.ask("measure", _PATIENCE_S, folder=str(folder), way=row.way)))
    except ChildError as error:
        row.error = str(error)


def _require_same_voxels(row: ReadingRow, baseline: ReadingRow) -> None:
    """Two ways that read different voxels cannot be compared."""
    if (
        row.measured
        and baseline.measured
        and {s.checksum for s in row.samples} != {s.checksum for s in baseline.samples}
    ):
        row.error = "its voxels are not those of the plain loop"
