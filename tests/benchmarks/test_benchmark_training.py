"""`swinunet benchmark training`: what it reports and refuses. Never how fast anything is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from command_line import run_benchmark as run_main

from swinunet.benchmarks.training import (
    MeasuredTraining,
    TrainingSample,
    TrainingSettings,
    largest_batch,
    parse_recipes,
    run_training_benchmark,
    training_report,
)
from swinunet.benchmarks.workers.training_worker import SPEC, TrainingWorker, feed, plain_step
from swinunet.training.network.recipes import RECIPES, recipe
from swinunet.training.network.swin_unet import SwinUNet


def test_quick_run_measures_every_way_of_training(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--recipes", "tiny", "--quick", "--seconds", "0.01", "-o", str(tmp_path / "report")]
    status, out, err = run_main(capfd, monkeypatch, "training", *options)
    assert status == 0, err
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == [
        "training.html",
        "training.json",
        "training.md",
    ]
    report = json.loads((tmp_path / "report" / "training.json").read_text())
    text = (tmp_path / "report" / "training.md").read_text()

    variants = ["plain", "fp32"] + ["auto"] * (report["auto_precision"] != "fp32")
    assert [row["variant"] for row in report["rows"]] == variants
    for row in report["rows"]:
        assert (row["recipe"], row["batch"], row["error"]) == ("tiny", 16, None)
        assert row["slices"] >= 2 * 16
        assert row["slices"] % 16 == 0
        assert row["peak_mib"] > 0
        for name in ("slices_per_s", "ratio_to_plain"):
            assert len(row[name]["rounds"]) == 2
            assert 0 < row[name]["min"] <= row[name]["median"] <= row[name]["max"]
        assert f"| tiny | 32 x 32 | 16 | {row['title']} |" in text
        assert row["title"] in out
    assert report["rows"][0]["ratio_to_plain"]["rounds"] == [1, 1]
    assert report["rows"][0]["data_share"] is None
    assert 0 < report["rows"][1]["data_share"]["min"] <= report["rows"][1]["data_share"]["max"] < 1
    assert report["machine"]["cpu"] in text


def test_the_plain_loop_learns() -> None:
    torch.manual_seed(0)
    config = recipe("tiny").build(SPEC.in_channels, SPEC.num_classes)
    batch = next(feed(config, 4).epoch(1))
    step = plain_step(SwinUNet(config))
    losses = [step(batch.image, batch.labels) for _ in range(12)]
    assert losses[-1] < 0.9 * losses[0]


def test_every_batch_is_full_and_holds_every_class() -> None:
    source = feed(recipe("tiny").build(SPEC.in_channels, SPEC.num_classes), 3)
    for batch in source.epoch(1):
        assert batch.image.shape == (3, SPEC.in_channels, 32, 32)
        assert batch.labels.unique().tolist() == [0, 1, 2]


def test_a_measurement_is_one_step_at_least() -> None:
    worker = TrainingWorker()
    worker.load(recipe_name="tiny", variant="plain", threads=torch.get_num_threads())
    assert worker.measure(batch=2, seconds=0.0)["slices"] == 2


@pytest.mark.parametrize(("limit_mib", "batch"), [(10_000.0, 16), (1_900.0, 16), (1_899.0, 8), (700.0, 4), (1.0, 1)])
def test_the_batch_is_the_largest_that_fits(limit_mib: float, batch: int) -> None:
    assert largest_batch(500.0, 700.0, limit_mib) == batch  # 100 MiB a slice


def test_figures_are_of_the_step_and_ratios_within_a_round() -> None:
    plain, ours = MeasuredTraining("tiny", "plain", "plain"), MeasuredTraining("tiny", "fp32", "ours")
    for step_s in (1.0, 2.0):  # the machine was busy in the second round
        plain.samples.append(TrainingSample(16, step_s, 9.0, 100.0))
        ours.samples.append(TrainingSample(16, 2 * step_s, 2 * step_s, 100.0))
    ratio, share = ours.ratio(plain, lambda sample: sample.slices_per_s), ours.spread(lambda sample: sample.data_share)
    assert ratio is not None
    assert ratio.rounds == (0.5, 0.5)
    assert share is not None
    assert share.rounds == (0.5, 0.5)
    ours.error = "died"
    assert ours.ratio(plain, lambda sample: sample.slices_per_s) is None


def test_a_recipe_that_fails_says_why() -> None:
    result = run_training_benchmark(TrainingSettings(("tiny",), rounds=1, seconds=0.01, threads=-1))
    report = training_report(result)
    assert all("set_num_threads expects a positive integer" in row["error"] for row in report.json()["rows"])
    assert "not measured: RuntimeError: set_num_threads expects" in report.markdown()


def test_recipes_are_all_or_those_named_once() -> None:
    assert parse_recipes(None) == tuple(RECIPES)
    assert parse_recipes("tiny, small,tiny") == ("tiny", "small")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["training", "--recipes", "tiny,huge"], f"no recipe is named 'huge'; choose one of {', '.join(RECIPES)}"),
        (["training", "--recipes", ""], "no recipe is named ''"),
        (["training", "--seconds", "0"], "--seconds is 0; expected more than 0"),
        (["training", "--model", "liver"], "--model is not of `swinunet benchmark training` (of serving, graph only)"),
        (["--recipes", "tiny"], "--recipes is not of `swinunet benchmark serving` (of training only)"),
        (["speed"], "there is no benchmark of 'speed'; choose one of serving"),
        (["speed"], "training (steps of each recipe"),
    ],
)
def test_bad_input_is_one_clear_line(
    arguments: list[str],
    expected: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    status, out, err = run_main(capfd, monkeypatch, *arguments, "-o", str(tmp_path / "report"))
    assert status == 1
    assert expected in err
    assert err.count("\n") == 1
    assert out == ""
    assert not (tmp_path / "report").exists()
