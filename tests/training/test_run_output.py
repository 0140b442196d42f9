"""What a run shows: the bar and the log agree, a finished run says so, one point is seen, no panel is blank."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blobs import SPEC, write_blobs
from labelled_folders import make_cases, write_plain
from matplotlib.figure import Figure
from typer.testing import CliRunner

from swinunet.cli import app
from swinunet.training.loop import curves
from swinunet.training.loop.settings import TrainSettings
from swinunet.training.loop.trainer import train
from swinunet.training.network.checkpoint import load_checkpoint


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn."""
    drawn: list[Figure] = []
    monkeypatch.setattr(curves, "_save", lambda figure, path: drawn.append(figure))
    return drawn


def record(epoch: int, **figures: Any) -> dict[str, Any]:
    return {"epoch": epoch, "loss": 1.0 / epoch, "learning_rate": 1e-3} | figures


@pytest.mark.parametrize("epochs", [1, 2, 60])
def test_curves_are_seen_and_epochs_are_whole(epochs: int, figures: list[Figure], tmp_path: Path) -> None:
    records = [record(epoch, dice=0.5, dice_per_class=[0.4, None]) for epoch in range(1, epochs + 1)]
    curves.draw_curves(tmp_path / "curves.png", records, SPEC)
    (figure,) = figures
    figure.draw_without_rendering()
    for axes in figure.axes:
        assert axes.lines
        for line in axes.lines:
            assert (line.get_marker() == "o") == (epochs < 8)
        ticks = [tick for tick in axes.get_xticks() if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]]
        assert ticks
        assert all(tick == int(tick) for tick in ticks)


def test_the_bar_ends_with_the_best_dice_of_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_blobs(tmp_path / "Task99_Blob")
    settings = TrainSettings(
        recipe="tiny", epochs=2, batch_size=16, learning_rate=5e-3, ema_decay=0.5, validate_every=1, precision="fp32"
    )
    train(data, tmp_path / "run", SPEC, settings)
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    shown = re.findall(r"training .*epoch (\d+) loss ([\d.]+) best Dice ([\d.]+|-)", capsys.readouterr().err)
    assert shown
    last: dict[int, tuple[str, str]] = {int(epoch): (loss, best) for epoch, loss, best in shown}
    best = max(line["dice"] for line in log)
    assert last[2] == (f"{log[-1]['loss']:.4f}", f"{best:.4f}")


def test_no_panel_is_blank_where_a_case_is_one_slice(figures: list[Figure], tmp_path: Path) -> None:
    data = write_plain(tmp_path / "data", make_cases(4, shape=(24, 26, 1)))
    train(data, tmp_path / "run", None, TrainSettings(recipe="tiny", epochs=1, batch_size=4, precision="fp32"))
    _, overlays = figures
    assert overlays.axes
    assert all(axes.images for axes in overlays.axes)


def test_the_last_line_says_dice_epoch_time_and_where(tmp_path: Path) -> None:
    data = write_blobs(tmp_path / "Task99_Blob")
    (tmp_path / "spec.json").write_text(SPEC.to_json())
    options = [
        "--recipe",
        "tiny",
        "--epochs",
        "1",
        "--batch-size",
        "16",
        "--device",
        "cpu",
        "--precision",
        "fp32",
        "--memory-mib",
        "0",
    ]
    run = tmp_path / "run"
    done = CliRunner().invoke(
        app, ["train", str(data), "-o", str(run), "--spec", str(tmp_path / "spec.json"), *options]
    )
    assert done.exit_code == 0, done.output
    (line,) = (run / "log.jsonl").read_text().splitlines()
    last = done.output.strip().splitlines()[-1]
    assert re.fullmatch(
        rf"checkpoint: {run}/checkpoint\.safetensors, validation Dice {json.loads(line)['dice']:.4f} at epoch 1 of 1, "
        r"\d+\.\d min of training",
        last,
    )
    _, spec = load_checkpoint(run / "checkpoint.safetensors")
    assert spec is not None
    assert "memory" not in spec.provenance.command
    assert np.isclose(spec.provenance.metrics["validation_dice"], json.loads(line)["dice"], atol=1e-4)
