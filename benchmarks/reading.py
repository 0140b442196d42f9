"""`swinunet benchmark reading`: how fast DICOM folders are inspected and read, against a plain pydicom loop.

Each way reads each folder in a process of its own, in turn, in rounds; ratios are taken within a round.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from swinunet.benchmarks.measure.measurements import Measurements
from swinunet.benchmarks.measure.processes import WorkerProcess
from swinunet.benchmarks.measure.rounds import Group, Progress, Run, Task, no_progress, run_interleaved, sampling
from swinunet.benchmarks.reading_series import CASES, QUICK_CASES, ReadingCase, write_case
from swinunet.benchmarks.reports.numbers import NONE, spread_text
from swinunet.benchmarks.reports.report import Picture, Report, table_with_remarks

WAYS = {"plain": "pydicom, one thread", "client": "the client"}
_TIMEOUT_S = 600.0
_HEADS = (
    "folder", "read by", "inspect, files/s", "x plain", "decode, slices/s", "x plain", "cores", "volume, MiB",
    "MiB beyond", "remark",
)  # fmt: skip
_COLOURS = {"inspect": "#b7c9e2", "decode": "#4a79b8"}


@dataclass(frozen=True)
class ReadingSettings:
    """`rounds` times through the cases, each way in turn."""

    cases: tuple[ReadingCase, ...] = CASES
    rounds: int = 3
    quick: bool = False

    @staticmethod
    def short() -> ReadingSettings:
        """Small folders, to see that everything works."""
        return ReadingSettings(QUICK_CASES, rounds=2, quick=True)


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


@dataclass
class MeasuredReading(Measurements[ReadingSample]):
    """A case read one way. way: of WAYS."""

    case: ReadingCase
    way: str


@dataclass
class ReadingResult:
    """What a run found. run: set when it has ended."""

    settings: ReadingSettings
    rows: list[MeasuredReading]
    run: Run = field(default_factory=Run)

    def baseline(self, row: MeasuredReading) -> MeasuredReading:
        """The plain loop on the same case."""
        return next(each for each in self.rows if (each.case, each.way) == (row.case, "plain"))


def run_reading_benchmark(settings: ReadingSettings, progress: Progress = no_progress) -> ReadingResult:
    """Measure as set. What fails has its reason in its row, and the others go on. Nothing is left on the disk."""
    result = ReadingResult(settings, [MeasuredReading(case, way) for case in settings.cases for way in WAYS])
    with tempfile.TemporaryDirectory(prefix="swinunet-reading-") as made:
        folders = {case: Path(made) / case.name for case in settings.cases}
        load = [Task(f"writing: {case.title}", partial(write_case, case, at)) for case, at in folders.items()]
        turns = [
            sampling(f"{row.case.title}, {WAYS[row.way]}", row, partial(_read, folders[row.case], row.way))
            for row in result.rows
        ]
        result.run = run_interleaved([Group(load, turns)], settings.rounds, progress)
    for row in result.rows:
        require_same_voxels(row, result.baseline(row))
    return result


def _read(folder: Path, way: str) -> ReadingSample:
    """Read once, in a fresh process. Raises WorkerError."""
    with WorkerProcess("reading_worker") as worker:
        return ReadingSample(**worker.ask("measure", _TIMEOUT_S, folder=str(folder), way=way))


def require_same_voxels(row: MeasuredReading, baseline: MeasuredReading) -> None:
    """Two ways that read different voxels cannot be compared: the row gets that as its error."""
    found, expected = ({sample.checksum for sample in each.samples} for each in (row, baseline))
    if row.measured and baseline.measured and found != expected:
        row.error = "its voxels are not those of the plain loop"


def reading_report(result: ReadingResult) -> Report:
    """reading.md, reading.json and reading.png."""
    settings = result.settings
    return Report(
        name="reading",
        title="Reading",
        heading="reading DICOM",
        command="swinunet benchmark reading",
        run=result.run,
        quick=settings.quick,
        tables=[table_with_remarks("Reading DICOM", _HEADS, [_cells(result, row) for row in result.rows])],
        figures={
            "plan": {"rounds": settings.rounds, "quick": settings.quick},
            "rows": [_figures(row) for row in result.rows],
        },
        footnotes=_footnotes(result),
        pictures={"reading.png": Picture(partial(_draw, result), "Time to read each folder, by way of reading")},
    )


def _footnotes(result: ReadingResult) -> list[str]:
    return [
        f"Figures are the median of {result.settings.rounds} rounds (lowest to highest). In each round each folder is "
        "read once in each way, in a fresh process, with the files in the page cache; ratios are taken within a round.",
        "inspect: every header of the folder, and for the client the verdict on each series. decode: the pixels of one "
        "series, rescaled and stacked by position. The plain loop is pydicom's dcmread and pixel_array, one file after "
        "the other, without any check. Both find the same voxels, by their checksum.",
        "cores: CPU time over wall time, helper processes included, whose start (once a stage) is in the wall time.",
        f"MiB beyond: the process's peak RSS less its imports and the volume. {_helpers(result)}",
    ]


def _draw(result: ReadingResult, path: Path) -> None:
    """Median seconds of each folder and way, inspecting and decoding end to end."""
    measured = [row for row in result.rows if row.measured]
    figure = Figure((9, 1.4 + 0.5 * max(len(measured), 2)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for y, row in enumerate(measured):
        inspect, read = (median(stage(sample) for sample in row.samples) for stage in (_inspect_s, _read_s))
        axes.barh(y, inspect, 0.7, color=_COLOURS["inspect"], label=None if y else "inspect")
        axes.barh(y, read, 0.7, left=inspect, color=_COLOURS["decode"], label=None if y else "decode")
        axes.annotate(f"{inspect + read:.1f} s", (inspect + read, y), (5, 0), textcoords="offset points", va="center")
    labels = [f"{row.case.title}\n{WAYS[row.way]}" for row in measured]
    axes.set_yticks(range(len(measured)), labels, fontsize=8)
    axes.set_ylim(len(measured) - 0.4, -0.6)
    axes.margins(x=0.12)
    axes.set_xlabel(
        f"seconds, median of {result.settings.rounds} rounds, on {result.run.machine.cores} cores", fontsize=9
    )
    axes.spines[["top", "right"]].set_visible(False)
    if measured:
        figure.legend(loc="outside upper right", ncols=2, frameon=False, fontsize=9)
    figure.savefig(path, format="png")


def _figures(row: MeasuredReading) -> dict[str, Any]:
    return {
        "case": row.case.name,
        "title": row.case.title,
        "way": row.way,
        "error": row.error,
        "rounds": [asdict(sample) for sample in row.samples],
    }


def _cells(result: ReadingResult, row: MeasuredReading) -> tuple[str, ...]:
    plain = result.baseline(row)
    return (
        row.case.title,
        WAYS[row.way],
        spread_text(row.spread(lambda sample: sample.files / sample.inspect_s)),
        spread_text(row.ratio(plain, _inspect_s, inverse=True)),
        spread_text(row.spread(lambda sample: sample.slices / sample.read_s)),
        spread_text(row.ratio(plain, _read_s, inverse=True)),
        spread_text(row.spread(lambda sample: sample.cores)),
        f"{row.samples[0].volume_mib:.0f}" if row.measured else NONE,
        spread_text(row.spread(lambda sample: sample.beyond_mib)),
        row.remark,
    )


def _helpers(result: ReadingResult) -> str:
    """What the client's helper processes hold."""
    peaks = [sample.helper_mib for row in result.rows for sample in row.samples if row.way == "client"]
    largest = max(peaks, default=0.0)
    if not largest:
        return "No helper process was started."
    return f"A helper process (one a core, for many headers or compressed slices) held up to {largest:.0f} MiB."


def _inspect_s(sample: ReadingSample) -> float:
    return sample.inspect_s


def _read_s(sample: ReadingSample) -> float:
    return sample.read_s
