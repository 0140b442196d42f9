"""The Swin-UNet of Cao et al. (arXiv 2105.05537), as its authors' repository computes it.

config = SwinUNetConfig(input_size=(224, 224), in_channels=1, num_classes=9)
logits = SwinUNet(config)(image)  # float32 [B, 1, 224, 224] -> float32 [B, 9, 224, 224]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from swinunet.foundation.errors import InputError
from swinunet.training.network.swin_blocks import PatchExpand, PatchMerging, SwinBlock


@dataclass(frozen=True)
class SwinUNetConfig:
    """The sizes of a SwinUNet. Raises InputError where they do not fit together.

    input_size: (H, W) in pixels.
    in_channels: neighbouring slices, or modalities.
    num_classes: K, the background included.
    patch_size: pixels a side that become one token.
    embed_dim: channels of a token in the first stage; they double with each stage.
    depths, num_heads: blocks and attention heads of each stage, the bottleneck last; the decoder mirrors them.
    window_size: tokens a side, in every stage; where a map is smaller, its shorter side.
    drop_path_rate: stochastic depth (in training) of the deepest block, rising linearly from 0 at the first.
    detail_dim: channels of the convolutions at full resolution before the patches are cut and after they are
        pixels again (`DetailHead`); 0, as in the paper, has none.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    input_size: tuple[int, int]
    in_channels: int
    num_classes: int
    patch_size: int = 4
    embed_dim: int = 96
    depths: tuple[int, ...] = (2, 2, 2, 2)
    num_heads: tuple[int, ...] = (3, 6, 12, 24)
    window_size: int = 7
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    drop_path_rate: float = 0.1
    detail_dim: int = 0

    def __post_init__(self) -> None:
        self._check_ranges()
        self._check_heads()
        self._check_resolutions()

    @property
    def num_stages(self) -> int:
        """Stages of the encoder, the bottleneck included."""
        return len(self.depths)

    def dim(self, stage: int) -> int:
        """Channels in a stage, 0 being the first."""
        return self.embed_dim * 2**stage

    def resolution(self, stage: int) -> tuple[int, int]:
        """(H, W) of a stage's feature map in tokens."""
        cell = self.patch_size * 2**stage
        return self.input_size[0] // cell, self.input_size[1] // cell

    def drop_paths(self, stage: int) -> tuple[float, ...]:
        """Stochastic depth rate of each block of a stage; the decoder uses those of the stage it mirrors."""
        last = max(sum(self.depths) - 1, 1)
        first = sum(self.depths[:stage])
        return tuple(self.drop_path_rate * block / last for block in range(first, first + self.depths[stage]))

    def _check_ranges(self) -> None:
        counts = ("in_channels", "num_classes", "patch_size", "embed_dim", "window_size")
        for name, value in [(name, getattr(self, name)) for name in counts] + [("input_size", min(self.input_size))]:
            if value < 1:
                raise InputError(f"{name} must be at least 1, found {value}")
        if not self.depths or min(self.depths) < 1:
            raise InputError(f"depths must be one or more positive numbers, found {self.depths}")
        if self.mlp_ratio <= 0:
            raise InputError(f"mlp_ratio must be above 0, found {self.mlp_ratio}")
        if not 0 <= self.drop_path_rate < 1:
            raise InputError(f"drop_path_rate must lie in [0, 1), found {self.drop_path_rate}")
        if self.detail_dim < 0:
            raise InputError(f"detail_dim must be at least 0, found {self.detail_dim}")

    def _check_heads(self) -> None:
        if len(self.num_heads) != self.num_stages:
            raise InputError(f"depths has {self.num_stages} stages, num_heads has {len(self.num_heads)}; give one each")
        for stage, heads in enumerate(self.num_heads):
            if heads < 1 or self.dim(stage) % heads:
                raise InputError(f"stage {stage}: {self.dim(stage)} channels do not divide into {heads} heads")

    def _check_resolutions(self) -> None:
        cell = self.patch_size * 2 ** (self.num_stages - 1)
        found = "{} x {}".format(*self.input_size)
        if any(side % cell for side in self.input_size):
            raise InputError(
                f"input_size {found} with patch_size {self.patch_size} and {self.num_stages} stages: "
                f"both sides must be multiples of {cell}"
            )
        for stage in range(self.num_stages):
            height, width = self.resolution(stage)
            window = min(self.window_size, height, width)
            if height % window or width % window:
                raise InputError(
                    f"input_size {found}: the map of stage {stage} is {height} x {width} tokens, "
                    f"which windows of {window} x {window} do not tile; choose another input_size or window_size"
                )


