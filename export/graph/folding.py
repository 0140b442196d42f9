"""A network in the fewest operations that compute the same: what export traces.

What depends on weights alone is computed here, once: attention scale, relative position bias and shift mask, and the
scale and shift of layer normalisations. Tokens reach their windows by one gather. The network itself keeps its
parameters as they are trained; the gate judges that both compute the same (`export/gate`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from swinunet.training.network.swin_blocks import PatchMerging, SwinBlock, WindowAttention, Windows
from swinunet.training.network.swin_unet import DecoderStage, SwinUNet


def absorb_norms(network: SwinUNet) -> None:
    """The scale and shift of each layer normalisation go into the matrix behind it."""
    for module in network.modules():
        if isinstance(module, SwinBlock):
            _absorb(module.norm1, module.attn.qkv)
            _absorb(module.norm2, module.mlp.fc1)
        elif isinstance(module, PatchMerging):
            _absorb(module.norm, module.reduction)
        elif isinstance(module, DecoderStage):
            _absorb(module.expand.norm, module.fuse)
    _absorb(network.final_expand.norm, network.head)


def fold_attention(network: SwinUNet) -> None:
    """Attention scale, relative position bias and shift mask become constants; query, key and value come apart."""
    for block in _blocks(network):
        block.register_module("attn", FoldedAttention(block.attn, block.windows))


def gather_windows(network: SwinUNet) -> None:
    """Tokens reach their windows, and come back, by one gather. Wants `fold_attention` first."""
    for block in _blocks(network):
        block.register_module("windows", GatheredWindows(block.windows))


Change = Callable[[SwinUNet], None]

# In this order: absorb_norms changes matrices that fold_attention copies.
CHANGES: dict[str, Change] = {
    "normalisations' scale and shift in the next matrix": absorb_norms,
    "attention's bias, mask and scale constant; query, key, value apart": fold_attention,
    "windows by one gather": gather_windows,
}


@torch.no_grad()
def fold(network: SwinUNet, changes: Iterable[Change] = tuple(CHANGES.values())) -> SwinUNet:
    """A copy of `network`, for inference only, that computes the same after `changes`, the first few of CHANGES."""
    folded = copy.deepcopy(network).eval()
    for change in changes:
        change(folded)
    return folded


def _blocks(network: SwinUNet) -> list[SwinBlock]:
    return [module for module in network.modules() if isinstance(module, SwinBlock)]


def _absorb(norm: nn.LayerNorm, linear: nn.Linear) -> None:
    """Move the scale and shift of `norm` into `linear`, whose first inputs are what `norm` gives."""
    weight = linear.weight[:, : norm.normalized_shape[0]]
    shift = weight @ norm.bias
    linear.bias = nn.Parameter(shift if linear.bias is None else linear.bias + shift)
    weight.mul_(norm.weight)
    nn.init.ones_(norm.weight)
    nn.init.zeros_(norm.bias)


class GatheredWindows(nn.Module):
    """As `Windows`, but the tokens of windows stay [B, H * W, C], window after window: one gather there, one back."""

    order: Tensor
    inverse: Tensor

    def __init__(self, windows: Windows) -> None:
        super().__init__()
        height, width = windows.resolution
        order = windows.cut(torch.arange(height * width).view(1, -1, 1)).flatten()
        self.register_buffer("order", order)
        self.register_buffer("inverse", order.argsort())

    def cut(self, features: Tensor) -> Tensor:
        """features: [B, H * W, C]. Returns the same tokens, those of the first window first."""
        return features.index_select(1, self.order)

    def join(self, windows: Tensor) -> Tensor:
        """The inverse of `cut`."""
        return windows.index_select(1, self.inverse)


class FoldedAttention(nn.Module):
    """As `WindowAttention`, on the tokens of `GatheredWindows`.

    Of the N tokens X of a window, [N, C], `WindowAttention` computes, for each head of d channels (equation 4 of
    2103.14030, with B the relative position bias and M the shift mask, [N, N]),

        A = softmax((X Wq + bq) (X Wk + bk)^T / sqrt(d) + B + M)
        Y = concat(A (X Wv + bv)) Wo + bo

    and this module, with S = B + M, Wq' = Wq / sqrt(d), bq' = bq / sqrt(d) and bo' = bv Wo + bo as constants,

        A = softmax((X Wq' + bq') (X Wk)^T + S)
        Y = concat(A (X Wv)) Wo + bo'

    table [heads, (2 * window_size - 1) ** 2], index [N, N] and mask, [windows, N, N] or None, are what S is made of.

    bk adds the same to every logit of a query, which softmax takes out again; bv comes out of A as it went in, since
    the rows of A sum to 1. Query, key and value have a matrix each, [C, C], so nothing is split at run time.
    """

    bias: Tensor
    query: Tensor
    query_bias: Tensor
    key: Tensor
    value: Tensor

    def __init__(self, attention: WindowAttention, windows: Windows) -> None:
        super().__init__()
        height, width = windows.resolution
        self.tokens, self.area = height * width, attention.area
        self.num_heads, self.head_dim = attention.num_heads, attention.head_dim
        # With a mask, which differs from window to window, the windows of an image count as heads.
        self.groups = 1 if attention.mask is None else self.tokens // self.area
        self.register_buffer("bias", attention.bias())
        self.table = attention.relative_position_bias_table.T.contiguous()
        self.index, self.mask = attention.relative_position_index, attention.mask
        query, key, value = (part.T.contiguous() for part in attention.qkv.weight.chunk(3))
        query_bias, _, value_bias = attention.qkv.bias.chunk(3)
        self.register_buffer("query", query * self.head_dim**-0.5)
        self.register_buffer("query_bias", query_bias * self.head_dim**-0.5)
        self.register_buffer("key", key)
        self.register_buffer("value", value)
        self.proj = attention.proj
        self.proj.bias.add_(self.proj.weight @ value_bias)

    def forward(self, windows: Tensor) -> Tensor:
        """windows: [B, H * W, C], window after window. Returns the same shape."""
        query = self._heads(windows @ self.query + self.query_bias)  # B', G, N, head_dim
        key = self._heads(windows @ self.key, transposed=True)  # B', G, head_dim, N
        value = self._heads(windows @ self.value)
        mixed = (query @ key + self.bias).softmax(dim=-1) @ value  # B', G, N, head_dim
        if self.groups > 1:
            mixed = mixed.unflatten(1, (self.groups, self.num_heads))
        return self.proj(mixed.transpose(-3, -2).reshape(-1, self.tokens, self.num_heads * self.head_dim))

    def _heads(self, features: Tensor, transposed: bool = False) -> Tensor:
        """[B, H * W, C] to [B', G, N, head_dim], or with the last two axes transposed: in one move."""
        lead = (-1,) if self.groups == 1 else (-1, self.groups)
        split = features.view(*lead, self.area, self.num_heads, self.head_dim)
        heads = split.permute(*range(len(lead)), *((-2, -1, -3) if transposed else (-2, -3, -1)))
        return heads if self.groups == 1 else heads.flatten(1, 2)
