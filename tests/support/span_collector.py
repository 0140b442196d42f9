"""An OTLP collector on loopback that keeps the spans which come, of OpenTelemetry for Python and of Triton."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Span:
    """A span; identifiers are hexadecimal. keys: of its attributes."""

    name: str
    trace: str
    own_id: str
    parent: str
    keys: frozenset[str]


def spans_in(body: bytes, content_type: str) -> Iterator[Span]:
    """Of an OTLP request, as protobuf (OpenTelemetry for Python) or JSON (Triton's, for C++)."""
    if "json" in content_type:
        for resource in json.loads(body)["resourceSpans"]:
            for span in (span for scope in resource["scopeSpans"] for span in scope["spans"]):
                keys = frozenset(each["key"] for each in span.get("attributes", ()))
                yield Span(span["name"], span["traceId"], span["spanId"], span.get("parentSpanId", ""), keys)
        return
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        for span in (span for scope in resource.scope_spans for span in scope.spans):
            keys = frozenset(each.key for each in span.attributes)
            yield Span(span.name, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(), keys)


@contextmanager
def collector(found: list[Span]) -> Iterator[str]:
    """An OTLP collector on loopback; each span that comes is put into `found`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            found.extend(spans_in(body, self.headers["Content-Type"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
