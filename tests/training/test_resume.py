"""A run that is killed, meets a full disk or diverges: what is left, and that `--resume` ends with the same bits."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from blobs import SPEC, write_blobs
from safetensors import safe_open
from typer.testing import CliRunner

import swinunet.foundation.files
from swinunet.cli import app
from swinunet.foundation.errors import CheckpointError, InputError, OutputError, SwinUNetError
from swinunet.training.loop.optimisation import Learner
from swinunet.training.loop.run_folder import read_run_folder
from swinunet.training.loop.settings import Augmentation, TrainSettings
from swinunet.training.loop.trainer import train
from swinunet.training.network.checkpoint import load_checkpoint

SETTINGS = TrainSettings(
    recipe="tiny", epochs=3, batch_size=8, precision="fp32", device="cpu", validate_every=1, save_every=2, seed=5
)

# Run in a process of its own, which kills itself, without any warning, at the named place.
KILLED = """
import os, signal, sys
from pathlib import Path
from typing import Any
from blobs import SPEC
import swinunet.foundation.files, swinunet.training.loop.trainer
from swinunet.training.loop.optimisation import Learner
from swinunet.training.loop.settings import TrainSettings
from test_resume import SETTINGS

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def on_call(place, name, wanted):
    original, calls = getattr(place, name), []
    def counted(*args, **kwargs):
        calls.append(1)
        if len(calls) == wanted:
            if name == "fsync":
                os.truncate(args[0], 4096)
            kill()
        return original(*args, **kwargs)
    setattr(place, name, counted)

place = {
    "before a step": (Learner, "step", 14),
    "within a step, between weights and average": (Learner, "_update_average", 15),
    "state half written": (swinunet.foundation.files.os, "fsync", 12),
    "between checkpoint and state": (swinunet.training.loop.trainer, "save_state", 10),
    "before the first state": (Learner, "step", 2),
}[sys.argv[3]]
on_call(*place)
swinunet.training.loop.trainer.train(Path(sys.argv[1]), Path(sys.argv[2]), SPEC, SETTINGS)
"""
PLACES = [
    "before a step",
    "within a step, between weights and average",
    "state half written",
    "between checkpoint and state",
    "before the first state",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blobs(tmp_path_factory.mktemp("data") / "Task99_Blob")


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train(data, run, SPEC, SETTINGS)
    return run


def log(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def contents(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata, whose order in the file is not always the same."""
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def require_same(run: Path, whole: Path) -> None:
    for name in ("checkpoint", "last", "state"):
        ours, theirs = (contents(folder / f"{name}.safetensors") for folder in (run, whole))
        assert ours[0].keys() == theirs[0].keys()
        assert all(torch.equal(tensor, theirs[0][key]) for key, tensor in ours[0].items())
        assert ours[1] == theirs[1]
    for key in ("epoch", "loss", "dice", "learning_rate"):
        assert [line[key] for line in log(run)] == [line[key] for line in log(whole)]


@pytest.mark.parametrize("place", PLACES)
def test_killed_and_resumed_ends_with_the_same_bits(place: str, data: Path, whole: Path, tmp_path: Path) -> None:
    run, here = tmp_path / "run", Path(__file__).parent
    environment = os.environ | {
        "PYTHONPATH": f"{here}:{here.parent / 'support'}:{here.parents[1]}",
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
    }
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(data), str(run), place], env=environment, capture_output=True, text=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(log(run)) < SETTINGS.epochs if (run / "log.jsonl").exists() else place == PLACES[-1]
    started = read_run_folder(run)
    assert (started.spec, started.settings) == (SPEC, SETTINGS)
    train(started.data, run, started.spec, started.settings, resume=True)
    require_same(run, whole)
    assert not [path.name for path in run.iterdir() if path.name.startswith(".")]


