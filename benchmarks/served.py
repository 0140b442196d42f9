"""The model through a real Triton over gRPC, under load.

Each caller is a process of its own (`benchmarks.caller_worker`) with one connection and one request of one slice at a
time, so no two callers share a Python interpreter lock and Triton alone decides what is batched.
"""

from __future__ import annotations

import re
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.children import Child
from benchmarks.figures import Sample, Tally, sample
from benchmarks.machine import peak_mib, physical_cores, server_processes
from benchmarks.subject import Subject
from serving import ServingError, TritonServer
from serving.canary import connect

_PATIENCE_S = 300.0
_ANSWER_S = 10.0  # for questions that are not inference
_LEAD_S = 0.2  # for every caller to have read its order before they start together
_WARM_UP_S = 0.1


@dataclass(frozen=True)
class ServedModel:
    """What serves.

    server: Triton's version. engine, precision: the model config's own words. start_s: from command to answered canary.
    """

    server: str
    engine: str
    precision: str
    description: str
    start_s: float


class Load:
    """A running Triton and its idle callers; use it in a `with` block, which ends all of them.

    callers: the most that `measure` will be asked for. slices: .npy, float16 [N, C, H, W].
    Raises ServingError if Triton does not start, ChildError if a caller gets no answer.
    """

    def __init__(self, subject: Subject, callers: int, slices: Path) -> None:
        self._name, self._version = subject.spec.name, subject.folder.name
        self._slices = slices
        self._log: list[str] = []
        self._server = TritonServer(subject.repository, log=self._log.append)
        self._wanted = callers
        self._callers: list[Child] = []
        self._others: set[int] = set()  # servers of this process that are not this one
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._others = set(server_processes())
            began = time.monotonic()
            stack.enter_context(self._server)
            self.model = self._ask(time.monotonic() - began)
            self._callers = [stack.enter_context(Child("benchmarks.caller_worker")) for _ in range(self._wanted)]
            order = {"url": self._server.url, "model": self._name, "version": self._version}
            for caller in self._callers:
                caller.tell("connect", slices=str(self._slices), **order)
            for caller in self._callers:
                caller.hear(_PATIENCE_S)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def measure(self, callers: int, seconds: float, reference: Path | None) -> tuple[Sample, Tally]:
        """`callers` at once for `seconds`; every answer is compared with the reference (uint8 [N, H, W], .npy).

        Raises ChildError if a request fails, ServingError if the server is gone.
        """
        self._call(callers, _WARM_UP_S, None)
        before = self._batches()
        start, replies = self._call(callers, seconds, reference)
        requests, executions = (now - then for now, then in zip(self._batches(), before, strict=True))
        latencies_s = [latency for reply in replies for latency in reply["latencies_s"]]
        wall_s = max(reply["end"] for reply in replies) - start
        tally = Tally()
        for reply in replies:
            tally.merge(Tally(**reply["tally"]))
        found = sample(latencies_s, len(latencies_s), wall_s, peak_mib(set(server_processes()) - self._others))
        cpu_s = sum(reply["cpu_s"] for reply in replies)
        mean_batch = requests / executions if executions else None
        return replace(found, mean_batch=mean_batch, caller_cpu=cpu_s / wall_s / physical_cores()), tally

    def _call(self, callers: int, seconds: float, reference: Path | None) -> tuple[float, list[dict[str, Any]]]:
        """Let `callers` ask for `seconds`; when they started (time.monotonic), and what each has to say."""
        start = time.monotonic() + _LEAD_S
        order = {"start": start, "seconds": seconds, "reference": None if reference is None else str(reference)}
        chosen = self._callers[:callers]
        for number, caller in enumerate(chosen):
            caller.tell("call", first=number, **order)
        return start, [caller.hear(seconds + _PATIENCE_S) for caller in chosen]

    def _batches(self) -> tuple[float, float]:
        """Triton's counters of this model version: slices inferred, and batches executed for them."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no http_proxy to loopback
        try:
            with opener.open(self._server.metrics_url, timeout=_ANSWER_S) as answer:
                text = answer.read().decode()
        except OSError as error:
            raise ServingError(f"Triton's metrics do not answer ({error}); did it stop?") from None
        return self._metric(text, "nv_inference_count"), self._metric(text, "nv_inference_exec_count")

    def _metric(self, text: str, name: str) -> float:
        labels = rf'(?=[^}}]*model="{re.escape(self._name)}")(?=[^}}]*version="{re.escape(self._version)}")'
        match = re.search(rf"^{name}\{{{labels}[^}}]*\}} (\S+)$", text, re.MULTILINE)
        if match is None:
            raise ServingError(f"Triton's metrics have no {name} of {self._name} version {self._version}")
        return float(match[1])

    def _ask(self, start_s: float) -> ServedModel:
        """What the server says of itself and of the model."""
        with connect(self._server.url) as client:
            version = client.get_server_metadata(client_timeout=_ANSWER_S).version
            config = client.get_model_config(self._name, self._version, client_timeout=_ANSWER_S).config
        engine, precision = (config.parameters[key].string_value for key in ("engine", "precision"))
        # What model.py logged when it had loaded: the precision that "auto" became, and the threads.
        own_words = rf"\b{re.escape(self._name)} {self._version}: (.+?)(?:, [\d.]+ s to load)?$"
        said = re.search(own_words, "\n".join(self._log), re.MULTILINE)
        return ServedModel(version, engine, precision, said[1] if said else f"{engine} {precision}", start_s)
