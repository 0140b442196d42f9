"""`swinunet benchmark graph`: nodes before and after each change, and what it reports. Never how fast anything is."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from command_line import run_benchmark as run_main
from small_model import SMALL_SPEC

from swinunet.benchmarks.graph import AS_TRAINED, ENGINES
from swinunet.export.graph.folding import CHANGES
from swinunet.training.network.checkpoint import save_checkpoint
from swinunet.training.network.recipes import recipe
from swinunet.training.network.swin_unet import SwinUNet


def test_quick_run_counts_and_measures_every_change(
    small_repository: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(recipe("tiny").build(1, 3), depths=(2,), num_heads=(3,))  # quick to export
    save_checkpoint(small_repository / SMALL_SPEC.name / "1" / "checkpoint.safetensors", SwinUNet(config), SMALL_SPEC)
    options = ["--repository", str(small_repository), "--quick", "--seconds", "0.01", "-o", str(tmp_path / "report")]
    status, out, err = run_main(capfd, monkeypatch, "graph", *options)
    assert status == 0, err
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["graph.html", "graph.json", "graph.md"]
    report = json.loads((tmp_path / "report" / "graph.json").read_text())
    text = (tmp_path / "report" / "graph.md").read_text()

    assert [row["title"] for row in report["rows"]] == [AS_TRAINED, *CHANGES]
    nodes = [sum(row["nodes"].values()) for row in report["rows"]]
    assert nodes[-1] < nodes[-2] < nodes[-3]
    assert report["rows"][0]["nodes"]["Slice"] > 0  # windows are rolled
    assert "Slice" not in report["rows"][-1]["nodes"]
    for row, count in zip(report["rows"], nodes, strict=True):
        assert f"{row['title']} | {count} |" in text
        for name in ENGINES:
            assert len(row["p50_ms"][name]["rounds"]) == 2
            assert row["p50_ms"][name]["min"] > 0
    assert all(each["rounds"] == [1, 1] for each in report["rows"][0]["ratio"].values())
    assert "windows by one gather" in " ".join(out.split())


def test_options_of_another_benchmark_are_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for option, value in (("--data", str(tmp_path)), ("--engines", "openvino-f32"), ("--batches", "1")):
        status, out, err = run_main(capfd, monkeypatch, "graph", option, value, "-o", str(tmp_path / "report"))
        assert (status, out) == (1, "")
        assert "is not of `swinunet benchmark graph`" in err
    assert not (tmp_path / "report").exists()
