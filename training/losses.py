"""Losses by name."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def dice_ce(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean of soft Dice (Milletari et al., arXiv 1606.04797; over the batch) and cross-entropy: a scalar.

    logits: [B, K, H, W]; labels: int64 [B, H, W]. The background counts in the cross-entropy only.
    """
    logits = logits.float()
    probabilities = logits.softmax(dim=1)[:, 1:]
    targets = F.one_hot(labels, logits.shape[1]).permute(0, 3, 1, 2)[:, 1:].to(probabilities.dtype)
    overlap = (probabilities * targets).sum(dim=(0, 2, 3))
    total = probabilities.sum(dim=(0, 2, 3)) + targets.sum(dim=(0, 2, 3))
    soft_dice = (2 * overlap + 1.0) / (total + 1.0)
    return 0.5 * (1 - soft_dice.mean()) + 0.5 * F.cross_entropy(logits, labels)