def test_resuming_a_finished_run_changes_nothing(data: Path, whole: Path) -> None:
    before = (whole / "checkpoint.safetensors").read_bytes()
    result = CliRunner().invoke(app, ["train", "--resume", str(whole), "--workers", "1"])
    assert result.exit_code == 0, result.output
    assert f"checkpoint: {whole}/checkpoint.safetensors" in result.output.replace("\n", "")
    assert (whole / "checkpoint.safetensors").read_bytes() == before
    assert len(log(whole)) == SETTINGS.epochs


def test_batches_gathered_ahead_are_the_same(data: Path, whole: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "run", SPEC, dataclasses.replace(SETTINGS, workers=3, save_every=0))
    require_same(tmp_path / "run", whole)


@pytest.mark.parametrize("full_at", [5, 10, 18])
def test_a_full_disk_leaves_what_was_there(
    full_at: int, data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, calls, fsync = tmp_path / "run", [], os.fsync

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) >= full_at:
            os.truncate(descriptor, 100)
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(swinunet.foundation.files.os, "fsync", full)
        with pytest.raises(OutputError, match=r"No space left on device.*free some space; then go on with --resume"):
            train(data, run, SPEC, SETTINGS)
    assert not [path.name for path in run.iterdir() if path.name.startswith(".")]
    if (run / "checkpoint.safetensors").exists():
        load_checkpoint(run / "checkpoint.safetensors")
    train(data, run, SPEC, SETTINGS, resume=True)
    require_same(run, whole)


def test_a_loss_that_is_no_number_stops_and_says_where(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, gradient = tmp_path / "run", Learner.gradient

    def broken(learner: Learner, image: torch.Tensor, labels: torch.Tensor) -> float:
        loss = gradient(learner, image, labels)
        return math.nan if learner.steps == 11 else loss

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "gradient", broken)
        with pytest.raises(SwinUNetError, match=r"epoch 2, step \d \(slices of blob_.*\): the loss became nan"):
            train(data, run, SPEC, SETTINGS)
    load_checkpoint(run / "checkpoint.safetensors")
    train(data, run, SPEC, SETTINGS, resume=True)
    require_same(run, whole)


def with_five_cases(root: Path) -> None:
    said = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(json.dumps(said | {"training": said["training"][:5]}))


@pytest.mark.parametrize(
    ("settings", "spec", "says"),
    [
        ({"loss": "dice-bce"}, {}, "was started otherwise: loss .dice-bce, dice-ce. .now, then."),
        ({"seed": 6}, {}, r"was started otherwise: seed"),
        ({}, {"context_step_mm": 2.0}, 'another spec .*"context_step_mm":1.0.*now.*"context_step_mm":2.0'),
        ({}, {"context_slices": 1}, "another network .in_channels=3.*now in_channels=1"),
    ],
)
def test_another_run_is_not_resumed(
    settings: dict[str, object], spec: dict[str, object], says: str, data: Path, whole: Path, tmp_path: Path
) -> None:
    options = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    if spec:
        (tmp_path / "spec.json").write_text(dataclasses.replace(SPEC, **spec).to_json())  # type: ignore[arg-type]
        options += ["--spec", str(tmp_path / "spec.json")]
    result = CliRunner().invoke(app, ["train", "--resume", str(whole), *options])
    assert isinstance(result.exception, SwinUNetError)
    with pytest.raises(SwinUNetError, match=says):
        raise result.exception


def test_other_data_is_not_resumed(whole: Path, tmp_path: Path) -> None:
    other = write_blobs(tmp_path / "Task99_Blob")
    with_five_cases(other)
    with pytest.raises(InputError, match=r"6 cases were used when .* was begun, 5 of them are there"):
        train(other, whole, SPEC, SETTINGS, resume=True)
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    said = json.loads((run / "fingerprint.json").read_text())
    (run / "fingerprint.json").write_text(json.dumps(said | {"cases": said["cases"][:5]}))
    with pytest.raises(CheckpointError, match=r"another training cases .5 cases.*now 4 cases"):
        train(other, run, SPEC, SETTINGS, resume=True)


