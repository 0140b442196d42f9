"""Import of published weights: the same network afterwards, every tensor accounted for, everything else refused."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from reference_swin_unet import Sizes, reference_logits, swin_unet_weights, swin_weights
from torch import Tensor
from typer.testing import CliRunner

from swinunet.cli import app
from swinunet.foundation.errors import CheckpointError, InputError
from swinunet.training.network.checkpoint import load_checkpoint
from swinunet.training.network.pretrained import import_weights
from swinunet.training.network.swin_unet import SwinUNet

SIZES = Sizes()


def _file(folder: Path, content: Any) -> Path:
    path = folder / "weights.pth"
    torch.save(content, path)
    return path


def _error(model: SwinUNet, weights: dict[str, Tensor], sizes: Sizes) -> float:
    """Largest difference between our logits and the authors', in float64 (rounding would hide a small mistake)."""
    image = torch.randn(2, sizes.channels, sizes.image, sizes.image, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours = model.double().eval()(image.double())
    expected = reference_logits(weights, sizes, image)
    assert expected.std() > 0.5
    return (ours - expected).abs().max().item()


@pytest.mark.parametrize("under_model", [False, True], ids=["bare", "under model"])
@pytest.mark.parametrize("prefix", ["", "swin_unet.", "module.swin_unet."])
def test_swin_unet_computes_what_the_authors_computes(tmp_path: Path, prefix: str, under_model: bool) -> None:
    weights = swin_unet_weights(SIZES)
    content = {prefix + key: value for key, value in weights.items()}
    imported = import_weights(_file(tmp_path, {"model": content, "epoch": 3} if under_model else content))
    assert imported.kind == "Swin-Unet"
    assert sorted(imported.loaded) == sorted(imported.model.state_dict())
    assert (imported.adapted, imported.fresh, imported.unused) == ({}, [], [])
    assert _error(imported.model, weights, SIZES) < 1e-9


@pytest.mark.parametrize(
    "sizes",
    [
        Sizes(image=56, depths=(2, 1), heads=(1, 2), qkv_bias=False),
        Sizes(image=128, depths=(2, 2, 2, 2), heads=(1, 2, 4, 4), window=8, channels=1),  # the last stage is 4 x 4
        Sizes(image=64, depths=(1, 3, 2), heads=(1, 2, 4), window=4, classes=1),  # no mask in the first stage
        Sizes(image=112, depths=(2, 2), heads=(3, 6), dim=24),
    ],
    ids=["no qkv bias", "clamped window", "no first mask", "two stages"],
)
def test_the_configuration_follows_from_the_shapes(tmp_path: Path, sizes: Sizes) -> None:
    weights = swin_unet_weights(sizes)
    imported = import_weights(_file(tmp_path, weights))
    config = imported.model.config
    assert (config.input_size, config.in_channels) == ((sizes.image, sizes.image), sizes.channels)
    assert (config.num_classes, config.depths, config.num_heads) == (sizes.classes, sizes.depths, sizes.heads)
    assert (config.patch_size, config.window_size, config.qkv_bias) == (4, sizes.window, sizes.qkv_bias)
    assert _error(imported.model, weights, sizes) < 1e-9


def test_in_single_precision_the_difference_is_below_1e_5(tmp_path: Path) -> None:
    sizes = Sizes(dim=48)
    weights = swin_unet_weights(sizes)
    model = import_weights(_file(tmp_path, weights)).model.eval()
    image = torch.rand(1, 3, 112, 112, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        difference = (model(image) - reference_logits(weights, sizes, image)).abs().max()
    assert difference < 1e-5


def test_without_stored_masks_the_size_is_the_usual_one(tmp_path: Path) -> None:
    sizes = Sizes(image=112)
    weights = {
        key: value for key, value in swin_unet_weights(sizes).items() if "mask" not in key and "index" not in key
    }
    assert import_weights(_file(tmp_path, weights)).model.config.input_size == (112, 112)


def test_one_input_channel_stands_for_the_same_image_in_all(tmp_path: Path) -> None:
    """The authors' network repeats a grey image over its three channels."""
    weights = swin_unet_weights(SIZES)
    imported = import_weights(_file(tmp_path, weights), in_channels=1)
    assert imported.adapted == {"patch_embed.proj.weight": "from 3 to 1 input channels"}
    grey = torch.randn(1, 1, 112, 112)
    with torch.no_grad():
        ours = imported.model.double().eval()(grey.double())
    torch.testing.assert_close(ours, reference_logits(weights, SIZES, grey.expand(-1, 3, -1, -1)), atol=1e-5, rtol=0)


def test_other_classes_leave_only_the_output_fresh(tmp_path: Path) -> None:
    imported = import_weights(_file(tmp_path, swin_unet_weights(SIZES)), num_classes=2)
    assert imported.fresh == ["head.weight"]
    assert imported.model.config.num_classes == 2
    assert len(imported.loaded) == len(imported.model.state_dict()) - 1


def test_half_precision_weights_become_single(tmp_path: Path) -> None:
    weights = {
        key: value.half() if value.is_floating_point() else value for key, value in swin_unet_weights(SIZES).items()
    }
    model = import_weights(_file(tmp_path, weights)).model
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    assert torch.equal(model.norm.weight, weights["norm.weight"].float())


@pytest.mark.parametrize("in_channels", [1, 3, 5])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_swin_transformer_goes_into_encoder_and_decoder(tmp_path: Path, prefix: str, in_channels: int) -> None:
    sizes = Sizes(depths=(2, 2, 6, 2), heads=(1, 2, 4, 8), image=224)
    weights = swin_weights(sizes)
    path = _file(tmp_path, {"model": {prefix + key: value for key, value in weights.items()}})
    imported = import_weights(path, in_channels=in_channels, num_classes=4)
    config = imported.model.config
    assert (config.input_size, config.depths, config.num_classes) == ((224, 224), (2, 2, 6, 2), 4)
    expected = dict(_swin_transformer_tensors(weights, sizes.depths))
    state = imported.model.state_dict()
    kernels = expected["patch_embed.proj.weight"]
    for name, value in expected.items():
        if name != "patch_embed.proj.weight":
            assert torch.equal(state[name], value), name
    torch.testing.assert_close(state["patch_embed.proj.weight"].sum(1), kernels.sum(1))
    assert sorted([*imported.loaded, *imported.adapted]) == sorted(expected)
    assert list(imported.adapted) == ([] if in_channels == 3 else ["patch_embed.proj.weight"])
    assert sorted(imported.fresh) == sorted(state.keys() - expected.keys())
    assert imported.unused == ["head.bias", "head.weight"]


def _swin_transformer_tensors(weights: dict[str, Tensor], depths: tuple[int, ...]) -> list[tuple[str, Tensor]]:
    """(our name, value) for all that a classifier gives us: layers.0, 1, 2 also to decoder.2, 1, 0."""
    pairs = []
    for key, value in weights.items():
        parts = key.split(".")
        if parts[0] in ("patch_embed", "norm"):
            pairs.append((key, value))
        elif parts[0] == "layers" and parts[-1] not in ("attn_mask", "relative_position_index"):
            stage, rest = int(parts[1]), ".".join(parts[2:])
            if parts[2] == "blocks" and int(parts[3]) >= depths[stage]:
                continue
            pairs.append((f"encoder.{stage}.{rest.replace('downsample', 'merge')}", value))
            if parts[2] == "blocks" and stage < 3:
                pairs.append((f"decoder.{2 - stage}.{rest}", value))
    return pairs


def test_fewer_blocks_of_a_swin_transformer(tmp_path: Path) -> None:
    sizes = Sizes(depths=(2, 2, 6, 2), heads=(1, 2, 4, 8), image=224)
    weights = swin_weights(sizes)
    imported = import_weights(_file(tmp_path, {"model": weights}), num_classes=4, depths=(2, 2, 2, 2))
    assert imported.model.config.depths == (2, 2, 2, 2)
    state = imported.model.state_dict()
    for name, value in _swin_transformer_tensors(weights, (2, 2, 2, 2)):
        assert torch.equal(state[name], value), name
    assert {key.rsplit(".", 3)[0][:17] for key in imported.unused} >= {"layers.2.blocks.2", "layers.2.blocks.5"}


def _without(key: str) -> Callable[[dict[str, Tensor]], Any]:
    return lambda weights: {name: value for name, value in weights.items() if name != key}


def _with(key: str, value: Tensor) -> Callable[[dict[str, Tensor]], Any]:
    return lambda weights: weights | {key: value}


def _with_nan(weights: dict[str, Tensor]) -> Any:
    return weights | {"norm.weight": torch.full_like(weights["norm.weight"], torch.nan)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: list(weights.values()), "holds a list, expected named weights"),
        (lambda weights: {}, "holds a dict, expected named weights"),
        (lambda weights: {"conv1.weight": torch.zeros(1)}, "neither a Swin-Unet.*'conv1.weight'"),
        (lambda weights: {"patch_embed.proj.weight": torch.zeros(8, 3, 4, 4)}, "mlp.fc1.weight is missing"),
        (_without("norm_up.bias"), r"only 157 of the 158 tensors.*\(99%\): norm_up.bias is missing"),
        (_without("layers.1.blocks.0.attn.relative_position_bias_table"), "bias_table is missing"),
        (_with("norm.weight", torch.ones(3)), r"norm.weight is \(3,\), expected \(48,\)"),
        (_with("up.expand.weight", torch.ones(48, 12)), r"up.expand.weight is \(48, 12\), expected \(192, 12\)"),
        (_with("patch_embed.proj.weight", torch.ones(12, 3, 4, 2)), "not square"),
        (_with("patch_embed.proj.weight", torch.ones(12)), "patch_embed.proj.weight is .*expected 4 axes"),
        (_with("output.weight", torch.ones(())), "output.weight"),
        (_with("layers.0.blocks.0.attn.relative_position_bias_table", torch.ones(9 * 7, 2)), "not square"),
        (_with("layers.0.blocks.0.attn.relative_position_bias_table", torch.ones(169, 5)), "no network has weights"),
        (_with("absolute_pos_embed", torch.ones(1, 784, 12)), "1 tensors have no place.*absolute_pos_embed"),
        (_with("layers.1.blocks.1.attn_mask", torch.zeros(4, 49, 49)), "attn_mask is not what this network computes"),
        (
            _with("layers.0.blocks.0.attn.relative_position_index", torch.zeros(49, 49, dtype=torch.int64)),
            "relative_position_index is not what",
        ),
        (_with_nan, "norm.weight holds NaN"),
    ],
    ids=range(17),
)
def test_files_that_are_not_such_a_network_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Tensor]], Any], message: str
) -> None:
    path = _file(tmp_path, change(swin_unet_weights(SIZES)))
    with pytest.raises(CheckpointError, match=message) as caught:
        import_weights(path, num_classes=5)
    assert str(path) in str(caught.value)


