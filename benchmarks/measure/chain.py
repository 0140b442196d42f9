"""The whole chain: a DICOM series through the client and a real Triton to DICOM SEG, stage by stage.

Client and server write down times on one clock, and one trace identifier names the job's requests in both. Where both
work at once the time is the network's: what is left is what a faster network would not take away.
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from swinunet.benchmarks.measure.children import Child
from swinunet.benchmarks.measure.figures import Spread
from swinunet.benchmarks.measure.subject import Subject
from swinunet.imaging import ModelSpec, Volume
from swinunet.imaging.resample import AxisMap
from swinunet.samples.mni152 import HIPPOCAMPUS_BOXES, read_mni152, write_series
from swinunet.serving import ServingError, TritonServer

Interval = tuple[int, int]  # ns, monotonic clock

# As a job goes on.
STAGES = (
    "read", "decode", "preprocess", "wire", "queue", "compute", "restore", "measure", "judge", "nifti", "seg",
    "sr", "png", "other",
)  # fmt: skip
_ALONE = ("read", "decode", "measure", "judge", "nifti", "seg", "sr", "png")  # one after the other, beside nothing else
_PIXELS = 512  # rows and columns of the series: what a CT has
_PATIENCE_S = 600.0


@dataclass(frozen=True)
class Job:
    """One job. exposed_s: wall seconds by stage, each moment counted once. own_s: what each stage took by itself.

    compute_s: the network's, of the server's trace. requests: of the trace identifier in the server's trace.
    """

    trace_id: str
    wall_s: float
    exposed_s: dict[str, float]
    own_s: dict[str, float]
    requests: int
    peak_mib: float

    @property
    def compute_share(self) -> float:
        """Share of the wall time in which the network computed."""
        return self.exposed_s["compute"] / self.wall_s


@dataclass
class ChainResult:
    """The jobs, one a round. error: why there are no more. volume_mib: voxels as the client holds them."""

    slices: int
    jobs: list[Job] = field(default_factory=list)
    volume_mib: float = 0.0
    error: str | None = None

    def spread(self, stage: str) -> Spread:
        """Exposed seconds of a stage over the rounds."""
        return Spread(tuple(job.exposed_s[stage] for job in self.jobs))

    def own(self, stage: str) -> Spread | None:
        """Own seconds of a stage over the rounds; None for what is only a remainder."""
        known = tuple(job.own_s[stage] for job in self.jobs if stage in job.own_s)
        return Spread(known) if known else None

    @property
    def wall(self) -> Spread:
        """Wall seconds of a job."""
        return Spread(tuple(job.wall_s for job in self.jobs))

    @property
    def compute_share(self) -> Spread:
        """Share of the wall time in which the network computed."""
        return Spread(tuple(job.compute_share for job in self.jobs))

    @property
    def peak_mib(self) -> float:
        """Of the client's process, over all jobs."""
        return max(job.peak_mib for job in self.jobs)

    def to_json(self) -> dict[str, Any]:
        """Everything."""
        return asdict(self)


class Chain:
    """A Triton that traces, and a client's process; use it in a `with` block. `finish` reads the trace.

    folder: for the series, the results and the trace. Raises ServingError if Triton does not start.
    """

    def __init__(self, subject: Subject, slices: int, folder: Path) -> None:
        self._spec, self._folder = subject.spec, folder
        self._series = write_chain_series(folder / "series", slices)
        self._trace = folder / "trace.json"
        trace = [f"triton,file={self._trace}", "rate=1", "level=TIMESTAMPS"]
        self._server = TritonServer(subject.repository, options=[f"--trace-config={each}" for each in trace])
        self._replies: list[dict[str, Any]] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._server)
            self._client = stack.enter_context(Child("chain_worker"))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def run(self) -> None:
        """One job. Raises ChildError."""
        order = {"url": self._server.url, "model": self._spec.name, "series": str(self._series)}
        out = self._folder / "results"
        self._replies.append(self._client.ask("run", _PATIENCE_S, out=str(out), rois=boxes(self._spec), **order))
        shutil.rmtree(out)

    def finish(self, result: ChainResult) -> None:
        """Stop the server, which writes its trace then, and put the jobs into `result`."""
        self._stack.close()
        served = read_trace(self._trace) if self._replies else {}
        for reply in self._replies:
            trace_id = reply["trace_id"]
            if trace_id not in served:
                raise ServingError(f"Triton's trace has no request of the job {trace_id}")
            result.volume_mib = reply["volume_mib"]
            result.jobs.append(job_of(trace_id, reply, served[trace_id]))


def boxes(spec: ModelSpec) -> list[str]:
    """Boxes around what a model of fixed spacing can see; one that sees whole slices needs none."""
    if spec.spacing_mm is None:
        return []
    return [f"{side}={','.join(f'{edge:g}' for edge in box)}" for side, box in HIPPOCAMPUS_BOXES.items()]


