"""The network: its sizes, what may attend to what, what a batch may not do, and the checkpoint it lives in."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
import torch
from reference_swin_unet import attention_rules, stored_mask
from safetensors.torch import load_file, save_file

from swinunet.foundation.errors import CheckpointError, InputError, OutputError, SpecError
from swinunet.foundation.files import sha256_of_file
from swinunet.imaging import Code, Label, ModelSpec, ZScore
from swinunet.training.network.checkpoint import CONFIG_KEY, load_checkpoint, save_checkpoint
from swinunet.training.network.recipe_sizes import RECIPE_SIZES
from swinunet.training.network.recipes import RECIPES, gflop, parameters, recipe
from swinunet.training.network.swin_blocks import (
    DropPath,
    PatchMerging,
    SwinBlock,
    relative_position_index,
    shift_mask,
    window_partition,
    window_reverse,
)
from swinunet.training.network.swin_unet import SwinUNet, SwinUNetConfig

TINY = RECIPES["tiny"].build(1, 3)


def test_parameters_and_gflop_are_those_of_the_paper() -> None:
    paper = RECIPES["swin-unet"].build(1, 9)
    assert round(parameters(paper) / 1e6, 2) == 27.17
    assert round(gflop(paper), 1) == 12.2
    assert round(parameters(RECIPES["swin-unet-t"].build(1, 9)) / 1e6, 2) == 41.38


@pytest.mark.parametrize("name", list(RECIPES))
def test_sizes_in_help_are_those_of_the_networks(name: str) -> None:
    config, size = RECIPES[name].build(1, 9), RECIPE_SIZES[name]
    assert (round(parameters(config) / 1e6, 2), round(gflop(config), 2)) == (size.million_parameters, size.gflop)


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_recipe_builds_what_is_asked(name: str) -> None:
    config = recipe(name).build(3, 4)
    with torch.device("meta"):
        logits = SwinUNet(config)(torch.empty(2, 3, *config.input_size))
    assert logits.shape == (2, 4, *config.input_size)


def test_unknown_recipe_lists_the_known() -> None:
    with pytest.raises(InputError, match=r"'large'.*swin-unet, swin-unet-t, small, slice-128, slice-128-detail, tiny"):
        recipe("large")


@pytest.mark.parametrize("in_channels", [1, 3])
@pytest.mark.parametrize(
    "sizes",
    [
        {"input_size": (32, 64)},
        {"input_size": (64, 32), "patch_size": 4},
        {"patch_size": 1, "input_size": (16, 16)},
        {"depths": (2,), "num_heads": (3,)},
        {"depths": (1, 3, 2), "num_heads": (1, 2, 4)},
        {"depths": (1, 1, 1, 2), "num_heads": (2, 2, 2, 2)},  # deepest map: 2 x 2, smaller than a window
        {"window_size": 1},
        {"window_size": 16},
        {"window_size": 7, "input_size": (56, 28), "mlp_ratio": 1.5, "qkv_bias": False},
        {"detail_dim": 4},
        {"detail_dim": 3, "input_size": (32, 64), "patch_size": 4},
    ],
    ids=str,
)
def test_shapes(sizes: dict[str, object], in_channels: int) -> None:
    config = dataclasses.replace(TINY, in_channels=in_channels, num_classes=5, **sizes)
    logits = SwinUNet(config)(torch.randn(2, in_channels, *config.input_size))
    assert logits.shape == (2, 5, *config.input_size)
    assert logits.dtype == torch.float32
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("detail_dim", [0, 4])
def test_every_parameter_takes_part(detail_dim: int) -> None:
    model = SwinUNet(
        dataclasses.replace(TINY, detail_dim=detail_dim)
    ).eval()  # or stochastic depth may leave a block out
    model(torch.randn(2, 1, 32, 32)).square().sum().backward()
    assert [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()] == []


def test_detail_reads_pixels_that_the_tokens_do_not_tell_apart() -> None:
    """With the decoder's answer the same everywhere, only the convolutions at full resolution see a pixel move."""
    torch.manual_seed(0)
    model = SwinUNet(dataclasses.replace(TINY, detail_dim=4)).eval()
    image = torch.zeros(1, 1, 32, 32)
    image[0, 0, 8, 8] = 1.0
    with torch.no_grad():
        model.head.weight.zero_()
        here, beside = model(image), model(image.roll(1, dims=-1))
    assert not torch.equal(here, beside)
    torch.testing.assert_close(here[..., 4:13, 4:13], beside[..., 4:13, 5:14])


