"""Spans of gateway, client and Triton are in one trace, which has the job's identifier."""

from __future__ import annotations

from pathlib import Path

import pytest
from gateway_runs import hand_over, make_config, make_study, part10_files, wait_for_jobs
from server_traces import eventually
from small_model import write_small_repository

from swinunet.client.results.report import read_report
from swinunet.gateway.process.gateway import Gateway
from swinunet.serving import TritonServer

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="OpenTelemetry (extra: tracing) is not installed")
from span_collector import Span, collector

IMAGES = 30  # 32 sagittal slices, several requests: of a few Triton makes a trace of its own (docs/watching.md)


def test_a_job_of_the_gateway_is_one_trace(tritonserver: object, tmp_path: Path) -> None:
    repository, found = write_small_repository(tmp_path / "repository"), list[Span]()
    with collector(found) as endpoint:
        options = ["mode=opentelemetry", f"opentelemetry,url={endpoint}/v1/traces", "rate=1", "level=TIMESTAMPS"]
        with TritonServer(repository, options=[f"--trace-config={each}" for each in options]) as server:
            config = make_config(tmp_path, models={"url": server.url, "traces": endpoint}, listener=None)
            with Gateway(config) as gateway:
                incoming = next((config.spool / "incoming").iterdir())
                hand_over(gateway.intake, incoming, part10_files(tmp_path / "in", make_study(IMAGES)))
                wait_for_jobs(gateway.ledger, ["done"])
            assert eventually(lambda: any(span.name == "gateway job" for span in found), 60), found
        # A Triton that ended has sent what it had.
    (report,) = (read_report(path) for path in (tmp_path / "out").rglob("report.json"))
    (job,) = (span for span in found if span.name == "gateway job")
    (segment,) = (span for span in found if span.name == "segment")
    requests = [span for span in found if span.name == "infer"]
    assert {span.trace for span in (job, segment, *requests)} == {report.trace}
    assert segment.parent == job.own_id
    assert requests
    assert {span.parent for span in requests} == {segment.own_id}
    of_triton = [span for span in found if span.parent in {request.own_id for request in requests}]
    assert {span.name for span in of_triton} == {"InferRequest"}
    assert {span.trace for span in of_triton} == {report.trace}
    assert job.keys == frozenset()


def test_nothing_is_sent_without_being_asked_for(small_triton: TritonServer, tmp_path: Path) -> None:
    found: list[Span] = []
    with collector(found) as endpoint, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        config = make_config(tmp_path, models={"url": small_triton.url}, listener=None)
        with Gateway(config) as gateway:
            incoming = next((config.spool / "incoming").iterdir())
            hand_over(gateway.intake, incoming, part10_files(tmp_path / "in", make_study(3)))
            wait_for_jobs(gateway.ledger, ["done"])
    assert found == []
