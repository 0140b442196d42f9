"""`swinunet tune` on a real Triton, from the search to the server that takes its config; and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import run_swinunet
from small_model import write_small_repository

from swinunet.benchmarks.tuning import candidates, measuring, search
from swinunet.serving import TritonServer
from swinunet.serving.tuned import chosen_by_itself


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The small model, whose float32 engines passed a gate."""
    made = write_small_repository(tmp_path / "repository")
    verdicts = [{"engine": name, "status": "passed"} for name in ("openvino-f32", "onnxruntime-fp32")]
    (made / "small" / "1" / "gate.json").write_text(json.dumps({"served": "openvino-f32", "verdicts": verdicts}))
    return made


@pytest.mark.usefixtures("tritonserver", "nothing_left")
def test_it_measures_writes_and_is_served(
    repository: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "physical_cores", lambda: 1)  # the fewest ways
    monkeypatch.setattr(search, "CALLERS", (1, 2))
    monkeypatch.setattr(search, "_ROUNDS", 1)
    monkeypatch.setattr(candidates, "_BATCHES", ())
    monkeypatch.setattr(candidates, "_DELAYS_US", (1000,))
    words = ("small", "--repository", str(repository), "--latency-ms", "60000", "--seconds", "0.05")
    status, out, err = run_swinunet(capfd, monkeypatch, "tune", *words, "-o", str(tmp_path / "report"))
    assert status == 0, err
    assert "openvino-f32" in out
    assert "onnxruntime-fp32" in out
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"tune.md", "tune.json", "tune.html", "tune.png"}
    found = json.loads((tmp_path / "report" / "tune.json").read_text())
    assert all(each["foreground_agreement"] == 1.0 for each in found["trials"])
    assert chosen_by_itself(repository) == ("tuned", "")
    with TritonServer(repository, config_name="tuned") as server:
        assert [model.state for model in server.models] == ["READY"]


def test_a_dry_run_starts_and_writes_nothing(
    repository: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "TritonServer", None, raising=False)
    monkeypatch.setattr(search, "physical_cores", lambda: 4)
    before = {path: path.stat().st_mtime_ns for path in repository.rglob("*")}
    words = ("small", "--repository", str(repository), "--throughput", "--dry-run")
    status, out, _ = run_swinunet(capfd, monkeypatch, "tune", *words)
    assert status == 0
    lines = out.splitlines()
    assert "- openvino-f32, 4 streams" in lines
    assert "- openvino-f32, 2 processes" in lines
    assert any(line.startswith("not tried: openvino-bf16: the gate of this version: not judged") for line in lines)
    assert {path: path.stat().st_mtime_ns for path in repository.rglob("*")} == before


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("small", "nothing says what to tune for; give --latency-ms N, --memory-mb N or --throughput"),
        ("small --throughput --latency-ms 5", "--throughput is without a limit of latency"),
        ("small --latency-ms 0", "--latency-ms is 0; expected more than 0"),
        ("large --throughput", "has no model 'large' (there is: small)"),
        ("small --throughput", "no engine can be tried here"),
    ],
)
def test_bad_input_is_one_clear_line(
    typed: str, says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = write_small_repository(tmp_path / "repository")  # without a gate
    words = (*typed.split(), "--repository", str(made), "-o", str(tmp_path / "report"))
    status, out, err = run_swinunet(capfd, monkeypatch, "tune", *words)
    assert (status, out) == (1, "")
    assert says in err.splitlines()[-1]