def test_a_swin_transformer_in_timm_layout_is_refused(tmp_path: Path) -> None:
    """timm moved the downsampling to the start of the next stage, under the same names."""
    weights = swin_weights(SIZES)
    moved = {
        f"layers.{int(key[7]) + 1}{key[8:]}" if ".downsample." in key else key: value for key, value in weights.items()
    }
    with pytest.raises(CheckpointError, match=r"tensors expected of a Swin Transformer.*layers.0.downsample"):
        import_weights(_file(tmp_path, {"model": moved}), num_classes=2)


class _Runs:
    """A pickle that creates a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.path),)


def test_a_file_that_would_run_code_is_refused_unrun(tmp_path: Path) -> None:
    trace = tmp_path / "was-here"
    path = _file(tmp_path, {"model": swin_weights(SIZES), "config": _Runs(trace)})
    with pytest.raises(CheckpointError, match=r"would run code.*mkdir"):
        import_weights(path, num_classes=2)
    assert not trace.exists()


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    good = _file(tmp_path, {"norm.weight": torch.zeros(10_000)})
    with pytest.raises(CheckpointError, match=r"none\.pth: no such file"):
        import_weights(tmp_path / "none.pth")
    for name, content in [("short", good.read_bytes()[:-5000]), ("text", b"hello"), ("empty", b"")]:
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=f"{name}: not a complete PyTorch file"):
            import_weights(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give --classes"),
        ({"num_classes": 2, "depths": (2, 2)}, "give as many"),
        ({"num_classes": 2, "depths": (2, 2, 3)}, "none larger"),
        ({"num_classes": 2, "in_channels": 0}, "in_channels must be at least 1"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    path = _file(tmp_path, {"model": swin_weights(SIZES)})
    with pytest.raises(InputError, match=message):
        import_weights(path, **options)


def test_depths_of_a_swin_unet_are_its_own(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="depths cannot be chosen"):
        import_weights(_file(tmp_path, swin_unet_weights(SIZES)), depths=(2, 2, 2))


def test_the_verb_writes_a_checkpoint_and_says_what_became_of_each_part(tmp_path: Path) -> None:
    weights = swin_unet_weights(dataclasses.replace(SIZES, classes=2))
    path, output = _file(tmp_path, {"model": weights}), tmp_path / "out.safetensors"
    result = CliRunner().invoke(app, ["import", str(path), "-o", str(output), "--in-channels", "1", "--classes", "3"])
    assert result.exit_code == 0, result.output
    for text in (
        "Swin-Unet weights",
        "decoder.0.fuse",
        "left fresh",
        "from 3 to 1 input channels",
        "112 x 112",
        "out.safe",
    ):
        assert text in result.output
    model, spec = load_checkpoint(output)
    assert spec is None
    assert (model.config.in_channels, model.config.num_classes) == (1, 3)
    assert torch.equal(model.norm.bias, weights["norm.bias"])


def test_the_verb_leaves_nothing_behind_when_it_fails(tmp_path: Path) -> None:
    path, output = _file(tmp_path, {"model": {"a": torch.zeros(1)}}), tmp_path / "out.safetensors"
    runner = CliRunner()
    assert isinstance(runner.invoke(app, ["import", str(path), "-o", str(output)]).exception, CheckpointError)
    assert list(tmp_path.iterdir()) == [path]
    output.write_text("mine")
    result = runner.invoke(app, ["import", str(path), "-o", str(output)])
    assert "exists already" in str(result.exception)
    assert output.read_text() == "mine"
