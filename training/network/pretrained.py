"""Weights published by others, read into a SwinUNet.

Two kinds of file are understood, by their original key names:

- Swin-Unet checkpoints (github.com/HuCaoFighting/Swin-Unet), under `swin_unet.`, `module.swin_unet.` or no prefix, bare
  or under `model`. Our network then computes what theirs computes.
- Swin Transformer classification checkpoints (github.com/microsoft/Swin-Transformer), as the ImageNet Swin-T: into the
  encoder, and each stage's blocks also into the decoder stage that mirrors it (2105.05537, section 3.1).

Nothing in a file is executed: it is read with `weights_only=True`.
"""

from __future__ import annotations

import dataclasses
import math
import pickle
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from swinunet.foundation.errors import CheckpointError, InputError
from swinunet.training.network.swin_unet import SwinUNet, SwinUNetConfig

Kind = Literal["Swin-Unet", "Swin Transformer"]

_PREFIX = re.compile(r"^(module\.)?(swin_unet\.)?")
_CONSTANT = re.compile(r"\.(attn_mask|relative_position_index)$")  # stored by the originals, computed by us
_PATCHES = "patch_embed.proj.weight"


@dataclass
class Imported:
    """A network with weights from elsewhere, and the account of each of its tensors.

    loaded, fresh: names in our network. adapted: name -> what was done. unused: names in the file.
    """

    model: SwinUNet
    kind: Kind
    loaded: list[str] = field(default_factory=list)
    adapted: dict[str, str] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)


def import_weights(
    path: Path,
    *,
    in_channels: int | None = None,
    num_classes: int | None = None,
    depths: tuple[int, ...] | None = None,
) -> Imported:
    """Read published weights into a network whose configuration follows from their shapes.

    in_channels: None keeps the file's. Otherwise the kernels of the patch embedding are averaged over the file's
        channels and scaled so that an image repeated over all channels is embedded as it was before.
    num_classes: with the background; None keeps the file's. Another number leaves the output layer fresh.
    depths: blocks of each stage to keep, the first ones, for a Swin Transformer only; None keeps all.

    Raises CheckpointError if the file is missing, broken, would run code, is of neither kind or matches too little;
    InputError if an argument does not fit.
    """
    weights = _read(path)
    kind: Kind = "Swin-Unet" if any(key.startswith("layers_up.") for key in weights) else "Swin Transformer"
    config = _config(path, weights)
    if kind == "Swin-Unet" and depths is not None:
        raise InputError(f"{path}: depths cannot be chosen, they are part of what a Swin-Unet checkpoint computes")
    if kind == "Swin Transformer" and num_classes is None:
        raise InputError(f"{path}: a classifier's weights do not say how many classes to segment; give --classes")
    if depths is not None:
        config = _shallower(path, config, depths)
    config = dataclasses.replace(
        config,
        in_channels=config.in_channels if in_channels is None else in_channels,
        num_classes=config.num_classes if num_classes is None else num_classes,
    )
    return _fill(path, SwinUNet(config), weights, kind)


def segments(path: Path) -> bool:
    """Whether a file is of a network that segments, so that its classes are known. Raises CheckpointError."""
    return "output.weight" in _read(path)


