"""Two gloo processes train as one on the joint batch: the same gradients, one run folder, one voice."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from blobs import SPEC, write_blobs
from safetensors.torch import load_file

from swinunet.foundation.errors import InputError
from swinunet.training.data.cases import load_case
from swinunet.training.data.folders import DataFolder
from swinunet.training.loop.batch_loader import BatchLoader
from swinunet.training.loop.distributed import ProcessGroup, errors_from_rank_zero_only, process_group_from_environment
from swinunet.training.loop.hardware import FP32
from swinunet.training.loop.optimisation import Learner
from swinunet.training.loop.settings import TrainSettings
from swinunet.training.network.recipes import recipe
from swinunet.training.network.swin_unet import SwinUNet

PLAIN = TrainSettings(recipe="tiny", batch_size=8)
VARIANTS = {
    "dice-ce": PLAIN,
    "dice-focal+boundary": dataclasses.replace(PLAIN, loss="dice-focal+boundary", boundary_weight=1.0),
    "dice-bce, deep supervision": dataclasses.replace(PLAIN, loss="dice-bce", deep_supervision=True),
    "slice-dice-ce": dataclasses.replace(PLAIN, loss="slice-dice-ce"),
    "recomputed": dataclasses.replace(PLAIN, recompute=True),
}

# What each process runs: its share of the batch, for every variant; the leading one saves what it found.
PROCESS = """
import os
import sys
import torch
from safetensors.torch import save_file
from test_distributed import VARIANTS, gradients, joint_batch
from swinunet.training.loop.distributed import initialized_process_group, process_group_from_environment

group = process_group_from_environment()
with initialized_process_group(group, torch.device("cpu")):
    image, labels = (part[group.rank :: group.world_size] for part in joint_batch())
    found = {
        f"{variant}/{name}": tensor
        for variant, settings in VARIANTS.items()
        for name, tensor in gradients(settings, image, labels, group).items()
    }
    if group.is_rank_zero:
        save_file(found, sys.argv[1])
os._exit(0)  # as training/__main__.py
"""


def joint_batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Eight slices, the classes unevenly spread: half of the processes see none of class 2."""
    generator = torch.Generator().manual_seed(0)
    image, labels = torch.randn(8, 3, 32, 32, generator=generator), torch.zeros(8, 32, 32, dtype=torch.long)
    labels[:, 5:20, 5:15] = 1
    labels[::2, 20:30, 20:30] = 2
    return image, labels


def gradients(
    settings: TrainSettings, image: torch.Tensor, labels: torch.Tensor, group: ProcessGroup | None = None
) -> dict[str, torch.Tensor]:
    """Gradient of every parameter, and the loss, for a network that `settings.seed` starts."""
    torch.manual_seed(0)
    config = dataclasses.replace(recipe("tiny").build(3, 3), drop_path_rate=0.0)
    learner = Learner(SwinUNet(config), settings, 10, torch.device("cpu"), FP32, group)
    loss = learner.gradient(image, labels)
    found = {name: value.grad for name, value in learner.trained.named_parameters() if value.grad is not None}
    return found | {"loss": torch.tensor(loss)}


def torchrun(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    here = Path(__file__).parent
    path = os.pathsep.join(map(str, (here, here.parent / "support", here.parents[1])))
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)


def test_two_processes_have_the_gradients_of_one(tmp_path: Path) -> None:
    (tmp_path / "process.py").write_text(PROCESS)
    done = torchrun("process.py", "found.safetensors", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = load_file(tmp_path / "found.safetensors")
    for variant, settings in VARIANTS.items():
        alone = gradients(settings, *joint_batch())
        assert len(alone) > 50
        for name, expected in alone.items():
            torch.testing.assert_close(
                found[f"{variant}/{name}"], expected, rtol=1e-4, atol=1e-6, msg=f"{variant} {name}"
            )


def test_recomputed_activations_give_the_same_gradients() -> None:
    plain, recomputed = (gradients(VARIANTS[name], *joint_batch()) for name in ("dice-ce", "recomputed"))
    for name, expected in plain.items():
        torch.testing.assert_close(recomputed[name], expected, msg=name)


def test_accumulated_gradients_are_the_mean_of_the_parts() -> None:
    image, labels = joint_batch()
    whole = gradients(dataclasses.replace(PLAIN, accumulate=2), image, labels)
    parts = [gradients(PLAIN, image[part], labels[part]) for part in (slice(0, 4), slice(4, 8))]
    for name, expected in whole.items():
        torch.testing.assert_close((parts[0][name] + parts[1][name]) / 2, expected, rtol=1e-4, atol=1e-6, msg=name)


def test_torchrun_trains(tmp_path: Path) -> None:
    data = write_blobs(tmp_path / "Task99_Blob")
    (tmp_path / "spec.json").write_text(SPEC.to_json())
    options = [
        "--spec=spec.json",
        "--recipe=tiny",
        "--epochs=2",
        "--batch-size=8",
        "--device=cpu",
        "--validate-every=1",
    ]
    done = torchrun("-m", "swinunet", "train", str(data), "-o", "run", *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("checkpoint: run/checkpoint.safetensors") == 1
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in log] == [1, 2]
    assert (tmp_path / "run" / "overlays.png").exists()


def test_only_the_leading_process_speaks_of_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for rank, raised in (("0", InputError), ("1", SystemExit)):
        for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("RANK", rank), ("WORLD_SIZE", "2"), ("LOCAL_RANK", rank)):
            monkeypatch.setenv(name, value)
        with pytest.raises(raised), errors_from_rank_zero_only():
            raise InputError("no")


def test_processes_take_equal_shares_of_every_batch(tmp_path: Path) -> None:
    cases = [load_case(paths, SPEC) for paths in DataFolder.open(write_blobs(tmp_path / "Task99_Blob")).cases]
    loaders = [
        BatchLoader(cases, PLAIN, torch.device("cpu"), SPEC.context_slices, ProcessGroup(rank, 4)) for rank in range(4)
    ]
    batches = [list(loader.epoch(1)) for loader in loaders]
    assert len({len(own) for own in batches}) == 1
    assert len(batches[0]) == loaders[0].steps
    for shares in zip(*batches, strict=True):
        assert len({len(share.labels) for share in shares}) == 1
    with pytest.raises(InputError, match="batch of 8 slices does not divide among 3 processes"):
        BatchLoader(cases, PLAIN, torch.device("cpu"), SPEC.context_slices, ProcessGroup(0, 3))


def test_the_team_is_what_torchrun_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert process_group_from_environment() == ProcessGroup(0, 1, 0)
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("RANK", "5"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    assert process_group_from_environment() == ProcessGroup(5, 8, 1)
    assert not process_group_from_environment().is_rank_zero
