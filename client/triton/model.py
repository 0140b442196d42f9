"""A model on a Triton server: its spec, read from the server, and its predictions, several requests in flight."""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
from tritonclient.utils import InferenceServerException

from swinunet.client.triton.connection import Connection
from swinunet.client.triton.control import JobControl
from swinunet.client.triton.limits import RequestSize
from swinunet.client.triton.options import ServerOptions
from swinunet.client.triton.requests import Call, Sender
from swinunet.client.triton.shared_memory import SharedSlots, remove_orphans
from swinunet.client.triton.tensors import largest_batch, require_tensors
from swinunet.client.triton.tracing import RequestSpan, Tracer
from swinunet.foundation.errors import ServerError
from swinunet.foundation.nearest import did_you_mean
from swinunet.imaging import SPEC_KEY, ModelSpec
from swinunet.imaging.location import require_locator
from swinunet.imaging.study_slices import Output


@dataclass(frozen=True)
class ServedBatch:
    """What the model says of slices from `start` on: labels uint8 [B, H, W] or probabilities float16 [B, K, H, W]."""

    start: int
    tensor: np.ndarray


class TritonModel:
    """One version of one model on a server; close it, or use it in a `with` block. Safe to use from several threads.

    spec: what the server's model config says the model expects. Every request names its version, and the server is
    asked for its spec again at the end of each job and after each outage, so a job never mixes two.
    url: "HOST:PORT" of Triton's gRPC. name: None takes the only model there with a spec of ours.
    Raises ServerError if nobody answers, the model is not there or not ready; SpecError if its spec cannot be read.
    """

    def __init__(self, url: str, name: str | None = None, options: ServerOptions | None = None) -> None:
        self.options = options or ServerOptions()
        self._tracer = Tracer(self.options.traces) if self.options.traces else None
        self._connection = Connection(url, self.options)
        self._locator: TritonModel | None = None
        self._locator_lock = threading.Lock()
        self.url = url
        self._shares_memory = self.options.shared_memory == "on" or (
            self.options.shared_memory == "auto" and self._connection.is_loopback
        )
        try:
            with self._connection.translated():
                self.name, self.spec, self.max_batch_size = self._find(name)
        except BaseException:
            self.close()
            raise
        self.version = str(self.spec.version)

    def locator(self) -> TritonModel:
        """The model on the same server that finds the boxes of this one; it is closed with this one.

        Raises ServerError if it is not served, SpecError if it cannot find what this one's spec wants.
        """
        with self._locator_lock:
            if self._locator is None:
                boxes = self.spec.boxes
                assert boxes is not None
                try:
                    locator = TritonModel(self.url, boxes.locator, self.options)
                except ServerError as error:
                    raise ServerError(
                        f"{self.name} has its boxes found by {boxes.locator}: {error}; serve that, too, or give boxes "
                        "(--roi)"
                    ) from None
                try:
                    require_locator(self.spec, locator.spec)
                except BaseException:
                    locator.close()
                    raise
                self._locator = locator
            return self._locator

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._locator is not None:
            self._locator.close()
        self._connection.close()
        if self._tracer is not None:
            self._tracer.close()

    def is_reachable(self) -> bool:
        """Whether the server answers at all."""
        try:
            return self._connection.is_live()
        except InferenceServerException:
            return False

    def new_job(self) -> JobControl:
        """The control of a job that begins now, with the time that the options allow it."""
        return JobControl(self.options.timeouts.job)

    def batch_size(self, output: Output = "labels") -> int:
        """Slices to put into one request. Raises ServerError if not even one fits the messages allowed."""
        return RequestSize.of(self.spec, output).batch(self.options, self.max_batch_size)

    def predict(
        self,
        batches: Iterable[tuple[int, np.ndarray]],
        output: Output = "labels",
        control: JobControl | None = None,
    ) -> Generator[ServedBatch, None, None]:
        """The answer to each batch, in order; batches are drawn as they may leave, by the bounds in `options`.

        batches: (first slice, image float16 [B, C, H, W]). output: what to ask for; nothing else travels.
        control: the job these belong to. Whoever stops early closes the generator: requests under way are cancelled.
        Raises ServerError if a request fails for good, and JobCancelledError.
        """
        control = control or self.new_job()
        size = RequestSize.of(self.spec, output)
        most = size.largest_batch(self.options)
        waiting: deque[Call] = deque()
        with self._connection.translated(), self._shared_slots(output) as slots, self._job_span(control) as begin_span:
            classes = () if output == "labels" else (self.spec.num_classes,)
            answer = (*classes, *self.spec.input_size)
            sender = Sender(
                self._connection,
                self._require_same,
                self.name,
                self.version,
                output,
                answer,
                control,
                slots,
                begin_span,
            )
            try:
                for start, image in batches:
                    if len(image) > most:
                        raise ServerError(f"a batch of {len(image)} slices is more than one message holds, {most}")
                    while waiting and self._is_full(waiting, len(image), size):
                        yield self._receive(sender, waiting.popleft())
                    waiting.append(sender.send(start, image))
                while waiting:
                    yield self._receive(sender, waiting.popleft())
                # Each answer named the version that was asked; if it is gone by now, that harms them no more.
                with suppress(InferenceServerException):
                    self._require_same_spec()
            finally:
                control.cancel_calls()

    def span_around(self, control: JobControl, name: str) -> AbstractContextManager[None]:
        """A span of whoever gives a job, around all that it does for it; nothing where nothing is traced."""
        return nullcontext() if self._tracer is None else self._tracer.around(control.trace, name)

    @contextmanager
    def _job_span(self, control: JobControl) -> Iterator[Callable[[str, int], RequestSpan] | None]:
        """What begins the spans of a job's requests, while the job lasts; None where nothing is traced."""
        if self._tracer is None:
            yield None
            return
        with self._tracer.job(control.trace, self.name, self.version) as job:
            yield functools.partial(self._tracer.request, job)

    def _receive(self, sender: Sender, call: Call) -> ServedBatch:
        return ServedBatch(call.start, sender.receive(call))

    def _is_full(self, waiting: deque[Call], slices: int, size: RequestSize) -> bool:
        """Whether another batch of `slices` must wait for an answer."""
        under_way = sum(len(call.image) for call in waiting)
        return (
            len(waiting) >= self.options.in_flight
            or (under_way + slices) * size.slice_bytes > self.options.budget_bytes
        )

    @contextmanager
    def _shared_slots(self, output: Output) -> Iterator[SharedSlots | None]:
        """Shared memory for a job, gone when the block ends; None where it is not wanted or the server has none."""
        slots = None
        if self._shares_memory:
            size, batch = RequestSize.of(self.spec, output), self.batch_size(output)
            client = self._connection.client
            try:
                remove_orphans(client)
                slots = SharedSlots(client, batch * size.image_bytes, batch * size.answer_bytes, self.options.in_flight)
            except (InferenceServerException, OSError) as error:
                if self.options.shared_memory == "on":
                    cause = error.message() if isinstance(error, InferenceServerException) else error.strerror
                    raise ServerError(f"no shared memory with {self.url} ({cause}); use --shared-memory auto") from None
                self._shares_memory = False  # nor will it have any for the next job
        try:
            yield slots
        finally:
            if slots:
                slots.close()

    def _require_same(self) -> None:
        """Raise ServerError if the server, back after an outage, has another version or another model of this version.

        Raises InferenceServerException if it is not back.
        """
        ready = _ready_versions(self._connection.repository_index(), self.name)
        if ready and self.version not in ready:
            raise ServerError(
                f"version {self.version} of model {self.name} was replaced by version {', '.join(ready)} in mid-study; "
                "segment the study again"
            )
        self._require_same_spec()

    def _require_same_spec(self) -> None:
        config = self._connection.model_config(self.name, self.version)
        if self._spec_of(self.name, config) != self.spec:
            raise ServerError(
                f"model {self.name} version {self.version} at {self.url} is not the model that the study began with; "
                "segment the study again"
            )

    def _find(self, name: str | None) -> tuple[str, ModelSpec, int]:
        """Name, spec and largest batch of the model to use."""
        if not self._connection.is_live():
            raise ServerError(f"Triton at {self.url} is not live; look at its log")
        models = self._connection.repository_index()
        ready = sorted({model.name for model in models if model.state == "READY"})
        listed = ", ".join(ready) or "none"
        if name is not None and name not in ready:
            raise ServerError(
                f"Triton at {self.url} has no model {name} that is ready; it serves: {listed}"
                f"{did_you_mean(name, ready)}"
            )
        found = {each: self._connection.model_config(each) for each in ([name] if name else ready)}
        ours = {each: config for each, config in found.items() if SPEC_KEY in config.parameters}
        specs = {each: self._spec_of(each, config) for each, config in ours.items()}
        if name is None and len(specs) > 1:  # a model that finds boxes for another one answers nobody else
            specs = {each: spec for each, spec in specs.items() if spec.locating is None}
        if len(specs) != 1:
            what = "several models of ours" if specs else "no model with a spec of ours"
            raise ServerError(
                f"Triton at {self.url} has {what} ({listed}); "
                + ("choose one with --model" if specs else "serve one made by `swinunet export`")
            )
        ((chosen, spec),) = specs.items()
        config = ours[chosen]
        served = _ready_versions(models, chosen)
        if str(spec.version) not in served:
            raise ServerError(
                f"model {chosen} at {self.url}: its spec is of version {spec.version}, the server has "
                f"{', '.join(served)}; export the model again"
            )
        return chosen, spec, largest_batch(config)

    def _spec_of(self, name: str, config: Any) -> ModelSpec:  # a protobuf without stubs
        origin = f"model {name} at {self.url}"
        spec = ModelSpec.from_json(config.parameters[SPEC_KEY].string_value, origin)
        require_tensors(spec, config, origin)
        return spec


def _ready_versions(models: Iterable[Any], name: str) -> list[str]:
    return sorted({model.version for model in models if model.name == name and model.state == "READY"})