class PatchEmbed(nn.Module):
    """Cut an image into patches, embed each as a token (2105.05537, section 3.1)."""

    def __init__(self, config: SwinUNetConfig) -> None:
        super().__init__()
        in_channels = config.detail_dim or config.in_channels
        self.proj = nn.Conv2d(in_channels, config.embed_dim, config.patch_size, stride=config.patch_size)
        self.norm = nn.LayerNorm(config.embed_dim)

    def forward(self, image: Tensor) -> Tensor:
        """image: float32 [B, C, H, W]. Returns [B, H / patch * W / patch, embed_dim]."""
        return self.norm(self.proj(image).flatten(2).transpose(1, 2))


def _convolutions(in_channels: int, channels: int) -> nn.Sequential:
    """Two 3x3 convolutions at the resolution they are given, each with a GELU behind it."""
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.GELU(),
    )


class DetailHead(nn.Module):
    """Logits from what the decoder says of each pixel and from the pixels themselves.

    Tokens of several pixels place a border only as well as their channels can say it. As in Swin UNETR (arXiv
    2201.01266, section 3), which skips from the image to the last resolution, convolutions see both.
    """

    def __init__(self, config: SwinUNetConfig) -> None:
        super().__init__()
        self.fuse = _convolutions(2 * config.detail_dim, config.detail_dim)
        self.classes = nn.Conv2d(config.detail_dim, config.num_classes, 1)

    def forward(self, decoded: Tensor, pixels: Tensor) -> Tensor:
        """decoded, pixels: [B, detail_dim, H, W] each. Returns logits [B, K, H, W]."""
        return self.classes(self.fuse(torch.cat([decoded, pixels], dim=1)))


def _blocks(config: SwinUNetConfig, stage: int) -> nn.Sequential:
    """The blocks of a stage, every second one shifted."""
    return nn.Sequential(
        *(
            SwinBlock(
                dim=config.dim(stage),
                resolution=config.resolution(stage),
                num_heads=config.num_heads[stage],
                window_size=config.window_size,
                shifted=index % 2 == 1,
                mlp_ratio=config.mlp_ratio,
                qkv_bias=config.qkv_bias,
                drop_path=drop_path,
            )
            for index, drop_path in enumerate(config.drop_paths(stage))
        )
    )


class EncoderStage(nn.Module):
    """Swin blocks, then patch merging in every stage but the bottleneck (2105.05537, section 3.3)."""

    def __init__(self, config: SwinUNetConfig, stage: int) -> None:
        super().__init__()
        self.blocks = _blocks(config, stage)
        self.merge: nn.Module = nn.Identity()
        if stage < config.num_stages - 1:
            self.merge = PatchMerging(dim=config.dim(stage), resolution=config.resolution(stage))

    def forward(self, features: Tensor) -> Tensor:
        """features: [B, H * W, C]. Returns [B, H / 2 * W / 2, 2 * C], or the same shape from the bottleneck."""
        return self.merge(self.blocks(features))


class DecoderStage(nn.Module):
    """Patch expanding, skip connection, Swin blocks (2105.05537, sections 3.5 and 3.6).

    stage: the encoder stage it mirrors, whose resolution and channels it gives back.
    """

    def __init__(self, config: SwinUNetConfig, stage: int) -> None:
        super().__init__()
        dim, below = config.dim(stage), stage + 1
        self.expand = PatchExpand(dim=2 * dim, out_dim=dim, scale=2, resolution=config.resolution(below))
        self.fuse = nn.Linear(2 * dim, dim)
        self.blocks = _blocks(config, stage)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """features: [B, H / 2 * W / 2, 2 * C]; skip: [B, H * W, C]. Returns [B, H * W, C]."""
        return self.blocks(self.fuse(torch.cat([self.expand(features), skip], dim=-1)))


