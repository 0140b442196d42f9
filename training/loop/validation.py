"""The network on whole cases: label maps on the native grid, and their Dice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from swinunet.imaging.study_slices import Output
from swinunet.training.data.cases import Case
from swinunet.training.loop.distributed import ProcessGroup
from swinunet.training.loop.hardware import FP32, Precision
from swinunet.training.metrics.case_scores import dice

PREDICT_BATCH = 32


def predict_labels(model: nn.Module, case: Case, precision: Precision = FP32) -> np.ndarray:
    """The model's label map of one case on its native grid, post-processed as its spec says: uint8 [I, J, K]."""
    return case.predict(lambda images, output: predict_slices(model, images, output, precision), PREDICT_BATCH)


def predict_slices(
    model: nn.Module, images: np.ndarray, output: Output = "labels", precision: Precision = FP32
) -> np.ndarray:
    """images: float16 [B, C, H, W], normalised.

    Returns, on the network's grid, labels uint8 [B, H, W] or probabilities float32 [B, classes, H, W].
    """
    device = next(model.parameters()).device
    with torch.inference_mode(), precision.autocast():
        logits = model(torch.from_numpy(images).to(device).float())
    found = logits.argmax(dim=1).to(torch.uint8) if output == "labels" else logits.float().softmax(dim=1)
    return found.cpu().numpy()


def validate(
    model: nn.Module,
    cases: Sequence[Case],
    num_classes: int,
    precision: Precision = FP32,
    group: ProcessGroup | None = None,
) -> np.ndarray:
    """Dice per case and foreground class, native grid: float64 [cases, classes - 1], NaN where absent from both.

    One case after the other is taken from `cases`. The processes of a group share them, and each gets all the scores.
    """
    group = group or ProcessGroup()
    model.eval()
    own = [
        dice(predict_labels(model, case, precision), case.native_labels.voxels, num_classes)
        for case in (cases[at] for at in range(group.rank, len(cases), group.world_size))
    ]
    scores = np.full((len(cases), num_classes - 1), np.nan)
    for rank, part in enumerate(group.all_gather(own)):
        scores[rank :: group.world_size] = np.reshape(part, (-1, num_classes - 1))
    return scores