def original_name(name: str, num_stages: int, kind: Kind) -> str | None:
    """The key under which the original repositories store our tensor `name`; None if that kind has no such tensor."""
    if name.startswith(("patch_embed.", "norm.")):
        return name
    if match := re.fullmatch(r"encoder\.(\d+)\.(.+)", name):
        return f"layers.{match[1]}.{match[2].replace('merge.', 'downsample.')}"
    match = re.fullmatch(r"decoder\.(\d+)\.(blocks|expand|fuse)\.(.+)", name)
    if match is None:
        return name.replace("final_expand.", "up.").replace("head.", "output.") if kind == "Swin-Unet" else None
    index, part, rest = int(match[1]), match[2], match[3]
    if kind == "Swin Transformer":
        return f"layers.{num_stages - 2 - index}.blocks.{rest}" if part == "blocks" else None
    if part == "expand":  # with them, the end of the layer before
        return f"layers_up.{index}.upsample.{rest}" if index else f"layers_up.0.{rest}"
    return f"layers_up.{index + 1}.blocks.{rest}" if part == "blocks" else f"concat_back_dim.{index + 1}.{rest}"


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a PyTorch file, without the prefix of their keys."""
    content = _unpickled(path)
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        content = content["model"]
    if not isinstance(content, dict) or not content:
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, expected named weights (a state_dict)")
    weights = {_PREFIX.sub("", str(key)): value for key, value in content.items() if isinstance(value, Tensor)}
    if _PATCHES not in weights:
        raise CheckpointError(
            f"{path}: neither a Swin-Unet nor a Swin Transformer in its original key names: "
            f"no {_PATCHES!r} among {len(content)} keys (the first is {str(next(iter(content)))[:80]!r})"
        )
    if broken := [key for key, value in weights.items() if not torch.isfinite(value).all()]:
        raise CheckpointError(f"{path}: {broken[0]} holds NaN or infinite values; get another copy of the file")
    return weights


def _unpickled(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; expected published weights (.pth)")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if match := re.search(r"nsupported (?:global: )?GLOBAL (\S+)", str(error)):
            raise CheckpointError(
                f"{path}: refused, reading it would run code ({match[1][:80]}); where you trust it, "
                "save its weights alone with torch.save({'model': weights}, file)"
            ) from None
    except Exception:  # zipfile, pickle, torch and EOF each raise their own
        pass
    raise CheckpointError(f"{path}: not a complete PyTorch file (.pth); get it again")


def _config(path: Path, weights: dict[str, Tensor]) -> SwinUNetConfig:
    """The configuration that the shapes tell. The classes are 1 where there is no output layer."""
    first = "layers.0.blocks.0"
    embed_dim, in_channels, patch_size, patch_width = _shape(path, weights, _PATCHES, 4)
    hidden, _ = _shape(path, weights, f"{first}.mlp.fc1.weight", 2)
    stages = range(_count(weights, r"layers\.(\d+)\.blocks\."))
    table = "layers.{}.blocks.0.attn.relative_position_bias_table"
    tables = [_shape(path, weights, table.format(stage), 2) for stage in stages]
    windows = [(math.isqrt(rows) + 1) // 2 for rows, _ in tables]
    if patch_width != patch_size or [rows for rows, _ in tables] != [(2 * window - 1) ** 2 for window in windows]:
        raise CheckpointError(f"{path}: its patches or windows are not square; this network's are")
    try:
        return SwinUNetConfig(
            input_size=_input_size(weights, patch_size, windows),
            in_channels=in_channels,
            num_classes=_shape(path, weights, "output.weight", 4)[0] if "output.weight" in weights else 1,
            patch_size=patch_size,
            embed_dim=embed_dim,
            depths=tuple(_count(weights, rf"layers\.{stage}\.blocks\.(\d+)\.") for stage in stages),
            num_heads=tuple(heads for _, heads in tables),
            window_size=windows[0],
            mlp_ratio=hidden / embed_dim,
            qkv_bias=f"{first}.attn.qkv.bias" in weights,
        )
    except InputError as error:
        raise CheckpointError(f"{path}: no network has weights of these shapes ({error})") from None


def _input_size(weights: dict[str, Tensor], patch_size: int, windows: list[int]) -> tuple[int, int]:
    """(H, W) in pixels, from the first stage that stores its shift mask; without one, the usual size.

    The first window that the mask divides ends the first row of windows. The usual size makes the bottleneck one
    window: 224 for windows of 7 and 4 stages.
    """
    for stage, window in enumerate(windows):
        mask = weights.get(f"layers.{stage}.blocks.1.attn_mask")
        if mask is not None and mask.ndim == 3 and mask.any():
            columns = int(mask.flatten(1).any(dim=1).int().argmax()) + 1
            cell = window * patch_size * 2**stage
            return mask.shape[0] // columns * cell, columns * cell
    side = windows[-1] * patch_size * 2 ** (len(windows) - 1)
    return side, side


def _shallower(path: Path, config: SwinUNetConfig, depths: tuple[int, ...]) -> SwinUNetConfig:
    fits = len(depths) == config.num_stages and all(n <= there for n, there in zip(depths, config.depths, strict=True))
    if not fits:
        raise InputError(f"{path}: depths {depths} asked for, the file has {config.depths}; give as many, none larger")
    return dataclasses.replace(config, depths=depths)


def _shape(path: Path, weights: dict[str, Tensor], key: str, axes: int) -> tuple[int, ...]:
    shape = tuple(weights[key].shape) if key in weights else ()
    if len(shape) != axes or 0 in shape:
        raise CheckpointError(f"{path}: {key} is {shape or 'missing'}, expected {axes} axes; this is another network")
    return shape


def _count(weights: dict[str, Tensor], pattern: str) -> int:
    return len({match[1] for key in weights if (match := re.match(pattern, key))})


def _fill(path: Path, model: SwinUNet, weights: dict[str, Tensor], kind: Kind) -> Imported:
    """Copy what the file has into `model`, and account for every tensor of both."""
    result = Imported(model, kind)
    state = model.state_dict()
    keys = {name: original_name(name, model.config.num_stages, kind) for name in state}
    problems: list[str] = []
    for name, key in keys.items():
        found = weights.get(key) if key else None
        if found is not None and name == "head.weight":
            found = found.flatten(1)  # a 1x1 convolution with them
        if key is None or (found is not None and name == "head.weight" and len(found) != len(state[name])):
            result.fresh.append(name)
        elif found is not None and found.shape == state[name].shape:
            state[name] = found
            result.loaded.append(name)
        elif found is not None and name == _PATCHES:
            state[name] = _with_channels(found, model.config.in_channels)
            result.adapted[name] = f"from {found.shape[1]} to {model.config.in_channels} input channels"
        else:
            shape = tuple(found.shape) if found is not None else "missing"
            problems.append(f"{key} is {shape}, expected {tuple(state[name].shape)}")
    result.unused = sorted(key for key in weights.keys() - set(keys.values()) if not _CONSTANT.search(key))
    _check_match(path, result, problems)
    _check_constants(path, result, weights)
    model.load_state_dict(state)
    return result


def _with_channels(kernels: Tensor, in_channels: int) -> Tensor:
    """kernels: [E, C, p, p]. Returns [E, in_channels, p, p] that embed an image repeated over all channels alike."""
    mean = kernels.float().mean(dim=1, keepdim=True)
    return mean.expand(-1, in_channels, -1, -1) * (kernels.shape[1] / in_channels)


def _check_match(path: Path, result: Imported, problems: list[str]) -> None:
    """Refuse a file that lacks something its kind has, and a Swin-Unet with something that ours has not."""
    if problems:
        taken = len(result.loaded) + len(result.adapted)
        expected = taken + len(problems)
        raise CheckpointError(
            f"{path}: only {taken} of the {expected} tensors expected of a {result.kind} match "
            f"({taken / expected:.0%}): {problems[0]}"
        )
    if result.kind == "Swin-Unet" and result.unused:
        raise CheckpointError(
            f"{path}: {len(result.unused)} tensors have no place in a Swin-Unet, the first is {result.unused[0]!r}; "
            "ours would not compute what this network computes"
        )


def _check_constants(path: Path, result: Imported, weights: dict[str, Tensor]) -> None:
    """The masks and indices that a file stores must be those we compute: others tell of other windows or sizes."""
    for name, ours in result.model.named_buffers():
        key = original_name(name.replace("attn.mask", "attn_mask"), result.model.config.num_stages, result.kind)
        if key in weights and not torch.equal(weights[key].to(ours.dtype), ours):
            raise CheckpointError(f"{path}: {key} is not what this network computes there; it uses other windows")
