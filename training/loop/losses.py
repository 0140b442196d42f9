"""Losses by name: a region term (soft Dice) and a pixel term, and after a `+` a boundary term.

    dice-ce      soft Dice and cross-entropy, as in nnU-Net (arXiv 1809.10486)
    dice-bce     soft Dice and binary cross-entropy, one class against the rest (Combo loss, arXiv 1805.02798)
    dice-focal   soft Dice and focal loss, for small organs (AnatomyNet, arXiv 1808.05238; Lin et al., 1708.02002)
    dice-balanced  soft Dice and cross-entropy in which rare classes weigh more, by the root of their pixels: for a
                 structure of a thousandth of the image, which the others leave out for many epochs
    slice-dice-ce  soft Dice of each slice, and cross-entropy: where slices are judged one by one, however small the
                 structure is there, and one that has none must say so
    ...+boundary with the distance-weighted term for broken edges (Kervadec et al., arXiv 1812.07032)

Every term is made of sums over the batch. `reduce` adds such a sum over the processes of a distributed run, so that
each computes the loss of the joint batch, not of its own share; the identity where there is one process.

logits: [B, classes, H, W]; labels: int64 [B, H, W], 0 being background. The background counts in the pixel terms only;
pixels whose label is IGNORED count in none.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from swinunet.training.metrics.case_scores import IGNORED
from swinunet.training.named_choices import require_loss

Reduce = Callable[[Tensor], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]
Term = Callable[[Tensor, Tensor, Reduce], Tensor]

SMOOTH = 1.0  # pixels added above and below in soft Dice: a class absent from both is a perfect answer
FOCUS = 2.0  # gamma of the focal loss, as in its paper


def loss_by_name(name: str, boundary_weight: float = 0.01, reduce: Reduce = lambda total: total) -> Loss:
    """The loss of that name, a function (logits, labels) -> scalar. Raises InputError, listing the names.

    boundary_weight: of the boundary term against the others, where the name ends in `+boundary`.
    """
    require_loss(name)
    base, _, extra = name.partition("+")
    region_term, pixel_term = TERMS[base]

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        logits = logits if logits.dtype == torch.float64 else logits.float()
        total = 0.5 * region_term(logits, labels, reduce) + 0.5 * pixel_term(logits, labels, reduce)
        return total + boundary_weight * boundary_loss(logits, labels, reduce) if extra else total

    return loss


def dice_ce(logits: Tensor, labels: Tensor) -> Tensor:
    """The default loss, of one process."""
    return loss_by_name("dice-ce")(logits, labels)


def soft_dice_loss(logits: Tensor, labels: Tensor, reduce: Reduce) -> Tensor:
    """1 - soft Dice (Milletari et al., arXiv 1606.04797), over the whole batch, mean over foreground classes: 0..1."""
    overlap, size = _overlap_and_size(logits, labels)
    overlap, size = reduce(torch.stack([overlap.sum(dim=0), size.sum(dim=0)]))
    return 1 - ((2 * overlap + SMOOTH) / (size + SMOOTH)).mean()


def slice_dice_loss(logits: Tensor, labels: Tensor, reduce: Reduce) -> Tensor:
    """1 - soft Dice of each slice, mean over slices and foreground classes: 0..1."""
    overlap, size = _overlap_and_size(logits, labels)
    dice = ((2 * overlap + SMOOTH) / (size + SMOOTH)).mean(dim=1)
    total = reduce(torch.stack([dice.sum(), dice.new_tensor(len(dice))]))
    return 1 - total[0] / total[1]


def cross_entropy(logits: Tensor, labels: Tensor, reduce: Reduce) -> Tensor:
    """-log p of the right class, mean over pixels."""
    return _mean(_cross_entropies(logits, labels), labels, reduce)


def binary_cross_entropy(logits: Tensor, labels: Tensor, reduce: Reduce) -> Tensor:
    """-log p of the right class and -log(1 - p) of every other, mean over pixels and classes.

    p is the softmax that is served, so with two classes this is cross-entropy.
    """
    rest = [torch.cat([logits[:, :k], logits[:, k + 1 :]], dim=1).logsumexp(dim=1) for k in range(logits.shape[1])]
    margins = logits - torch.stack(rest, dim=1)  # B, classes, H, W: the logit of p, without forming 1 - p
    targets = _one_hot(logits, labels)
    return _mean(F.binary_cross_entropy_with_logits(margins, targets, reduction="none"), labels, reduce)


def focal(logits: Tensor, labels: Tensor, reduce: Reduce) -> Tensor:
    """-(1 - p)^2 log p of the right class (1708.02002, equation 4), mean over pixels."""
    log_p = -_cross_entropies(logits, labels)
    return _mean(-((1 - log_p.exp()) ** FOCUS) * log_p, labels, reduce)


def balanced_cross_entropy(logits: Tensor, labels: Tensor, reduce: Reduce) -> Tensor:
    """-log p of the right class, mean over pixels, each weighed by 1 / sqrt(pixels of its class in the joint batch)."""
    classes = torch.arange(logits.shape[1], device=labels.device)
    pixels = reduce((labels.flatten()[:, None] == classes).sum(dim=0).to(logits.dtype))  # classes
    weights = F.pad(pixels.clamp_min(1).rsqrt(), (0, IGNORED + 1 - len(classes)))[labels]  # B, H, W
    total = reduce(torch.stack([(_cross_entropies(logits, labels) * weights).sum(), weights.sum()]))
    return total[0] / total[1].clamp_min(1e-6)


def boundary_loss(logits: Tensor, labels: Tensor, reduce: Reduce) -> Tensor:
    """Probability times signed distance to the boundary (1812.07032, equation 5), mean over pixels and classes.

    Distances are in pixels of the network's grid, so the term can be negative: inside, probability is a gain.
    """
    probabilities = logits.softmax(dim=1)[:, 1:]
    distances = signed_distances(labels, logits.shape[1]).to(probabilities)
    return _mean(probabilities * distances, labels, reduce)


def signed_distances(labels: Tensor, num_classes: int) -> Tensor:
    """Distance of each pixel to the boundary of each foreground class, in pixels, slice by slice.

    Returns float32 [B, classes - 1, H, W] on the CPU: positive outside, 0 on the first pixels inside, negative further
    in. A class that a slice lacks, or that fills it, has no boundary there and is 0 everywhere (as in the authors'
    code).
    """
    found = labels.cpu().numpy()
    distances = np.zeros((found.shape[0], num_classes - 1, *found.shape[1:]), np.float32)
    for index, sliced in enumerate(found):
        for value in np.unique(sliced):
            inside = sliced == value
            if 0 < value < num_classes and not inside.all():
                outwards, inwards = distance_transform_edt(~inside), distance_transform_edt(inside)
                distances[index, value - 1] = outwards - np.maximum(inwards - 1, 0)
    return torch.from_numpy(distances)


TERMS: dict[str, tuple[Term, Term]] = {
    "dice-ce": (soft_dice_loss, cross_entropy),
    "dice-bce": (soft_dice_loss, binary_cross_entropy),
    "dice-focal": (soft_dice_loss, focal),
    "dice-balanced": (soft_dice_loss, balanced_cross_entropy),
    "slice-dice-ce": (slice_dice_loss, cross_entropy),
}


def _overlap_and_size(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Of each slice and foreground class, [B, classes - 1]: probability within the class, and of both together."""
    probabilities = logits.softmax(dim=1)[:, 1:] * _counted(labels)[:, None]
    targets = _one_hot(logits, labels)[:, 1:]
    return (probabilities * targets).sum(dim=(2, 3)), probabilities.sum(dim=(2, 3)) + targets.sum(dim=(2, 3))


def _one_hot(logits: Tensor, labels: Tensor) -> Tensor:
    """Labels as [B, classes, H, W] of the logits' type; of no class where they are IGNORED."""
    classes = torch.arange(logits.shape[1], device=labels.device).view(1, -1, 1, 1)
    return (labels[:, None] == classes).to(logits.dtype)


def _counted(labels: Tensor) -> Tensor:
    """[B, H, W]: False where labels are IGNORED."""
    return labels != IGNORED


def _cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:
    """-log p of the right class, by pixel: [B, H, W]; 0 where labels are IGNORED."""
    return F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none")


def _mean(values: Tensor, labels: Tensor, reduce: Reduce) -> Tensor:
    """Mean of values [B, H, W] or [B, classes, H, W] over the pixels that count, of the joint batch; 0 of none."""
    counted = _counted(labels) if values.ndim == 3 else _counted(labels)[:, None].expand_as(values)
    total = reduce(torch.stack([(values * counted).sum(), counted.sum().to(values.dtype)]))
    return total[0] / total[1].clamp_min(1)
