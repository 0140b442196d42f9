"""The whole chain: a DICOM series through the client and a real Triton to DICOM SEG, stage by stage.

Client and server write down times on one clock, and one trace identifier names the job's requests in both. Where both
work at once the time is the network's: what is left is what a faster network would not take away.
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from swinunet.benchmarks.inference.intervals import seconds, union, without
from swinunet.benchmarks.inference.model_version import ModelVersion
from swinunet.benchmarks.measure.measurements import Measurements, Spread
from swinunet.benchmarks.measure.processes import WorkerProcess
from swinunet.benchmarks.measure.rounds import Group, Task
from swinunet.imaging import ModelSpec, Volume
from swinunet.imaging.resample import AxisMap
from swinunet.samples.mni152 import HIPPOCAMPUS_BOXES, read_mni152, write_series
from swinunet.serving import ServingError, TritonServer

# As a job goes on.
STAGES = (
    "read", "decode", "preprocess", "wire", "queue", "compute", "restore", "measure", "judge", "nifti", "seg",
    "sr", "png", "other",
)  # fmt: skip
_ALONE = ("read", "decode", "measure", "judge", "nifti", "seg", "sr", "png")  # one after the other, beside nothing else
_PIXELS = 512  # rows and columns of the series: what a CT has
_TIMEOUT_S = 600.0


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
class ChainResult(Measurements[Job]):
    """The jobs, one a round. volume_mib: voxels as the client holds them."""

    slices: int
    volume_mib: float = 0.0

    def exposed(self, stage: str) -> Spread:
        """Exposed seconds of a stage over the rounds."""
        return Spread(tuple(job.exposed_s[stage] for job in self.samples))

    def own(self, stage: str) -> Spread | None:
        """Own seconds of a stage over the rounds; None for what is only a remainder."""
        known = tuple(job.own_s[stage] for job in self.samples if stage in job.own_s)
        return Spread(known) if known else None

    @property
    def wall(self) -> Spread:
        """Wall seconds of a job."""
        return Spread(tuple(job.wall_s for job in self.samples))

    @property
    def compute_share(self) -> Spread:
        """Share of the wall time in which the network computed."""
        return Spread(tuple(job.compute_share for job in self.samples))

    @property
    def peak_mib(self) -> float:
        """Of the client's process, over all jobs."""
        return max(job.peak_mib for job in self.samples)

    def to_json(self) -> dict[str, Any]:
        """Everything."""
        jobs = [asdict(job) for job in self.samples]
        return {"slices": self.slices, "jobs": jobs, "volume_mib": self.volume_mib, "error": self.error}


class Chain:
    """A Triton that traces, and a client's process: one job a round. folder: for the series, results and trace."""

    def __init__(self, result: ChainResult, version: ModelVersion, folder: Path) -> None:
        self._result, self._version, self._folder = result, version, folder / "chain"
        self._trace = self._folder / "trace.json"
        self._replies: list[dict[str, Any]] = []

    def tasks(self, resources: ExitStack) -> Group:
        """Write the series and start the server; then one job a round."""
        result = self._result
        start = partial(result.attempt, partial(self._start, resources))
        title = f"writing a series of {result.slices} slices, starting a Triton that traces"
        run = Task("the whole chain", partial(result.attempt, self._run), lambda: result.error is None)
        return Group([Task(title, start)], [run])

    def _start(self, resources: ExitStack) -> None:
        """Raises ServingError if Triton does not start."""
        self._folder.mkdir()
        self._series = write_chain_series(self._folder / "series", self._result.slices)
        trace = [f"triton,file={self._trace}", "rate=1", "level=TIMESTAMPS"]
        server = TritonServer(self._version.repository, options=[f"--trace-config={each}" for each in trace])
        self._server = resources.enter_context(server)
        self._client = resources.enter_context(WorkerProcess("chain_worker"))

    def _run(self) -> None:
        """One job. Raises WorkerError."""
        spec, out = self._version.spec, self._folder / "results"
        order = {"url": self._server.url, "model": spec.name, "series": str(self._series)}
        self._replies.append(self._client.ask("run", _TIMEOUT_S, out=str(out), rois=boxes(spec), **order))
        shutil.rmtree(out)

    def read_jobs(self) -> None:
        """Put the jobs into the result, once the server has stopped: it writes its trace then."""
        self._result.attempt(self._read_jobs)

    def _read_jobs(self) -> None:
        served = read_trace(self._trace) if self._replies else {}
        for reply in self._replies:
            trace_id = reply["trace_id"]
            if trace_id not in served:
                raise ServingError(f"Triton's trace has no request of the job {trace_id}")
            self._result.volume_mib = reply["volume_mib"]
            self._result.samples.append(job_of(trace_id, reply, served[trace_id]))


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
    own = {stage: spent for stage, spent in reply["seconds"].items() if stage in STAGES}
    exposed = {stage: own[stage] for stage in _ALONE}
    for stage in ("preprocess", "restore"):
        hidden = seconds(spans[stage]) - seconds(without(spans[stage], compute))
        exposed[stage] = max(0.0, own[stage] - hidden)
    exposed["compute"] = own["compute"] = seconds(compute)
    own["queue"] = seconds(queue)
    exposed["wire"] = seconds(without(idle, queue))
    exposed["queue"] = seconds(idle) - exposed["wire"]
    exposed["other"] = max(0.0, reply["wall_s"] - sum(exposed.values()))
    in_order = {stage: exposed[stage] for stage in STAGES}
    return Job(trace_id, reply["wall_s"], in_order, own, len(requests), reply["peak_mib"])
