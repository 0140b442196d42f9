"""The model through a real Triton over gRPC, under load.

Each caller is a process of its own (`benchmarks/workers/caller_worker.py`) with one connection and one request of one
slice at a time, so no two callers share a Python interpreter lock and Triton alone decides what is batched.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import ExitStack
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from swinunet.benchmarks.inference.model_version import ModelVersion
from swinunet.benchmarks.inference.perf_analyzer import PerfAnalyzer
from swinunet.benchmarks.inference.settings import CallerLoad
from swinunet.benchmarks.measure.machine import peak_mib, physical_cores
from swinunet.benchmarks.measure.process_tree import server_processes
from swinunet.benchmarks.measure.processes import WorkerProcess
from swinunet.benchmarks.measure.samples import LabelComparison, LatencySample, latency_sample
from swinunet.serving import ServingError, TritonServer
from swinunet.serving.canary import connect

_TIMEOUT_S = 300.0
_ANSWER_S = 10.0  # for questions that are not inference
_LEAD_S = 0.2  # for every caller to have read its order before they start together
_WARM_UP_S = 0.1
_COUNTING_S = 0.05
_CONFIG = "configs/cpu.pbtxt"


@dataclass(frozen=True)
class ServedModel:
    """A model as a server runs it.

    server: Triton's version. engine, precision: as the model config has them. start_s: from command to answered canary.
    """

    server: str
    engine: str
    precision: str
    description: str
    start_s: float


@dataclass(frozen=True)
class Counters:
    """Triton's own, of a model version: slices inferred, batches executed for them, requests and their time queued."""

    slices: int
    executions: int
    requests: int
    queue_ns: int

    def since(self, before: Counters) -> Counters:
        """What was counted since `before`."""
        pairs = zip(astuple(self), astuple(before), strict=True)
        return Counters(*(now - then for now, then in pairs))

    @property
    def mean_batch(self) -> float | None:
        """Slices computed at once, on average."""
        return self.slices / self.executions if self.executions else None

    @property
    def queue_ms(self) -> float | None:
        """Of a request, on average."""
        return self.queue_ns / self.requests / 1e6 if self.requests else None


