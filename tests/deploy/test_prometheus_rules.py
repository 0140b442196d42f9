"""Recording and alert rules: checked and unit-tested by promtool, and asked of a live Prometheus on a live Triton."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from breakable_triton import small_study
from server_traces import eventually

from swinunet.client import TritonModel, segment_volume
from swinunet.serving import TritonServer
from swinunet.serving.canary_exporter import CanaryExporter, CanaryState, ask_canaries, exposition
from swinunet.serving.ports import LOOPBACK, choose_port

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
TESTS = sorted((DEPLOY / "prometheus" / "tests").glob("*.yml"))
needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed (make debian)")
needs_prometheus = pytest.mark.skipif(
    not shutil.which("prometheus"), reason="prometheus is not installed (make debian)"
)


def promtool(*arguments: object) -> str:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_promtool
def test_the_rules_can_be_read() -> None:
    assert promtool("check", "rules", *RULES).count("SUCCESS") == len(RULES) == 2


@needs_promtool
def test_every_alert_fires_on_its_fault_and_not_without_it() -> None:
    assert promtool("test", "rules", *TESTS).count("SUCCESS") == len(TESTS) == 2


def test_every_alert_has_a_test_and_says_what_to_do() -> None:
    text = (DEPLOY / "prometheus" / "rules" / "alerts.yml").read_text()
    tests = "".join(path.read_text() for path in TESTS)
    names = re.findall(r"- alert: (\w+)", text)
    assert len(names) == len(set(names)) > 10
    for name in names:
        assert f"alertname: {name}" in tests, name
        assert re.search(rf'alertname="{name}"|alertname: {name}\n +exp_alerts:\n', tests), (
            f"{name} never fires in a test"
        )
    assert text.count(" action: ") == text.count(" summary: ") == len(names)


def query(address: str, expression: str) -> list[dict[str, object]]:
    with urllib.request.urlopen(f"{address}/api/v1/query?{urllib.parse.urlencode({'query': expression})}") as answer:
        said = json.load(answer)
    assert said["status"] == "success", said
    return list(said["data"]["result"])


@pytest.fixture(scope="module")
def canary_exporter(small_triton: TritonServer) -> Iterator[CanaryExporter]:
    exporter = CanaryExporter(small_triton.url, small_triton.repository, LOOPBACK, 0, 1.0)
    thread = threading.Thread(target=exporter.run)
    thread.start()
    yield exporter
    exporter.close()
    thread.join()


@pytest.fixture(scope="module")
def prometheus(
    small_triton: TritonServer, canary_exporter: CanaryExporter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A Prometheus on loopback with the project's rules, which scrapes the small Triton and its canary each second."""
    folder = tmp_path_factory.mktemp("prometheus")
    target = urllib.parse.urlsplit(small_triton.metrics_url).netloc
    (folder / "prometheus.yml").write_text(
        f"""global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: {json.dumps([str(path) for path in RULES])}
scrape_configs:
  - {{job_name: triton, static_configs: [{{targets: ["{target}"]}}]}}
  - {{job_name: canary, static_configs: [{{targets: ["127.0.0.1:{canary_exporter.port}"]}}]}}
"""
    )
    port = choose_port("Prometheus", None)
    options = (f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data")
    with subprocess.Popen(
        ["prometheus", *options, f"--web.listen-address={LOOPBACK}:{port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        address = f"http://{LOOPBACK}:{port}"
        assert eventually(lambda: answers(f"{address}/-/ready"), 300)
        yield address
        process.terminate()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url):
            return True
    except OSError:
        return False


@needs_prometheus
def test_a_live_prometheus_computes_what_is_recorded_of_a_live_triton(
    prometheus: str, small_triton: TritonServer
) -> None:
    def served() -> bool:
        with TritonModel(small_triton.url) as model:
            segment_volume(small_study(8), model)
        return bool(query(prometheus, 'model:triton_slices:rate5m{model="small"} > 0'))

    assert eventually(served, 300)
    for name in ("queue_seconds:mean5m", "request_seconds:mean5m", "requests:rate5m", "pending_requests:sum"):
        (found,) = query(prometheus, f'model:triton_{name}{{model="small"}}')
        assert float(found["value"][1]) >= 0  # type: ignore[index]
    assert eventually(lambda: bool(query(prometheus, 'swinunet_canary_ok{model="small"} == 1')), 300)
    assert query(prometheus, 'ALERTS{alertstate="firing"}') == []
    for panel in json.loads((DEPLOY / "grafana" / "dashboards" / "swinunet.json").read_text())["panels"]:
        for target in panel.get("targets", ()):
            query(prometheus, target["expr"])  # of a gateway that is not there: no result, and no error
            if "triton" in target["expr"] and "gpu" not in target["expr"] and "failed" not in target["expr"]:
                assert query(prometheus, target["expr"]), f"{panel['title']} shows nothing"


def test_the_canary_of_a_server_that_is_gone_or_wrong(small_triton: TritonServer, tmp_path: Path) -> None:
    (state,) = ask_canaries(small_triton.url, small_triton.repository)
    assert (state.model, state.ok) == ("small", True)
    (gone,) = ask_canaries("127.0.0.1:9", small_triton.repository)
    assert (gone.model, gone.ok) == ("", False)
    wrong = tmp_path / "repository"
    shutil.copytree(small_triton.repository, wrong)
    canary = wrong / "small" / "1" / "canary.npz"
    canary.write_bytes(_another_answer(canary))
    (state,) = ask_canaries(small_triton.url, wrong)
    assert (state.model, state.ok) == ("small", False)


def _another_answer(canary: Path) -> bytes:
    with np.load(canary) as held:
        arrays = dict(held)
    arrays["labels"] = (arrays["labels"] + 1) % 3
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


@needs_promtool
def test_what_the_exporter_says_is_what_prometheus_reads() -> None:
    text = exposition([CanaryState('odd"name\\', True, 0.25, 1e9), CanaryState("", False, 20, 1e9)])
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 'swinunet_canary_ok{model="odd\\"name\\\\"} 1.000' in text
