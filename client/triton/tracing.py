"""OpenTelemetry spans of jobs and requests, joined with Triton's own by the job's trace identifier. Off by default.

Each request carries a `traceparent` header (W3C Trace Context): a Triton that traces in OpenTelemetry's way makes its
spans children of the request's. Spans go to a collector by OTLP over HTTP. They hold times, the model's name and
version, and sizes; nothing of the study.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swinunet.foundation.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from opentelemetry.context import Context

HEADER = "traceparent"
_SERVICE = "swinunet-client"


@dataclass(frozen=True)
class RequestSpan:
    """A request under way. header: the value of its `traceparent`. end: called when it is answered, with its error."""

    header: str
    end: Callable[[Exception | None], None]


class Tracer:
    """Sends spans to the collector at `endpoint`, as http://127.0.0.1:4318.

    Raises InputError for what is no such address, MissingExtraError without OpenTelemetry.
    """

    def __init__(self, endpoint: str) -> None:
        if not endpoint.startswith(("http://", "https://")):
            raise InputError(f"--traces {endpoint}: expected the URL of an OTLP collector, as http://127.0.0.1:4318")
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError:
            raise MissingExtraError(
                "--traces needs OpenTelemetry, which is not installed; pip install 'swinunet[tracing]'"
            ) from None
        self._provider = TracerProvider(resource=Resource.create({"service.name": _SERVICE}), shutdown_on_exit=False)
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("swinunet")
        self._around: dict[str, Context] = {}  # by trace

    @contextmanager
    def around(self, trace: str, name: str) -> Iterator[None]:
        """A span of whoever gives a job, from before it begins until after it: the span of the job is its child.

        trace: the job's.
        """
        from opentelemetry.trace import set_span_in_context

        span = self._tracer.start_span(name, _root(trace))
        self._around[trace] = set_span_in_context(span)
        try:
            yield
        finally:
            del self._around[trace]
            span.end()

    @contextmanager
    def job(self, trace: str, model: str, version: str) -> Iterator[Context]:
        """The span of a job, while the block runs; its requests are its children.

        trace: 32 hex digits, the job's, which become the trace identifier.
        """
        from opentelemetry.trace import set_span_in_context

        attributes = {"model.name": model, "model.version": version}
        span = self._tracer.start_span("segment", self._around.get(trace) or _root(trace), attributes=attributes)
        try:
            yield set_span_in_context(span)
        finally:
            span.end()

    def request(self, job: Context, request_id: str, slices: int) -> RequestSpan:
        """The span of a request that is sent now."""
        from opentelemetry.trace import SpanKind, Status, StatusCode, format_span_id, format_trace_id

        attributes: dict[str, str | int] = {"request.id": request_id, "slices": slices}
        span = self._tracer.start_span("infer", job, kind=SpanKind.CLIENT, attributes=attributes)
        found = span.get_span_context()

        def end(error: Exception | None) -> None:
            if error is not None:
                span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            span.end()

        return RequestSpan(f"00-{format_trace_id(found.trace_id)}-{format_span_id(found.span_id)}-01", end)

    def close(self) -> None:
        """Send what has not been sent."""
        self._provider.shutdown()


def _root(trace: str) -> Context:
    """A parent that nobody recorded: so a trace gets the job's identifier, and the job's span no sibling."""
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    parent = SpanContext(int(trace, 16), int(trace[:16], 16) or 1, False, TraceFlags(TraceFlags.SAMPLED))
    return set_span_in_context(NonRecordingSpan(parent))
