"""Swin-Unet by the book, to compare with: weights in the original repositories' key names, and what they compute.

Nothing here cuts windows or rolls maps. Every token attends to the whole map, in float64, except to what the paper
excludes: tokens of another window, and tokens that only the cyclic shift brought into the same window.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Sizes:
    """Of a network as its authors build it: patches of 4, a square image."""

    image: int = 112
    channels: int = 3
    classes: int = 5
    dim: int = 12
    depths: tuple[int, ...] = (2, 2, 2)
    heads: tuple[int, ...] = (2, 3, 4)
    window: int = 7
    qkv_bias: bool = True

    def side(self, stage: int) -> int:
        return self.image // 4 // 2**stage

    def window_of(self, stage: int) -> int:
        return min(self.window, self.side(stage))

    def shift_of(self, stage: int, block: int) -> int:
        return self.window // 2 if block % 2 and self.side(stage) > self.window else 0


def swin_unet_weights(sizes: Sizes, seed: int = 0) -> dict[str, Tensor]:
    """Random weights and the stored constants of a HuCaoFighting/Swin-Unet network, without a prefix."""
    last = len(sizes.depths) - 1
    shapes = _encoder_shapes(sizes)
    for index in range(last + 1):
        stage = last - index
        dim = sizes.dim * 2**stage
        if index == 0:
            shapes |= _expand_shapes("layers_up.0", dim, 2 * dim, dim // 2)
            continue
        shapes |= _linear_shapes(f"concat_back_dim.{index}", 2 * dim, dim)
        shapes |= _block_shapes(sizes, f"layers_up.{index}", stage)
        if stage:
            shapes |= _expand_shapes(f"layers_up.{index}.upsample", dim, 2 * dim, dim // 2)
    shapes |= _norm_shapes("norm_up", sizes.dim) | _expand_shapes("up", sizes.dim, 16 * sizes.dim, sizes.dim)
    shapes["output.weight"] = (sizes.classes, sizes.dim, 1, 1)
    return _random(shapes, seed) | _constants(sizes, "layers") | _constants(sizes, "layers_up")


def swin_weights(sizes: Sizes, seed: int = 0) -> dict[str, Tensor]:
    """Random weights and the stored constants of a microsoft/Swin-Transformer classifier of 1000 classes."""
    shapes = _encoder_shapes(sizes) | _linear_shapes("head", sizes.dim * 2 ** (len(sizes.depths) - 1), 1000)
    return _random(shapes, seed) | _constants(sizes, "layers")


def reference_logits(weights: dict[str, Tensor], sizes: Sizes, image: Tensor) -> Tensor:
    """What the authors' network computes. image: [B, channels, H, W]. Returns float64 [B, classes, H, W]."""
    weights = {key: value.double() for key, value in weights.items()}
    last = len(sizes.depths) - 1
    x = F.conv2d(image.double(), weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"], stride=4)
    x = _norm(weights, "patch_embed.norm", rearrange(x, "b c h w -> b h w c"))
    skips = []
    for stage in range(last + 1):
        skips.append(x)
        x = _blocks(weights, f"layers.{stage}", sizes, stage, x)
        if stage < last:
            corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
            x = _norm(weights, f"layers.{stage}.downsample.norm", torch.cat(corners, -1))
            x = _linear(weights, f"layers.{stage}.downsample.reduction", x)
    x = _expand(weights, "layers_up.0", 2, _norm(weights, "norm", x))
    for index in range(1, last + 1):
        x = _linear(weights, f"concat_back_dim.{index}", torch.cat([x, skips[last - index]], -1))
        x = _blocks(weights, f"layers_up.{index}", sizes, last - index, x)
        if index < last:
            x = _expand(weights, f"layers_up.{index}.upsample", 2, x)
    x = _expand(weights, "up", 4, _norm(weights, "norm_up", x))
    return F.conv2d(rearrange(x, "b h w c -> b c h w"), weights["output.weight"])


def _blocks(weights: dict[str, Tensor], name: str, sizes: Sizes, stage: int, x: Tensor) -> Tensor:
    for block in range(sizes.depths[stage]):
        part = f"{name}.blocks.{block}"
        x = x + _attention(weights, part, sizes, stage, block, _norm(weights, f"{part}.norm1", x))
        hidden = F.gelu(_linear(weights, f"{part}.mlp.fc1", _norm(weights, f"{part}.norm2", x)))
        x = x + _linear(weights, f"{part}.mlp.fc2", hidden)
    return x


def _attention(weights: dict[str, Tensor], name: str, sizes: Sizes, stage: int, block: int, x: Tensor) -> Tensor:
    side, window, shift = sizes.side(stage), sizes.window_of(stage), sizes.shift_of(stage, block)
    allowed, index = attention_rules(side, window, shift)
    table = weights[f"{name}.attn.relative_position_bias_table"]
    tokens = rearrange(x, "b h w c -> b (h w) c")
    qkv = _linear(weights, f"{name}.attn.qkv", tokens)
    q, k, v = rearrange(qkv, "b n (three heads d) -> three b heads n d", three=3, heads=sizes.heads[stage])
    logits = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + rearrange(table[index], "n m heads -> heads n m")
    mixed = logits.masked_fill(~allowed, -torch.inf).softmax(-1) @ v
    mixed = rearrange(mixed, "b heads (h w) d -> b h w (heads d)", h=side)
    return _linear(weights, f"{name}.attn.proj", mixed)


def attention_rules(side: int, window: int, shift: int) -> tuple[Tensor, Tensor]:
    """Who may attend to whom on a map of side x side tokens, and the row of the bias table for each pair.

    Returns bool and int64 [side ** 2, side ** 2]; the row is 0 where the pair is not allowed.
    """
    place = torch.cartesian_prod(torch.arange(side), torch.arange(side))  # tokens, (row, column)
    shifted = (place - shift) % side
    wrapped = place < shift
    same = (shifted[:, None] // window == shifted[None] // window) & (wrapped[:, None] == wrapped[None])
    allowed = same.all(-1)
    offset = shifted[:, None] - shifted[None] + window - 1  # query minus key, from 0
    index = offset[..., 0] * (2 * window - 1) + offset[..., 1]
    return allowed, torch.where(allowed, index, 0)


def _expand(weights: dict[str, Tensor], name: str, scale: int, x: Tensor) -> Tensor:
    x = rearrange(_linear(weights, f"{name}.expand", x), "b h w (p q c) -> b (h p) (w q) c", p=scale, q=scale)
    return _norm(weights, f"{name}.norm", x)


def _linear(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.linear(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"))


def _norm(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])


def _encoder_shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    shapes = {"patch_embed.proj.weight": (sizes.dim, sizes.channels, 4, 4), "patch_embed.proj.bias": (sizes.dim,)}
    shapes |= _norm_shapes("patch_embed.norm", sizes.dim)
    last = len(sizes.depths) - 1
    for stage in range(last + 1):
        dim = sizes.dim * 2**stage
        shapes |= _block_shapes(sizes, f"layers.{stage}", stage)
        if stage < last:
            shapes |= _norm_shapes(f"layers.{stage}.downsample.norm", 4 * dim)
            shapes[f"layers.{stage}.downsample.reduction.weight"] = (2 * dim, 4 * dim)
    return shapes | _norm_shapes("norm", sizes.dim * 2**last)


def _block_shapes(sizes: Sizes, name: str, stage: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    dim, window = sizes.dim * 2**stage, sizes.window_of(stage)
    for block in range(sizes.depths[stage]):
        part = f"{name}.blocks.{block}"
        shapes |= _norm_shapes(f"{part}.norm1", dim) | _norm_shapes(f"{part}.norm2", dim)
        shapes |= _linear_shapes(f"{part}.attn.qkv", dim, 3 * dim, bias=sizes.qkv_bias)
        shapes |= _linear_shapes(f"{part}.attn.proj", dim, dim)
        shapes |= _linear_shapes(f"{part}.mlp.fc1", dim, 4 * dim) | _linear_shapes(f"{part}.mlp.fc2", 4 * dim, dim)
        shapes[f"{part}.attn.relative_position_bias_table"] = ((2 * window - 1) ** 2, sizes.heads[stage])
    return shapes


def _linear_shapes(name: str, inputs: int, outputs: int, *, bias: bool = True) -> dict[str, tuple[int, ...]]:
    weight: dict[str, tuple[int, ...]] = {f"{name}.weight": (outputs, inputs)}
    return weight | {f"{name}.bias": (outputs,)} if bias else weight


def _norm_shapes(name: str, dim: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}


def _expand_shapes(name: str, inputs: int, outputs: int, normed: int) -> dict[str, tuple[int, ...]]:
    return _linear_shapes(f"{name}.expand", inputs, outputs, bias=False) | _norm_shapes(f"{name}.norm", normed)


def _random(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    """Values at which every tensor matters: kernels keep the scale, tables and biases are not small."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for key, shape in shapes.items():
        value = torch.randn(shape, generator=generator)
        if "table" in key:
            weights[key] = value
        elif len(shape) > 1:
            weights[key] = value / (value[0].numel() ** 0.5)
        else:
            weights[key] = 0.2 * value + (1.0 if "norm" in key and key.endswith("weight") else 0.0)
    return weights


def _constants(sizes: Sizes, root: str) -> dict[str, Tensor]:
    """The buffers that the originals store beside the weights: position indices, and masks of shifted blocks."""
    constants = {}
    last = len(sizes.depths) - 1
    for index, depth in enumerate(sizes.depths if root == "layers" else sizes.depths[::-1]):
        stage = index if root == "layers" else last - index
        for block in range(depth if root == "layers" or index else 0):
            name = f"{root}.{index}.blocks.{block}"
            side, window, shift = sizes.side(stage), sizes.window_of(stage), sizes.shift_of(stage, block)
            constants[f"{name}.attn.relative_position_index"] = attention_rules(window, window, 0)[1]
            if shift:
                constants[f"{name}.attn_mask"] = stored_mask(side, window, shift)
    return constants


def stored_mask(side: int, window: int, shift: int) -> Tensor:
    """float32 [windows, N, N]: 0 or -100, window by window of the shifted map."""
    wrapped = torch.arange(side) >= side - shift  # on the shifted map
    labels = 2 * wrapped[:, None].long() + wrapped[None, :].long()
    labels = rearrange(labels, "(i p) (j q) -> (i j) (p q)", p=window, q=window)
    return -100.0 * (labels[:, :, None] != labels[:, None, :]).float()
