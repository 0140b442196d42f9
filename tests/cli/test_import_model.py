"""Published weights become a model: imported with a spec, exported, evaluated and served; and training takes them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from labelled_folders import make_cases, write_plain
from reference_swin_unet import Sizes, reference_logits, swin_unet_weights, swin_weights
from small_model import SMALL_SPEC
from typer.testing import CliRunner

from swinunet.cli import app
from swinunet.client import TritonModel, load_input, segment_volume
from swinunet.evaluation.result import read_evaluation
from swinunet.foundation.errors import InputError
from swinunet.imaging import Window, ZScore
from swinunet.serving import TritonServer
from swinunet.training.data.folders import DataFolder
from swinunet.training.network.checkpoint import load_checkpoint, save_checkpoint

SIZES = Sizes(image=56, depths=(2, 1), heads=(1, 2), classes=3, channels=1)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.save({"model": swin_unet_weights(SIZES)}, tmp_path / "published.pth")
    return tmp_path / "published.pth"


def swinunet(*arguments: object) -> Any:
    return CliRunner().invoke(app, list(map(str, arguments)))


def imported(weights: Path, *options: object) -> Path:
    output = weights.with_name("model.safetensors")
    done = swinunet("import", weights, "-o", output, *options)
    assert done.exit_code == 0, done.output
    return output


def test_a_few_options_make_a_model(weights: Path) -> None:
    options = ("--labels", "liver, spleen", "--modality", "CT", "--window", "-160,240", "--spacing", "1.5")
    network, spec = load_checkpoint(imported(weights, *options, "--name", "abdomen", "--plane", "coronal"))
    assert spec is not None
    assert [label.name for label in spec.labels] == ["liver", "spleen"]
    assert (spec.name, spec.modality, spec.plane, spec.intensity) == ("abdomen", "CT", "coronal", Window(-160, 240))
    assert (spec.input_size, spec.spacing_mm, spec.context_slices) == (network.config.input_size, (1.5, 1.5), 1)


@pytest.mark.parametrize("kind", ["spec", "checkpoint", "model", "version"])
def test_the_spec_of_a_file_or_of_a_model_of_the_repository(kind: str, weights: Path, tmp_path: Path) -> None:
    theirs = dataclasses.replace(
        SMALL_SPEC,
        version=7,
        labels=tuple(dataclasses.replace(label, volume_ml=(1.0, 2.0)) for label in SMALL_SPEC.labels),
    )
    (tmp_path / "spec.json").write_text(theirs.to_json())
    network, _ = load_checkpoint(imported(weights, "--spec", tmp_path / "spec.json"))
    for version in ("9", "10"):
        (tmp_path / "repository" / "small" / version).mkdir(parents=True)
        name = f"version_{version}"
        mine = dataclasses.replace(theirs, name=name, input_size=network.config.input_size)
        save_checkpoint(tmp_path / "repository" / "small" / version / "checkpoint.safetensors", network, mine)
    weights.with_name("model.safetensors").unlink()
    model = tmp_path / "repository" / "small"
    options = {
        "spec": ("--spec", tmp_path / "spec.json"),
        "checkpoint": ("--like", model / "9" / "checkpoint.safetensors"),
        "model": ("--like", model),
        "version": ("--like", model / "9"),
    }[kind]
    _, spec = load_checkpoint(imported(weights, *options))
    assert spec is not None
    names = {"spec": "small", "model": "version_10"}
    assert (spec.name, spec.version) == (names.get(kind, "version_9"), 1)
    assert spec.input_size == network.config.input_size
    assert [label.volume_ml for label in spec.labels] == [None, None]  # what another model has seen


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--labels", "liver"), r"segments 2 classes besides the background, the model has 1 \(liver\)"),
        (("--labels", "a,b", "--like", "x"), "--spec, --like and --labels each say"),
        (("--labels", ","), "no label is named"),
        (("--modality", "CT"), "begins with its labels"),
        (("--labels", "a,b", "--scaled-to", "0,1"), "scaled-to is of a window, and the intensity rule is none"),
        (("--labels", "a,b", "--window", "0,9", "--scaled-to", "1,0"), "scaled-to '1,0'; expected LOW,HIGH"),
        (("--labels", "a,b", "--in-channels", "3"), "--in-channels 3: the model has 1"),
        (("--like", "nowhere.safetensors"), "no such file"),
        (("--spec", "nowhere.json"), "cannot read"),
    ],
)
def test_what_makes_no_model_is_refused(options: tuple[str, ...], says: str, weights: Path) -> None:
    done = swinunet("import", weights, "-o", weights.with_name("model.safetensors"), *options)
    assert done.exit_code != 0
    with pytest.raises(type(done.exception), match=says):
        raise done.exception
    assert not weights.with_name("model.safetensors").exists()


def test_what_is_still_random_is_said(tmp_path: Path) -> None:
    torch.save({"model": swin_weights(Sizes(image=56, depths=(2, 1), heads=(1, 2), channels=3))}, tmp_path / "c.pth")
    done = swinunet("import", tmp_path / "c.pth", "-o", tmp_path / "c.safetensors", "--labels", "liver")
    assert done.exit_code == 0, done.output
    assert "are random: train it first" in done.output
    _, spec = load_checkpoint(tmp_path / "c.safetensors")
    assert spec is not None
    assert (spec.in_channels, spec.num_classes) == (1, 2)


def by_the_book(image: Path, published: dict[str, torch.Tensor], scaled_to: tuple[float, float]) -> np.ndarray:
    """What the authors' network, which repeats a grey slice over three channels, says of axial slices: [I, J, K].

    The window is 0..250. The image is smaller than the network's input and lies in the middle of it.
    """
    nifti = nib.load(image)
    assert nib.aff2axcodes(nifti.affine) == ("L", "P", "S")
    low, high = scaled_to
    values = low + np.clip(nifti.get_fdata(), 0, 250) / 250 * (high - low)
    rows, columns = ((SIZES.image - length) // 2 for length in (values.shape[1], values.shape[0]))
    slices = np.zeros((values.shape[2], SIZES.image, SIZES.image))
    slices[:, rows : rows + values.shape[1], columns : columns + values.shape[0]] = values.transpose(2, 1, 0)
    grey = torch.from_numpy(slices)[:, None].expand(-1, 3, -1, -1)
    labels = reference_logits(published, dataclasses.replace(SIZES, channels=3), grey).argmax(1).numpy()
    return labels[:, rows : rows + values.shape[1], columns : columns + values.shape[0]].transpose(2, 1, 0)


def test_published_weights_answer_through_triton_what_the_authors_network_answers(
    tmp_path: Path, tritonserver: object
) -> None:
    """Imported as the Synapse weights are, with intensities of 0..1, then exported, evaluated and served."""
    published = swin_unet_weights(dataclasses.replace(SIZES, channels=3))
    torch.save({"model": published}, tmp_path / "published.pth")
    data = write_plain(tmp_path / "data", make_cases(2))
    options = ("--labels", "bright,dark", "--modality", "MR", "--name", "published", "--spacing", "1")
    model = imported(
        tmp_path / "published.pth", *options, "--plane", "axial", "--window", "0,250", "--scaled-to", "0,1"
    )
    options = ("--engine", "onnxruntime-fp32", "--serve-with", "onnxruntime-fp32", "--repository", tmp_path / "served")
    done = swinunet("export", model, "--data", data, *options)
    assert done.exit_code == 0, done.output
    done = swinunet("evaluate", model, data, "-o", tmp_path / "judged")
    assert done.exit_code == 0, done.output
    judged = read_evaluation(tmp_path / "judged" / "evaluation.json")
    assert [each.name for each in judged.classes] == ["bright", "dark"]
    image = DataFolder.open(data).cases[0].image
    with TritonServer(tmp_path / "served") as server, TritonModel(server.url) as served:
        assert served.spec.intensity == Window(0, 250, scaled_to=(0, 1))
        found = segment_volume(load_input(image, served.spec).study, served).mask
    expected = by_the_book(image, published, (0, 1))
    assert len(np.unique(expected)) > 1
    assert (found == expected).mean() > 0.98
    assert (found == by_the_book(image, published, (-1, 1))).mean() < 0.95


def test_training_takes_the_network_of_its_weights(weights: Path, tmp_path: Path) -> None:
    """Unless a recipe is named; and a run that goes on needs neither."""
    model, data = imported(weights), write_plain(tmp_path / "data", make_cases(4))
    options = ("--epochs", 1, "--batch-size", 16, "--weights", model, "--device", "cpu", "--precision", "fp32")
    done = swinunet("train", data, "-o", tmp_path / "run", *options)
    assert done.exit_code == 0, done.output
    theirs, ours = (load_checkpoint(path)[0].config for path in (model, tmp_path / "run" / "checkpoint.safetensors"))
    assert (ours.input_size, ours.depths, ours.embed_dim) == (theirs.input_size, theirs.depths, theirs.embed_dim)
    assert "Dice" in done.output.strip().splitlines()[-1]
    assert json.loads((tmp_path / "run" / "settings.json").read_text())["settings"]["recipe"] == "weights"
    model.unlink()
    again = swinunet("train", "--resume", tmp_path / "run")
    assert again.exit_code == 0, again.output
    assert f"{tmp_path / 'run'}: was finished already at epoch 1" in again.output.replace("\n", "")


def test_a_recipe_that_is_named_wins(weights: Path, tmp_path: Path) -> None:
    model, data = imported(weights), write_plain(tmp_path / "data", make_cases(4))
    done = swinunet("train", data, "-o", tmp_path / "run", "--weights", model, "--recipe", "tiny", "--device", "cpu")
    assert "tensors do not fit the recipe's network" in str(done.exception)
    with pytest.raises(InputError, match="name it with --weights"):
        raise swinunet("train", data, "-o", tmp_path / "other", "--recipe", "weights").exception


def test_imported_specs_say_no_more_than_was_said(weights: Path) -> None:
    _, spec = load_checkpoint(imported(weights, "--labels", "a,b"))
    assert spec is not None
    assert (spec.intensity, spec.spacing_mm, spec.provenance.metrics) == (ZScore(), None, {})
