"""Batches on their way to the server and back, over gRPC or through shared memory; sent again when that can help."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

from swinunet.client.triton.connection import Connection
from swinunet.client.triton.control import JobControl
from swinunet.client.triton.failures import can_heal, retrying
from swinunet.client.triton.shared_memory import SharedSlots
from swinunet.client.triton.tracing import HEADER, RequestSpan
from swinunet.foundation.errors import ServerError
from swinunet.foundation.triton_channel import IMAGE_INPUT, IMAGE_TYPE
from swinunet.imaging.study_slices import Output

Answer = Future[tuple[grpcclient.InferResult, float]]  # what came, and when (time.monotonic)


@dataclass(eq=False)
class Call:
    """One batch under way. start: its first slice. slot: where it lies in shared memory, None if it travels by gRPC."""

    start: int
    image: np.ndarray
    answer: Answer
    cancel: Callable[[], None]
    slot: int | None
    sent: float


class Sender:
    """Sends the batches of one job to one version of a model.

    confirm: called before a batch is sent again; raises if the server is no longer what it was.
    answer_shape: of one slice. begin_span: asked for the span of a request, by its identifier and slices.
    """

    def __init__(
        self,
        connection: Connection,
        confirm: Callable[[], None],
        name: str,
        version: str,
        output: Output,
        answer_shape: tuple[int, ...],
        control: JobControl,
        slots: SharedSlots | None,
        begin_span: Callable[[str, int], RequestSpan] | None = None,
    ) -> None:
        self._connection, self._confirm = connection, confirm
        self._name, self._version, self._output = name, version, output
        self._answer_shape, self._dtype = answer_shape, np.dtype(np.uint8 if output == "labels" else np.float16)
        self._control, self._slots, self._begin_span = control, slots, begin_span
        control.exchange.shared_memory |= slots is not None

    def send(self, start: int, image: np.ndarray) -> Call:
        """Send a batch: image float16 [B, C, H, W]."""
        slot = self._slots.take(image) if self._slots else None
        tensor = grpcclient.InferInput(IMAGE_INPUT, image.shape, IMAGE_TYPE)
        output = grpcclient.InferRequestedOutput(self._output)
        if self._slots and slot is not None:
            self._slots.describe(slot, tensor, image.nbytes, output)
        else:
            tensor.set_data_from_numpy(image)
        answer: Answer = Future()
        request_id = self._control.next_request_id()
        span = self._begin_span(request_id, len(image)) if self._begin_span else None

        def done(result: grpcclient.InferResult | None, error: InferenceServerException | None) -> None:
            if span:
                span.end(error)
            if error is not None or result is None:
                answer.set_exception(error or InferenceServerException("empty answer"))
            else:
                answer.set_result((result, time.monotonic()))

        sent = time.monotonic()
        timeout = self._control.remaining_s(self._connection.options.timeouts.request)
        context = self._connection.client.async_infer(
            self._name,
            [tensor],
            done,
            self._version,
            outputs=[output],
            request_id=request_id,
            client_timeout=timeout,
            headers={HEADER: span.header} if span else None,
        )
        self._control.under_way(context.cancel)
        self._control.exchange.requests += 1
        self._control.exchange.sent_bytes += image.nbytes
        return Call(start, image, answer, context.cancel, slot, sent)

    def receive(self, call: Call) -> np.ndarray:
        """The answer to a batch: labels [B, H, W] or probabilities [B, K, H, W]. Sent again while that can help.

        Raises InferenceServerException if the server refuses, ServerError if it answers what was not asked.
        """

        def heals(error: BaseException) -> bool:
            if gone := self._connection.options.why_gone():
                raise ServerError(gone)
            # Whatever went wrong with shared memory, say a restarted server that knows no region, gRPC heals.
            return can_heal(error) or (call.slot is not None and isinstance(error, InferenceServerException))

        for attempt in retrying(self._connection.options.timeouts, self._control, heals):
            with attempt:
                if attempt.retry_state.attempt_number > 1:
                    call = self._send_again(call)
                return self._read(call, self._wait(call))
        raise AssertionError("unreachable")

    def _send_again(self, call: Call) -> Call:
        if self._slots:
            self._slots.retire()
        self._confirm()
        self._control.exchange.retries += 1
        return self.send(call.start, call.image)

    def _wait(self, call: Call) -> grpcclient.InferResult:
        try:
            result, arrived = call.answer.result()
        except InferenceServerException:
            self._control.remaining_s(math.inf)  # a job that was cancelled, or has no time left, says so instead
            raise
        finally:
            self._control.ended(call.cancel)
        self._control.exchange.round_trip_s += arrived - call.sent
        return result

    def _read(self, call: Call, result: grpcclient.InferResult) -> np.ndarray:
        version = result.get_response().model_version
        if version != self._version:
            raise ServerError(f"version {self._version} of {self._name} was asked, version {version} answered")
        shape = (len(call.image), *self._answer_shape)
        if self._slots and call.slot is not None:
            answer = self._slots.give_back(call.slot, shape, self._dtype)
        else:
            answer = result.as_numpy(self._output)
        if answer is None or answer.shape != shape or answer.dtype != self._dtype:
            found = "nothing" if answer is None else f"{answer.dtype} {list(answer.shape)}"
            raise ServerError(f"{self._name} answered {found}, expected {self._output} {self._dtype} {list(shape)}")
        self._control.exchange.received_bytes += answer.nbytes
        return answer