class SwinUNet(nn.Module):
    """The network: encoder, bottleneck, decoder with skip connections, one token per pixel, one logit per class.

    A skip connection carries what enters an encoder stage, not what its blocks make of it, as in the authors'
    repository. `decoder[i]` mirrors `encoder[-2 - i]`.
    """

    def __init__(self, config: SwinUNetConfig) -> None:
        super().__init__()
        self.config = config
        stages = range(config.num_stages)
        detail = config.detail_dim
        self.detail_entry = _convolutions(config.in_channels, detail) if detail else nn.Identity()
        self.patch_embed = PatchEmbed(config)
        self.encoder = nn.ModuleList(EncoderStage(config, stage) for stage in stages)
        self.norm = nn.LayerNorm(config.dim(stages[-1]))
        self.decoder = nn.ModuleList(DecoderStage(config, stage) for stage in reversed(stages[:-1]))
        self.norm_up = nn.LayerNorm(config.embed_dim)
        self.final_expand = PatchExpand(
            dim=config.embed_dim, out_dim=config.embed_dim, scale=config.patch_size, resolution=config.resolution(0)
        )
        # The paper's 1x1 convolution, as a linear layer on tokens.
        self.head = nn.Linear(config.embed_dim, detail or config.num_classes, bias=False)
        self.detail_head = DetailHead(config) if detail else None
        self.apply(_initialise)
        self.head.reset_parameters()

    def forward(self, image: Tensor, recompute: bool = False) -> Tensor:
        """image: float32 [B, C, H, W]. Returns logits [B, K, H, W].

        recompute: as in `decoded`.
        Raises InputError if C, H or W are not those of the configuration.
        """
        pixels = self.pixels(image)
        return self.logits(self.decoded(pixels, recompute)[-1], pixels)

    def pixels(self, image: Tensor) -> Tensor:
        """image: float32 [B, C, H, W]. Returns what patches are cut from: the image itself, or [B, detail_dim, H, W].

        Raises InputError if C, H or W are not those of the configuration.
        """
        built_for = (self.config.in_channels, *self.config.input_size)
        if image.ndim != 4 or tuple(image.shape[1:]) != built_for:
            found, expected = (" x ".join(map(str, shape)) for shape in (image.shape[1:], built_for))
            raise InputError(f"the image is {found} (C x H x W), the network was built for {expected}")
        return self.detail_entry(image)

    def decoded(self, pixels: Tensor, recompute: bool = False) -> list[Tensor]:
        """What each decoder stage gives, coarse to fine: `decoder[i]` [B, H_i * W_i, C_i].

        pixels: as `pixels` gives them.
        recompute: keep no activations within a stage, compute them again for the gradient (arXiv 1604.06174): less
            memory for about a third more time.
        """
        features = self.patch_embed(pixels)
        skips = []
        for encode in self.encoder:
            skips.append(features)
            features = checkpoint(encode, features, use_reentrant=False) if recompute else encode(features)
        features = self.norm(features)
        stages = []
        for decode, skip in zip(self.decoder, skips[-2::-1], strict=True):
            features = checkpoint(decode, features, skip, use_reentrant=False) if recompute else decode(features, skip)
            stages.append(features)
        return stages or [features]

    def logits(self, features: Tensor, pixels: Tensor) -> Tensor:
        """features: the last decoder stage's, [B, H / patch * W / patch, embed_dim]; pixels: as `pixels` gives them.

        Returns [B, K, H, W].
        """
        patch, height, width = self.config.patch_size, *self.config.resolution(0)
        # Tokens become pixels after the head, in one move with the turn to the front: K numbers move, not embed_dim.
        decoded = self.head(self.final_expand.patches(self.norm_up(features)))  # B, H * W, K
        decoded = decoded.view(-1, height, width, patch, patch, self.head.out_features).permute(0, 5, 1, 3, 2, 4)
        decoded = decoded.reshape(-1, self.head.out_features, *self.config.input_size)
        return decoded if self.detail_head is None else self.detail_head(decoded, pixels)


def _initialise(module: nn.Module) -> None:
    """Linear weights from a normal distribution of deviation 0.02, cut at +-2; no bias."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
