"""The parts of a Swin-UNet: windows, window attention, the Swin block, patch merging and patch expanding.

Features are tokens, [B, H * W, C], row-major, from the patch embedding to the logits. H and W are fixed when a module
is built and B is never computed in Python, so an exported graph is right at every batch, not only at the traced one.

Papers: Swin Transformer (Liu et al., arXiv 2103.14030) and Swin-Unet (Cao et al., arXiv 2105.05537).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

MASKED = -100.0  # added to masked attention logits: far enough for softmax, and safe in FP16


def window_partition(features: Tensor, window_size: int, resolution: tuple[int, int]) -> Tensor:
    """Cut a map into windows.

    features: [B, H * W, C], or any view of the same elements; resolution: (H, W), multiples of `window_size`.
    Returns [B * windows, window_size ** 2, C], windows in row-major order.
    """
    height, width = resolution
    ws, channels = window_size, features.shape[-1]
    tiles = features.view(-1, height // ws, ws, width // ws, ws, channels)
    return tiles.permute(0, 1, 3, 2, 4, 5).reshape(-1, ws * ws, channels)


def window_reverse(windows: Tensor, window_size: int, resolution: tuple[int, int]) -> Tensor:
    """Put windows together again: the inverse of `window_partition`.

    windows: [B * windows, window_size ** 2, C], or any view of the same elements; resolution: (H, W) of the result.
    Returns [B, H * W, C].
    """
    height, width = resolution
    ws, channels = window_size, windows.shape[-1]
    tiles = windows.view(-1, height // ws, width // ws, ws, ws, channels)
    return tiles.permute(0, 1, 3, 2, 4, 5).reshape(-1, height * width, channels)


def relative_position_index(window_size: int) -> Tensor:
    """Row of the bias table for each pair of positions in a window (2103.14030, section 3.2, "Relative position bias").

    Returns int64 [N, N] with N = window_size ** 2; entry [i, j] encodes the offset from position j to position i, the
    row offset counting 2 * window_size - 1 times the column offset.
    """
    position = torch.arange(window_size**2)
    row, column = position // window_size, position % window_size
    row_offset = row[:, None] - row[None, :] + window_size - 1
    column_offset = column[:, None] - column[None, :] + window_size - 1
    return row_offset * (2 * window_size - 1) + column_offset


def shift_mask(resolution: tuple[int, int], window_size: int, shift_size: int) -> Tensor:
    """Attention mask after the cyclic shift (2103.14030, section 3.2, figure 4).

    A shifted map holds, in its last windows, pixels that were not neighbours before the shift; they must not attend to
    each other.

    Returns float32 [windows, N, N] with N = window_size ** 2: 0 within a region, -100 between regions.
    """
    rows, columns = (_shifted_regions(length, window_size, shift_size) for length in resolution)
    region = (3 * rows[:, None] + columns[None, :]).to(torch.float32)
    region = window_partition(region[None, :, :, None], window_size, resolution).squeeze(-1)  # windows, N
    return torch.where(region[:, :, None] == region[:, None, :], 0.0, MASKED)


def _shifted_regions(length: int, window_size: int, shift_size: int) -> Tensor:
    """Which of the three regions of a shifted axis each index belongs to: int64 [length]."""
    index = torch.arange(length)
    return (index >= length - window_size).long() + (index >= length - shift_size).long()


class WindowAttention(nn.Module):
    """Multi-head self-attention within windows, with relative position bias (2103.14030, equation 4).

    mask: float32 [windows, N, N] as from `shift_mask`, or None where windows are not shifted.
    """

    relative_position_index: Tensor
    mask: Tensor | None

    def __init__(self, *, dim: int, num_heads: int, window_size: int, qkv_bias: bool, mask: Tensor | None) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = dim // num_heads
        self.area = window_size**2
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window_size - 1) ** 2, num_heads))
        self.register_buffer("relative_position_index", relative_position_index(window_size), persistent=False)
        self.register_buffer("mask", mask, persistent=False)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, windows: Tensor) -> Tensor:
        """windows: [B * windows, N, C]. Returns the same shape."""
        bias = self.bias()  # G, N, N
        # The mask differs from window to window, so the windows of an image count as heads where there is one.
        qkv = self.qkv(windows).view(-1, bias.shape[0] // self.num_heads, self.area, 3, self.num_heads, self.head_dim)
        query, key, value = qkv.permute(3, 0, 1, 4, 2, 5).flatten(2, 3).unbind(0)  # B', G, N, head_dim each
        attention = (query * self.head_dim**-0.5) @ key.transpose(-2, -1) + bias
        mixed = attention.softmax(dim=-1).to(value.dtype) @ value  # B', G, N, head_dim
        mixed = mixed.view(-1, self.num_heads, self.area, self.head_dim).transpose(1, 2)
        return self.proj(mixed.reshape(-1, self.area, self.num_heads * self.head_dim))

    def bias(self) -> Tensor:
        """What is added to the attention logits: [heads, N, N], or [windows * heads, N, N] where there is a mask."""
        table = self.relative_position_bias_table[self.relative_position_index.view(-1)]
        bias = table.view(self.area, self.area, self.num_heads).permute(2, 0, 1)
        if self.mask is None:
            return bias
        return (bias + self.mask[:, None]).flatten(0, 1)


class Mlp(nn.Module):
    """Two linear layers with an (exact) GELU between them."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, features: Tensor) -> Tensor:
        """features: [..., C]. Returns the same shape."""
        return self.fc2(nn.functional.gelu(self.fc1(features)))