@pytest.mark.parametrize("shape", [(1, 1, 32, 33), (1, 1, 64, 32), (1, 3, 32, 32), (1, 32, 32)])
def test_another_image_size_is_refused_with_both_sizes(shape: tuple[int, ...]) -> None:
    found = " x ".join(map(str, shape[1:]))
    with pytest.raises(InputError, match=rf"{found} .*1 x 32 x 32"):
        SwinUNet(TINY)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_size": (32, 34)}, "32 x 34.*multiples of 4"),
        ({"input_size": (0, 32)}, "input_size must be at least 1, found 0"),
        ({"in_channels": 0}, "in_channels must be at least 1"),
        ({"num_classes": -1}, "num_classes must be at least 1, found -1"),
        ({"patch_size": 0}, "patch_size"),
        ({"embed_dim": 0}, "embed_dim"),
        ({"window_size": 0}, "window_size"),
        ({"window_size": 5}, "stage 0 is 16 x 16.*windows of 5 x 5"),
        ({"input_size": (32, 48), "window_size": 8}, "stage 1 is 8 x 12.*windows of 8 x 8"),
        ({"depths": ()}, "depths"),
        ({"depths": (2, 0)}, r"depths.*\(2, 0\)"),
        ({"depths": (2, 2, 2)}, "3 stages, num_heads has 2"),
        ({"num_heads": (2, 5)}, "stage 1: 24 channels.*5 heads"),
        ({"num_heads": (0, 4)}, "0 heads"),
        ({"mlp_ratio": 0.0}, "mlp_ratio"),
        ({"drop_path_rate": 1.0}, "drop_path_rate"),
        ({"detail_dim": -1}, "detail_dim must be at least 0, found -1"),
    ],
    ids=str,
)
def test_sizes_that_do_not_fit_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(TINY, **change)


@pytest.mark.parametrize(("resolution", "window"), [((8, 8), 4), ((14, 21), 7), ((6, 4), 2), ((5, 5), 5)])
def test_windows_there_and_back(resolution: tuple[int, int], window: int) -> None:
    features = torch.randn(3, resolution[0] * resolution[1], 2)
    windows = window_partition(features, window, resolution)
    assert torch.equal(window_reverse(windows, window, resolution), features)
    corner = features[-1].view(*resolution, 2)[-window:, -window:]
    assert torch.equal(windows[-1].view(window, window, 2), corner)


@pytest.mark.parametrize("window", [1, 2, 7])
def test_relative_position_index_by_the_book(window: int) -> None:
    assert torch.equal(relative_position_index(window), attention_rules(window, window, 0)[1])


@pytest.mark.parametrize(("side", "window", "shift"), [(8, 4, 2), (14, 7, 3), (56, 7, 3), (6, 2, 1)])
def test_shift_mask_by_the_book(side: int, window: int, shift: int) -> None:
    assert torch.equal(shift_mask((side, side), window, shift), stored_mask(side, window, shift))