def test_what_is_no_run_is_not_resumed(data: Path, whole: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no settings\.json; expected the folder of a run"):
        read_run_folder(tmp_path)
    (tmp_path / "settings.json").write_text('{"data": "x", "settings": {"epochs": "many"}}')
    with pytest.raises(InputError, match=r"settings\.json: not the settings of a run"):
        read_run_folder(tmp_path)
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    (run / "state.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(CheckpointError, match="not the state of a run"):
        train(data, run, SPEC, SETTINGS, resume=True)


@pytest.mark.parametrize("brings_spec", [False, True])
def test_a_resumed_run_keeps_its_cases_its_spec_and_its_command(
    brings_spec: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, broken = write_blobs(tmp_path / "Task99 Blob"), "blob_2"
    (data / "imagesTr" / f"{broken}.nii.gz").write_bytes(b"")
    (tmp_path / "brought.json").write_text(dataclasses.replace(SPEC, context_slices=5).to_json())
    options = "--recipe tiny --epochs 2 --batch-size 8 --validate-every 1 --precision fp32 --device cpu --skip-broken"
    choices = "--context 3 --context-step 2.5 --spacing 1.0,1.25 --body-part 'LEFT FOOT' --window -10,240"
    spec = ["--spec", str(tmp_path / "brought.json")] if brings_spec else []

    def run_command(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["train", *arguments])

    started = [str(data), *options.split(), *shlex.split(choices), *spec]
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert run_command(*started, "-o", str(whole)).exit_code == 0
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", lambda *_: 1 / 0)
        assert isinstance(run_command(*started, "-o", str(run)).exception, ZeroDivisionError)
    resumed = run_command("--resume", str(run))
    assert resumed.exit_code == 0, resumed.output
    require_same(run, whole)
    split = json.loads((run / "split.json").read_text())
    assert len(split["training"] + split["validation"]) == 5
    _, kept = load_checkpoint(run / "checkpoint.safetensors")
    assert kept is not None
    assert (kept.context_slices, kept.spacing_mm, kept.body_part) == (3, (1.0, 1.25), "LEFT FOOT")
    made_from = "--spec spec.json" if brings_spec else choices.replace("-10,240", "-10.0,240.0")
    assert kept.provenance.command == (
        "swinunet train 'Task99 Blob' --recipe tiny --epochs 2 --seed 0 --batch-size 8 --precision fp32 "
        f"--validate-every 1 {made_from} --skip-broken"
    )
    changed = run_command("--resume", str(run), "--context", "1")
    assert isinstance(changed.exception, CheckpointError)
    repeated = shlex.split(kept.provenance.command.replace("spec.json", str(run / "spec.json")))[3:]
    assert run_command(str(data), *repeated, "--device", "cpu", "-o", str(tmp_path / "again")).exit_code == 0
    require_same(tmp_path / "again", whole)


def test_a_run_that_goes_on_is_not_looked_over(data: Path, whole: Path) -> None:
    result = CliRunner().invoke(app, ["train", "--resume", str(whole), "--check"])
    assert isinstance(result.exception, InputError)
    assert "--check looks DATA over" in str(result.exception)


@pytest.mark.parametrize(("arguments", "says"), [(["-o", "run"], "no data given"), (["data"], "no run folder given")])
def test_a_command_that_lacks_something(arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(app, ["train", *arguments])
    assert isinstance(result.exception, InputError)
    assert says in str(result.exception)


def test_settings_there_and_back_as_options() -> None:
    changed = TrainSettings().changed({"epochs": 7, "recompute": True, "deep_supervision": True, "augment_noise": 0.2})
    assert changed == TrainSettings(
        epochs=7, recompute=True, deep_supervision=True, augmentation=Augmentation(noise=0.2)
    )
    assert changed.as_options() == [
        "--recipe small",
        "--epochs 7",
        "--seed 0",
        "--augment-noise 0.2",
        "--deep-supervision",
    ]
