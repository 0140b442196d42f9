"""Deep supervision: every decoder stage must know the answer at its own resolution (Lee et al., arXiv 1409.5185).

The auxiliary heads belong to the training run. Checkpoints hold the network alone, so nothing is left at export.
"""

from __future__ import annotations

from torch import Tensor, nn

from swinunet.training.loop.losses import Loss
from swinunet.training.network.swin_unet import SwinUNet


class DeeplySupervised(nn.Module):
    """A network with a linear head (a 1x1 convolution) on each decoder stage."""

    def __init__(self, network: SwinUNet) -> None:
        super().__init__()
        config = network.config
        self.network = network
        stages = reversed(range(config.num_stages - 1))
        self.heads = nn.ModuleList(nn.Linear(config.dim(stage), config.num_classes) for stage in stages)

    def forward(self, image: Tensor, recompute: bool = False) -> list[Tensor]:
        """image: float32 [B, C, H, W]. Returns logits [B, classes, H, W]: the last stage's first, then coarser ones."""
        pixels = self.network.pixels(image)
        stages = self.network.decoded(pixels, recompute)
        resolutions = [self.network.config.resolution(stage) for stage in reversed(range(len(self.heads)))]
        aside = [
            head(stage).transpose(1, 2).unflatten(2, resolution)
            for head, stage, resolution in zip(self.heads, stages[: len(self.heads)], resolutions, strict=True)
        ]
        return [self.network.logits(stages[-1], pixels), *reversed(aside)]


def deep_loss(loss: Loss, outputs: list[Tensor], labels: Tensor) -> Tensor:
    """Mean of `loss` over the resolutions, each weighing half of the finer one before it (nnU-Net, arXiv 1809.10486).

    outputs: [B, classes, H / n, W / n] each; labels: int64 [B, H, W], thinned to the nearest pixel.
    """
    total, weights = outputs[0].new_zeros(()), 0.0
    for depth, logits in enumerate(outputs):
        step = labels.shape[1] // logits.shape[2], labels.shape[2] // logits.shape[3]
        thinned = labels[:, step[0] // 2 :: step[0], step[1] // 2 :: step[1]]
        total = total + 0.5**depth * loss(logits, thinned)
        weights += 0.5**depth
    return total / weights