def test_the_mask_separates_what_only_the_shift_brought_together() -> None:
    """A pixel in a corner reaches exactly the pixels that the paper allows; without the mask it reaches three corners
    more, as the shift puts the four corners of the map into one window."""
    torch.manual_seed(0)
    block = SwinBlock(
        dim=8, resolution=(8, 8), num_heads=2, window_size=4, shifted=True, mlp_ratio=2.0, qkv_bias=True, drop_path=0.0
    ).eval()
    before = torch.randn(1, 64, 8)
    after = before.clone()
    after[0, 0] += 5 * torch.randn(8)
    with torch.no_grad():
        reached = (block(after) != block(before)).any(-1)[0].view(8, 8)
    allowed, _ = attention_rules(8, 4, 2)
    assert torch.equal(reached, allowed[:, 0].view(8, 8))
    assert torch.equal(reached.nonzero(), torch.cartesian_prod(torch.arange(2), torch.arange(2)))


def test_blocks_shift_by_turns_and_only_where_there_are_several_windows() -> None:
    model = SwinUNet(dataclasses.replace(TINY, window_size=8))
    shifts = [[block.windows.shift_size for block in stage.blocks] for stage in [*model.encoder, *model.decoder]]
    assert shifts == [[0, 4], [0, 0], [0, 4]]


def test_patch_merging_gathers_column_by_column() -> None:
    merging = PatchMerging(dim=1, resolution=(2, 2))
    merging.norm = torch.nn.Identity()
    merging.reduction = torch.nn.Identity()
    quad = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1)
    assert merging(quad).flatten().tolist() == [1.0, 3.0, 2.0, 4.0]


def test_a_case_does_not_depend_on_its_batch() -> None:
    model = SwinUNet(TINY).eval()
    images = torch.randn(5, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(images), torch.cat([model(image[None]) for image in images]))


