"""Spans of client and Triton in one trace, which has the job's identifier; and none where nobody asked for them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from breakable_triton import small_study
from server_traces import eventually
from small_model import write_small_repository

from swinunet.client import ServerOptions, TritonModel, segment_volume
from swinunet.client.triton import tracing
from swinunet.foundation.errors import InputError, MissingExtraError
from swinunet.serving import TritonServer

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="OpenTelemetry (extra: tracing) is not installed")
from span_collector import Span, collector

SLICES_A_REQUEST = 8
REQUESTS = 12


def test_client_and_triton_are_in_one_trace(tritonserver: object, tmp_path: Path) -> None:
    """Triton's spans are children of their requests'; of a few requests it makes a trace of its own, as told in docs.

    It reads the header as text that ends with a zero, which gRPC's need not: what stands behind it in memory decides.
    """
    repository = write_small_repository(tmp_path / "repository")
    found: list[Span] = []
    with collector(found) as endpoint:
        options = ["mode=opentelemetry", f"opentelemetry,url={endpoint}/v1/traces", "rate=1", "level=TIMESTAMPS"]
        with TritonServer(repository, options=[f"--trace-config={each}" for each in options]) as server:
            with TritonModel(server.url, options=ServerOptions(traces=endpoint)) as model:
                result = segment_volume(small_study(REQUESTS * SLICES_A_REQUEST), model)
            ours = [span for span in found if span.name in ("infer", "segment") and span.trace == result.trace]
            assert sorted(span.name for span in ours) == ["infer"] * REQUESTS + ["segment"]
            (job,) = [span for span in ours if span.name == "segment"]
            requests = {span.own_id for span in ours if span.name == "infer"}
            assert {span.parent for span in ours if span.name == "infer"} == {job.own_id}

            def of_triton() -> list[Span]:
                return [span for span in found if span.name == "InferRequest"]

            assert eventually(lambda: len(of_triton()) > REQUESTS, 60), "expected a span of the canary and each request"
    joined = [span for span in of_triton() if span.parent]
    assert joined, "Triton's spans are no children of the requests"
    assert {span.trace for span in joined} == {result.trace}
    assert {span.parent for span in joined} <= requests
    assert {key for span in ours for key in span.keys} == {"model.name", "model.version", "request.id", "slices"}


def test_nothing_is_sent_without_being_asked_for(small_triton: TritonServer, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Span] = []
    with collector(found) as endpoint:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        with TritonModel(small_triton.url) as model:
            segment_volume(small_study(4), model)
    assert found == []


def test_a_collector_that_is_gone_harms_no_job(small_triton: TritonServer) -> None:
    with TritonModel(small_triton.url, options=ServerOptions(traces="http://127.0.0.1:9")) as model:
        assert segment_volume(small_study(4), model).mask.any()


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="expected the URL of an OTLP collector"):
        tracing.Tracer("localhost:4318")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'swinunet\[tracing\]'"):
        tracing.Tracer("http://localhost:4318")