class ServerWithCallers:
    """A running Triton and its idle callers; use it in a `with` block, which ends all of them.

    callers: the most that `measure` will be asked for. slices: .npy, float16 [N, C, H, W]. repository: another one that
    serves the same version.
    Raises ServingError if Triton does not start, WorkerError if a caller gets no answer.
    """

    def __init__(self, version: ModelVersion, callers: int, slices: Path, repository: Path | None = None) -> None:
        self._name, self._version = version.spec.name, version.folder.name
        self._slices = slices
        self._log: list[str] = []
        self._server = TritonServer(repository or version.repository, log=self._log.append)
        self._wanted = callers
        self._callers: list[WorkerProcess] = []
        self._processes: set[int] = set()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            others = set(server_processes())  # this process's servers that are not this one
            began = time.monotonic()
            stack.enter_context(self._server)
            self.model = self._describe(time.monotonic() - began)
            self._processes = set(server_processes()) - others
            self._callers = [stack.enter_context(WorkerProcess("caller_worker")) for _ in range(self._wanted)]
            order = {"url": self._server.url, "model": self._name, "version": self._version}
            for number, caller in enumerate(self._callers):
                region = f"swinunet_benchmark_{os.getpid()}_{self._server.pid}_{number}"
                headers = self._server.restricted_headers
                caller.send("connect", slices=str(self._slices), headers=headers, region=region, **order)
            for caller in self._callers:
                caller.receive(_TIMEOUT_S)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """host:port of gRPC."""
        return self._server.url

    def measure(self, load: CallerLoad, seconds: float, reference: str | None) -> tuple[LatencySample, LabelComparison]:
        """`load.callers` at once for `seconds`; every answer is compared with the reference (uint8 [N, H, W], .npy).

        Raises WorkerError if a request fails, ServingError if the server is gone.
        """
        self._call(load, _WARM_UP_S, None)
        before = self._counters()
        start, replies = self._call(load, seconds, reference)
        counted = self._counters().since(before)
        latencies_s = [latency for reply in replies for latency in reply["latencies_s"]]
        wall_s = max(reply["end"] for reply in replies) - start
        comparison = LabelComparison()
        for reply in replies:
            comparison.merge(LabelComparison(**reply["comparison"]))
        found = latency_sample(latencies_s, len(latencies_s), wall_s, self._peak_mib())
        cpu_s = sum(reply["cpu_s"] for reply in replies)
        busy = cpu_s / wall_s / physical_cores()
        return replace(found, mean_batch=counted.mean_batch, queue_ms=counted.queue_ms, caller_cpu=busy), comparison

    def measure_with_perf_analyzer(
        self, tool: PerfAnalyzer, callers: int, seconds: float
    ) -> tuple[LatencySample, LabelComparison]:
        """The same with NVIDIA's load generator, which compares no labels. Raises PerfAnalyzerError."""
        before = self._counters()
        image = np.load(self._slices)[:1]
        found = tool.run(self.url, self._name, self._version, callers, seconds, image)
        mean_batch = self._counters().since(before).mean_batch
        return replace(found, mean_batch=mean_batch, peak_mib=self._peak_mib()), LabelComparison()

    def _call(self, load: CallerLoad, seconds: float, reference: str | None) -> tuple[float, list[dict[str, Any]]]:
        """Let them ask for `seconds`; when they started (time.monotonic), and the reply of each."""
        start = time.monotonic() + _LEAD_S
        order = {"start": start, "seconds": seconds, "reference": reference}
        chosen = self._callers[: load.callers]
        for number, caller in enumerate(chosen):
            caller.send("call", first=number, transport=load.transport, **order)
        return start, [caller.receive(seconds + _TIMEOUT_S) for caller in chosen]

    def _counters(self) -> Counters:
        """Triton's counters once they stand still: it counts a batch after it has answered."""
        before, now = None, self._count()
        while now != before:
            time.sleep(_COUNTING_S)
            before, now = now, self._count()
        return now

    def _count(self) -> Counters:
        with connect(self.url) as client:
            model = client.get_inference_statistics(self._name, self._version, client_timeout=_ANSWER_S).model_stats[0]
        queue = model.inference_stats.queue
        return Counters(int(model.inference_count), int(model.execution_count), int(queue.count), int(queue.ns))

    def _peak_mib(self) -> float:
        return peak_mib(self._processes)

    def _describe(self, start_s: float) -> ServedModel:
        """The server and the model, as the server describes them."""
        with connect(self.url) as client:
            version = client.get_server_metadata(client_timeout=_ANSWER_S).version
            config = client.get_model_config(self._name, self._version, client_timeout=_ANSWER_S).config
        engine, precision = (config.parameters[key].string_value for key in ("engine", "precision"))
        # What model.py logged when it had loaded: the precision that "auto" became, and the threads.
        logged = rf"\b{re.escape(self._name)} {self._version}: (.+?)(?:, [\d.]+ s to load)?$"
        found = re.search(logged, "\n".join(self._log), re.MULTILINE)
        return ServedModel(version, engine, precision, found[1] if found else f"{engine} {precision}", start_s)


def without_batching(version: ModelVersion, folder: Path) -> Path:
    """A repository in `folder` that serves the same version with Triton's dynamic batching off. Raises ServingError."""
    source, target = version.folder.parent / _CONFIG, folder / version.spec.name / _CONFIG
    target.parent.mkdir(parents=True)
    (folder / version.spec.name / version.folder.name).symlink_to(version.folder.resolve())
    (folder / version.spec.name / "config.pbtxt").symlink_to(version.folder.resolve().parent / "config.pbtxt")
    try:
        config = text_format.Parse(source.read_text(), model_config_pb2.ModelConfig())
    except (OSError, text_format.ParseError) as error:
        raise ServingError(f"{source}: no readable model config ({type(error).__name__}); export again") from None
    config.ClearField("dynamic_batching")
    target.write_text(text_format.MessageToString(config))
    return folder