def test_an_exported_graph_is_right_at_other_batches() -> None:
    """The published network is not: it computes the batch in Python, and the graph keeps the exported one."""
    model = SwinUNet(TINY).eval()
    graph = torch.export.export(model, (torch.randn(2, 1, 32, 32),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    for batch in (1, 3, 8):
        image = torch.randn(batch, 1, 32, 32)
        with torch.no_grad():
            torch.testing.assert_close(graph.module()(image), model(image))


def test_bfloat16_autocast_trains_and_stays_close() -> None:
    torch.manual_seed(0)
    model = SwinUNet(TINY).eval()
    image = torch.randn(2, 1, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(image)
    logits.float().square().mean().backward()
    assert all(torch.isfinite(value.grad).all() for value in model.parameters())
    assert (logits.float() - model(image)).abs().max() < 0.05


def test_drop_path_drops_samples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    branch = torch.ones(4000, 1, 2)
    dropped = DropPath(0.25).train()(branch)
    assert dropped.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert torch.equal(dropped[..., 0], dropped[..., 1])
    assert dropped.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(DropPath(0.25).eval()(branch), branch)


def test_drop_path_rises_with_depth_and_the_decoder_mirrors_it() -> None:
    model = SwinUNet(dataclasses.replace(TINY, drop_path_rate=0.3))
    rates = [[round(block.drop_path.rate, 6) for block in stage.blocks] for stage in [*model.encoder, *model.decoder]]
    assert rates == [[0.0, 0.1], [0.2, 0.3], [0.0, 0.1]]


def _spec(**change: object) -> ModelSpec:
    code = Code(value="T-1", scheme="SRT", meaning="thing")
    labels = tuple(Label(index=index, name=f"part {index}", color=(255, 0, 0), type=code) for index in (1, 2))
    fields: dict[str, object] = {
        "name": "tiny",
        "version": 1,
        "modality": "MR",
        "body_part": "BRAIN",
        "plane": "coronal",
        "context_slices": 1,
        "context_step_mm": 1.0,
        "input_size": (32, 32),
        "spacing_mm": (1.0, 1.0),
        "intensity": ZScore(),
        "labels": labels,
    }
    return ModelSpec(**(fields | change))


@pytest.mark.parametrize("spec", [None, _spec()], ids=["without spec", "with spec"])
def test_checkpoint_there_and_back(tmp_path: Path, spec: ModelSpec | None) -> None:
    model = SwinUNet(dataclasses.replace(TINY, qkv_bias=False)).eval()
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, model, spec)
    again, spec_again = load_checkpoint(path)
    assert spec_again == spec
    assert again.config == model.config
    assert not again.training
    image = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(again(image), model(image))
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]
    assert sha256_of_file(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "other").touch()
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("change", [{"context_slices": 3}, {"input_size": (64, 64)}, {"labels": ()}], ids=str)
def test_a_spec_of_another_network_is_not_written(tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(CheckpointError, match="spec describes"):
        save_checkpoint(tmp_path / "a", SwinUNet(TINY), _spec(**change))
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"no/a\.safetensors: .*No such file"):
        save_checkpoint(tmp_path / "no" / "a.safetensors", SwinUNet(TINY), None)


def test_broken_checkpoints_are_refused(tmp_path: Path) -> None:
    good = tmp_path / "good"
    save_checkpoint(good, SwinUNet(TINY), _spec())
    truncated, text = tmp_path / "truncated", tmp_path / "text"
    truncated.write_bytes(good.read_bytes()[:-100])
    text.write_text("hello")
    for path, message in [(tmp_path / "none", "no such file"), (tmp_path, "no such file")]:
        with pytest.raises(CheckpointError, match=message):
            load_checkpoint(path)
    for path in (truncated, text):
        with pytest.raises(CheckpointError, match=f"{path.name}: not a complete safetensors file"):
            load_checkpoint(path)
    with pytest.raises(InputError, match="cannot be read"):
        sha256_of_file(tmp_path / "none")


_CONFIG = dataclasses.asdict(TINY)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "no checkpoint of this software"),
        ({CONFIG_KEY: "{"}, "configuration cannot be used"),
        ({CONFIG_KEY: json.dumps({"input_size": [32, 32]})}, "in_channels: Field required"),
        ({CONFIG_KEY: json.dumps(_CONFIG | {"rotary": True})}, "rotary"),
        ({CONFIG_KEY: json.dumps(_CONFIG | {"window_size": 5})}, "windows of 5 x 5"),
        (
            {CONFIG_KEY: json.dumps(_CONFIG | {"num_classes": 4})},
            r"1 of .*\(head.weight is \(3, 12\), expected \(4, 12\)",
        ),
        ({CONFIG_KEY: json.dumps(_CONFIG | {"embed_dim": 24_000})}, "do not fit"),
        ({CONFIG_KEY: json.dumps(_CONFIG), "swinunet_spec": _spec(context_slices=3).to_json()}, "spec describes"),
    ],
    ids=range(8),
)
def test_checkpoints_that_do_not_fit_themselves_are_refused(
    tmp_path: Path, metadata: dict[str, str], message: str
) -> None:
    path = tmp_path / "a"
    save_file(SwinUNet(TINY).state_dict(), path, metadata)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


def test_a_broken_spec_is_a_spec_error(tmp_path: Path) -> None:
    path = tmp_path / "a"
    save_file(SwinUNet(TINY).state_dict(), path, {CONFIG_KEY: json.dumps(_CONFIG), "swinunet_spec": "{}"})
    with pytest.raises(SpecError, match="no model spec"):
        load_checkpoint(path)


def test_missing_extra_and_nonfinite_tensors_are_refused(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    save_checkpoint(good, SwinUNet(TINY), None)
    weights = load_file(good)
    config = {CONFIG_KEY: json.dumps(_CONFIG)}
    for change, message in [
        ({"norm.weight": None}, "norm.weight is missing"),
        ({"other": torch.zeros(1)}, "other .*no such tensor"),
        ({"norm.bias": torch.full((24,), torch.nan)}, "norm.bias holds NaN"),
    ]:
        changed = {name: value for name, value in (weights | change).items() if value is not None}
        save_file(changed, bad, config)
        with pytest.raises(CheckpointError, match=message):
            load_checkpoint(bad)


def test_config_is_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TINY.embed_dim = 1  # type: ignore[misc]
    assert isinstance(TINY, SwinUNetConfig)