class DropPath(nn.Module):
    """Stochastic depth (arXiv 1603.09382): in training, leaves a residual branch out for a random share of samples."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        """branch: [B, H * W, C]. Returns the same shape."""
        if not self.training or self.rate == 0:
            return branch
        kept = branch.new_empty(branch.shape[0], 1, 1).bernoulli_(1 - self.rate)
        return branch * (kept / (1 - self.rate))


class Windows(nn.Module):
    """The windows of a map, shifted cyclically by `shift_size` rows and columns (2103.14030, figure 4)."""

    def __init__(self, *, resolution: tuple[int, int], window_size: int, shift_size: int) -> None:
        super().__init__()
        self.resolution = resolution
        self.window_size = window_size
        self.shift_size = shift_size

    def cut(self, features: Tensor) -> Tensor:
        """features: [B, H * W, C]. Returns [B * windows, N, C], N being the tokens of a window."""
        return window_partition(self._roll(features, -self.shift_size), self.window_size, self.resolution)

    def join(self, windows: Tensor) -> Tensor:
        """The inverse of `cut`: [B * windows, N, C] to [B, H * W, C]."""
        return self._roll(window_reverse(windows, self.window_size, self.resolution), self.shift_size)

    def _roll(self, features: Tensor, shift: int) -> Tensor:
        if not shift:
            return features
        grid = features.view(-1, *self.resolution, features.shape[-1])
        return grid.roll((shift, shift), dims=(1, 2)).flatten(1, 2)


class SwinBlock(nn.Module):
    """W-MSA or SW-MSA, then an MLP, each behind a LayerNorm and with a residual (2105.05537, section 3.2).

    A map no larger than the window is one window along its shorter side and is not shifted.
    """

    def __init__(
        self,
        *,
        dim: int,
        resolution: tuple[int, int],
        num_heads: int,
        window_size: int,
        shifted: bool,
        mlp_ratio: float,
        qkv_bias: bool,
        drop_path: float,
    ) -> None:
        super().__init__()
        window = min(window_size, *resolution)
        shift = window_size // 2 if shifted and window_size < min(resolution) else 0
        self.windows = Windows(resolution=resolution, window_size=window, shift_size=shift)
        mask = shift_mask(resolution, window, shift) if shift else None
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim=dim, num_heads=num_heads, window_size=window, qkv_bias=qkv_bias, mask=mask)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path)

    def forward(self, features: Tensor) -> Tensor:
        """features: [B, H * W, C]. Returns the same shape."""
        attended = self.windows.join(self.attn(self.windows.cut(self.norm1(features))))
        features = features + self.drop_path(attended)
        return features + self.drop_path(self.mlp(self.norm2(features)))


class PatchMerging(nn.Module):
    """Halve the resolution, double the channels (2105.05537, section 3.3)."""

    def __init__(self, *, dim: int, resolution: tuple[int, int]) -> None:
        super().__init__()
        self.dim = dim
        self.resolution = resolution
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """features: [B, H * W, C]. Returns [B, H / 2 * W / 2, 2 * C]."""
        height, width = (side // 2 for side in self.resolution)
        quads = features.view(-1, height, 2, width, 2, self.dim)
        quads = quads.permute(0, 1, 3, 4, 2, 5)  # B, H / 2, W / 2, column, row, C: the order published weights expect
        return self.reduction(self.norm(quads.reshape(-1, height * width, 4 * self.dim)))


class PatchExpand(nn.Module):
    """Raise the resolution by `scale`, channels from `dim` to `out_dim` (2105.05537, section 3.5).

    Between stages scale is 2 and `out_dim` is `dim` / 2; after the last, scale is the patch size and `out_dim` `dim`.
    """

    def __init__(self, *, dim: int, out_dim: int, scale: int, resolution: tuple[int, int]) -> None:
        super().__init__()
        self.scale = scale
        self.out_dim = out_dim
        self.tokens = resolution[0] * resolution[1] * scale**2
        self.out_resolution = (resolution[0] * scale, resolution[1] * scale)
        self.expand = nn.Linear(dim, scale**2 * out_dim, bias=False)
        self.norm = nn.LayerNorm(out_dim)

    def forward(self, features: Tensor) -> Tensor:
        """features: [B, H * W, dim]. Returns [B, scale * H * scale * W, out_dim]."""
        return window_reverse(self.patches(features), self.scale, self.out_resolution)

    def patches(self, features: Tensor) -> Tensor:
        """The new tokens still in the order of those they came from: [B, H * W * scale ** 2, out_dim]."""
        return self.norm(self.expand(features).view(-1, self.tokens, self.out_dim))
