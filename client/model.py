"""A model on a Triton server: its spec, read from the server, and its predictions, several requests in flight."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

from imaging import SPEC_KEY, ModelSpec
from imaging.study_sampler import Output
from swinunet.errors import ServerError

IN_FLIGHT = 4  # requests: one computes, the next are decoded and queued; more only cost memory
BATCH = 8  # slices a request, where the server allows as many
CONNECT_TIMEOUT_S = 10.0
REQUEST_TIMEOUT_S = 120.0
_MAX_MESSAGE_BYTES = 2**31 - 1  # gRPC's own limit is 4 MB

T = TypeVar("T")


@dataclass(frozen=True)
class ServedBatch:
    """What the model says of slices from `start` on: labels uint8 [B, H, W] or probabilities float16 [B, K, H, W]."""

    start: int
    tensor: np.ndarray


class TritonModel:
    """One version of one model on a server; close it, or use it in a `with` block.

    spec: what the server's model config says the model expects. Every request names its version, so a job never mixes
    two. url: "HOST:PORT" of Triton's gRPC. name: None takes the only model there with a spec of ours.
    trace_id: requests are called `<trace_id>/<number>` in Triton's traces and log; none is given without it.
    Raises ServerError if nobody answers, the model is not there or not ready; SpecError if its spec cannot be read.
    """

    def __init__(self, url: str, name: str | None = None, trace_id: str | None = None) -> None:
        if not _is_address(url):
            raise ServerError(f"{url!r} is no gRPC address; expected HOST:PORT, such as localhost:8001")
        self.url = url
        self._trace_id, self._sent = trace_id, 0
        self._client = grpcclient.InferenceServerClient(url, channel_args=_channel_args())
        try:
            self.name, self.spec, self.max_batch_size = self._find(name)
        except BaseException:
            self.close()
            raise
        self.version = str(self.spec.version)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def predict(
        self, batches: Iterable[tuple[int, np.ndarray]], output: Output = "labels", in_flight: int = IN_FLIGHT
    ) -> Iterator[ServedBatch]:
        """The answer to each batch, in order; batches are drawn only as requests leave, `in_flight` at most at a time.

        batches: (first slice, image float16 [B, C, H, W]). output: what to ask for; nothing else travels.
        Raises ServerError if a request fails.
        """
        waiting: deque[tuple[int, Future[np.ndarray]]] = deque()
        for start, image in batches:
            waiting.append((start, self._send(image, output)))
            if len(waiting) >= in_flight:
                yield self._receive(*waiting.popleft())
        while waiting:
            yield self._receive(*waiting.popleft())

    def _receive(self, start: int, answer: Future[np.ndarray]) -> ServedBatch:
        return ServedBatch(start, self._ask(answer.result))

    def _send(self, image: np.ndarray, output: Output) -> Future[np.ndarray]:
        tensor = grpcclient.InferInput("image", image.shape, "FP16")
        tensor.set_data_from_numpy(image)
        answer: Future[np.ndarray] = Future()

        def done(result: grpcclient.InferResult | None, error: InferenceServerException | None) -> None:
            if error is not None or result is None:
                answer.set_exception(error or InferenceServerException("empty answer"))
            else:
                answer.set_result(result.as_numpy(output))

        outputs = [grpcclient.InferRequestedOutput(output)]
        self._sent += 1
        self._client.async_infer(
            self.name,
            [tensor],
            done,
            self.version,
            outputs=outputs,
            request_id=f"{self._trace_id}/{self._sent}" if self._trace_id else "",
            client_timeout=REQUEST_TIMEOUT_S,
        )
        return answer

    def _find(self, name: str | None) -> tuple[str, ModelSpec, int]:
        """Name, spec and largest batch of the model to use."""
        if not self._ask(lambda: self._client.is_server_live(client_timeout=CONNECT_TIMEOUT_S)):
            raise ServerError(f"Triton at {self.url} is not live; look at its log")
        models = self._ask(lambda: self._client.get_model_repository_index(client_timeout=CONNECT_TIMEOUT_S)).models
        ready = sorted({model.name for model in models if model.state == "READY"})
        listed = ", ".join(ready) or "none"
        if name is not None and name not in ready:
            raise ServerError(f"Triton at {self.url} has no model {name} that is ready; it serves: {listed}")
        found = {each: self._config(each) for each in ([name] if name else ready)}
        ours = {each: config for each, config in found.items() if SPEC_KEY in config.parameters}
        if len(ours) != 1:
            what = "several models of ours" if ours else "no model with a spec of ours"
            raise ServerError(
                f"Triton at {self.url} has {what} ({listed}); "
                + ("choose one with --model" if ours else "serve one made by `swinunet export`")
            )
        ((chosen, config),) = ours.items()
        origin = f"model {chosen} at {self.url}"
        spec = ModelSpec.from_json(config.parameters[SPEC_KEY].string_value, origin)
        served = sorted({model.version for model in models if model.name == chosen and model.state == "READY"})
        if str(spec.version) not in served:
            raise ServerError(
                f"{origin}: its spec is of version {spec.version}, the server has {', '.join(served)}; "
                "export the model again"
            )
        return chosen, spec, int(config.max_batch_size)

    def _config(self, name: str) -> Any:  # a protobuf without stubs
        return self._ask(lambda: self._client.get_model_config(name, client_timeout=CONNECT_TIMEOUT_S)).config

    def _ask(self, question: Callable[[], T]) -> T:
        """Ask the server; its refusals become ServerError."""
        try:
            return question()
        except InferenceServerException as error:
            raise ServerError(_reason(self.url, error)) from None


def _reason(url: str, error: InferenceServerException) -> str:
    status, message = str(error.status() or ""), " ".join(str(error.message()).split())
    if "UNAVAILABLE" in status:
        return f"no Triton answers at {url}; start one with `swinunet serve`, or leave --url away to start it here"
    if "DEADLINE_EXCEEDED" in status:
        return f"Triton at {url} did not answer in time; look at its log, or try again when it is less busy"
    return f"Triton at {url} refused the request: {message[:300]}"


def _is_address(url: str) -> bool:
    """HOST:PORT; gRPC would take other text for a host name, and say so in its own words on standard error."""
    host, _, port = url.rpartition(":")
    return bool(re.fullmatch(r"[\w.\-]+|\[[0-9a-fA-F:.]+\]", host)) and port.isdecimal() and 0 < int(port) < 65536


def _channel_args() -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.enable_http_proxy", 0),  # an http_proxy in the environment would catch the hospital's own network
    ]