def write_chain_series(folder: Path, slices: int) -> Path:
    """The MNI152 brain as `slices` axial DICOM files of 512 x 512 pixels. Raises MissingExtraError without nilearn."""
    brain = read_mni152()
    columns, rows, stack = brain.shape
    side = max(columns, rows)
    before = [(side - columns) // 2, (side - rows) // 2]
    after = [side - length - pad for length, pad in zip((columns, rows), before, strict=True)]
    square = np.pad(brain.voxels, [*zip(before, after, strict=True), (0, 0)])
    in_plane, along = AxisMap.stretch(side, _PIXELS).linear(), AxisMap.stretch(stack, slices).linear()
    voxels = np.empty((_PIXELS, _PIXELS, slices), np.uint8)
    for index, weights in enumerate(along):
        voxels[:, :, index] = np.round(in_plane @ (square @ weights) @ in_plane.T)
    steps = np.array([side / _PIXELS, side / _PIXELS, stack / slices])
    affine = brain.affine.copy()
    affine[:3, :3] = brain.affine[:3, :3] * steps
    # The edges of both grids coincide, not the centres of their first voxels.
    affine[:3, 3] += brain.affine[:3, :3] @ ((steps - 1) / 2 - [*before, 0])
    return write_series(Volume(voxels, affine), folder)


def read_trace(path: Path) -> dict[str, list[dict[str, int]]]:
    """Requests of each job in Triton's trace file: times in ns by name (as QUEUE_START), by trace identifier.

    Raises ServingError if Triton wrote none.
    """
    names: dict[int, str] = {}
    times: defaultdict[int, dict[str, int]] = defaultdict(dict)
    try:
        entries = json.loads(path.read_text())
    except (OSError, ValueError):
        raise ServingError(f"Triton left no readable trace in {path.name}") from None
    for entry in entries:
        if "-" in entry.get("request_id", ""):
            names[entry["id"]] = entry["request_id"].rpartition("-")[0]
        for stamp in entry.get("timestamps", ()):
            times[entry["id"]][stamp["name"]] = int(stamp["ns"])
    found: defaultdict[str, list[dict[str, int]]] = defaultdict(list)
    for number, trace_id in names.items():
        found[trace_id].append(times[number])
    return dict(found)


def job_of(trace_id: str, reply: dict[str, Any], requests: Sequence[dict[str, int]]) -> Job:
    """Put the client's times and the server's together.

    Moments in which the network computes count as compute. Of the others, those that the client spends on slices count
    as preprocess or restore; those it waits count as queue if a request of this job is queued, else as wire (gRPC, the
    server's own handling, the copies into and out of the backend).
    """
    compute = union((request["COMPUTE_INPUT_END"], request["COMPUTE_OUTPUT_START"]) for request in requests)
    queue = union((request["QUEUE_START"], request["COMPUTE_START"]) for request in requests)
    spans = {stage: union(map(tuple, pairs)) for stage, pairs in reply["spans"].items()}
    idle = without(spans["wait"], compute)
    own = {stage: seconds for stage, seconds in reply["seconds"].items() if stage in STAGES}
    exposed = {stage: own[stage] for stage in _ALONE}
    for stage in ("preprocess", "restore"):
        hidden = _seconds(spans[stage]) - _seconds(without(spans[stage], compute))
        exposed[stage] = max(0.0, own[stage] - hidden)
    exposed["compute"] = own["compute"] = _seconds(compute)
    own["queue"] = _seconds(queue)
    exposed["wire"] = _seconds(without(idle, queue))
    exposed["queue"] = _seconds(idle) - exposed["wire"]
    exposed["other"] = max(0.0, reply["wall_s"] - sum(exposed.values()))
    in_order = {stage: exposed[stage] for stage in STAGES}
    return Job(trace_id, reply["wall_s"], in_order, own, len(requests), reply["peak_mib"])


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """The same moments as intervals that do not touch, in order."""
    found: list[Interval] = []
    for begin, end in sorted(intervals):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        elif end > begin:
            found.append((begin, end))
    return found


def without(intervals: Sequence[Interval], taken: Sequence[Interval]) -> list[Interval]:
    """The moments of `intervals` that are not in `taken`; both as `union` gives them."""
    found = []
    for begin, end in intervals:
        for start, stop in taken:
            if stop <= begin or start >= end:
                continue
            if start > begin:
                found.append((begin, start))
            begin = stop
        if begin < end:
            found.append((begin, end))
    return found


def _seconds(intervals: Iterable[Interval]) -> float:
    return sum(end - begin for begin, end in intervals) / 1e9
