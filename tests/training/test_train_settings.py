"""Runs with groups, the split of an earlier run, augmented volumes and another init: the folder stays true."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from blobs import SPEC, write_blobs

from swinunet.foundation.errors import InputError
from swinunet.training.loop.run_folder import read_run_folder
from swinunet.training.loop.settings import TrainSettings
from swinunet.training.loop.trainer import train
from swinunet.training.network.checkpoint import load_checkpoint
from swinunet.training.network.initialise import initialise
from swinunet.training.network.swin_unet import SwinUNet, SwinUNetConfig

SETTINGS = TrainSettings(recipe="tiny", epochs=1, batch_size=8, precision="fp32", device="cpu", validation_fraction=0.3)


@pytest.fixture(scope="module")
def msd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blobs(tmp_path_factory.mktemp("data"))


def names(run: Path) -> dict[str, list[str]]:
    return json.loads((run / "split.json").read_text())


def test_groups_and_the_split_of_an_earlier_run(msd: Path, tmp_path: Path) -> None:
    every = sorted(path.name.removesuffix(".nii.gz") for path in (msd / "labelsTr").glob("*.nii.gz"))
    last = {name: name[-1] for name in every}  # the last figure of a name is its patient
    grouped = dataclasses.replace(SETTINGS, group_by=r".*(.)")
    _, spec = load_checkpoint(train(msd, tmp_path / "first", SPEC, grouped))
    first = names(tmp_path / "first")
    assert not {last[name] for name in first["training"]} & {last[name] for name in first["validation"]}
    assert "groups of cases that share" in spec.provenance.split
    assert "--group-by '.*(.)'" in spec.provenance.command
    assert read_run_folder(tmp_path / "first").settings == grouped

    again = dataclasses.replace(SETTINGS, seed=7, split=str(tmp_path / "first" / "split.json"))
    _, spec = load_checkpoint(train(msd, tmp_path / "second", SPEC, again))
    assert names(tmp_path / "second") == first
    assert "as in the split of an earlier run" in spec.provenance.split


def test_a_run_that_took_its_split_over_goes_on_without_that_file(msd: Path, tmp_path: Path) -> None:
    train(msd, tmp_path / "first", SPEC, SETTINGS)
    (tmp_path / "split.json").write_bytes((tmp_path / "first" / "split.json").read_bytes())
    settings = dataclasses.replace(SETTINGS, split=str(tmp_path / "split.json"))
    train(msd, tmp_path / "run", SPEC, settings)
    (tmp_path / "split.json").unlink()
    assert train(msd, tmp_path / "run", None, settings, resume=True).exists()


def test_augmented_volumes_train_to_the_same_bits(msd: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, epochs=2).changed({"augment_volumes": "head"})
    assert settings.augment_volumes == "head"
    assert "--augment-volumes head" in settings.as_options()
    runs = [train(msd, tmp_path / name, SPEC, settings).parent for name in "ab"]
    first, again = (load_checkpoint(run / "last.safetensors")[0].state_dict() for run in runs)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert (runs[0] / "curves.png").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"augment_volumes": "heart"}, "choose one of head"),
        ({"init": "zeros"}, "choose one of normal, xavier"),
        ({"split": "nowhere.json"}, "no split to take over: nowhere.json"),
        ({"group_by": "("}, "no regular expression"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_a_run_folder_is_made(
    msd: Path, tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        train(msd, tmp_path / "run", SPEC, SETTINGS.changed(changes))
    assert not (tmp_path / "run").exists()


def test_xavier_follows_the_width_and_normal_is_how_a_network_is_built() -> None:
    config = SwinUNetConfig((32, 32), 1, 2, 2, 12, (2, 2), (2, 4), 4)
    torch.manual_seed(0)
    network = SwinUNet(config)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    initialise(network, "normal")
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    initialise(network, "xavier")
    weight = network.encoder[0].blocks[0].mlp.fc1.weight
    assert weight.std().item() == pytest.approx((2 / sum(weight.shape)) ** 0.5, rel=0.15)
    assert torch.equal(before["head.weight"], network.head.weight)
