"""Does the exported graph compute what the checkpoint computes? Asked on real slices, at several batches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from export.onnx_graph import LOGITS, with_logits
from swinunet.errors import ParityError
from training.swin_unet import SwinUNet

BATCHES = (1, 3, 8)
MAX_LOGIT_ERROR = 1e-3
TIE_MARGIN = 2e-3  # two classes closer than this in logits are a tie: either label is right


@dataclass(frozen=True)
class BatchParity:
    """One batch: largest absolute logit error, pixels whose labels differ, and those of them that are no ties."""

    batch: int
    max_logit_error: float
    differing_labels: int
    differing_beyond_ties: int

    @property
    def holds(self) -> bool:
        """Whether this batch passes."""
        return self.max_logit_error <= MAX_LOGIT_ERROR and self.differing_beyond_ties == 0


def check_parity(network: SwinUNet, path: Path, slices: np.ndarray) -> list[BatchParity]:
    """Compare ONNX Runtime with PyTorch (float32, CPU) at each of BATCHES.

    slices: float16 [N, C, H, W], N at least the largest batch; each batch takes other slices.
    Raises ParityError if a batch fails.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    graph = with_logits(path, network.config.num_classes, network.config.input_size)
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    found = [_compare(network, session, _pick(slices, batch)) for batch in BATCHES]
    failed = [batch for batch in found if not batch.holds]
    if failed:
        worst = max(failed, key=lambda batch: batch.max_logit_error)
        raise ParityError(
            f"{path.name} is not its checkpoint: at batch {worst.batch} logits differ by {worst.max_logit_error:.2g} "
            f"(allowed {MAX_LOGIT_ERROR:g}) and {worst.differing_beyond_ties} labels differ; nothing was promoted"
        )
    return found


def _pick(slices: np.ndarray, batch: int) -> np.ndarray:
    """`batch` slices spread over the whole set."""
    return slices[np.linspace(0, len(slices) - 1, batch + 2).astype(int)[1:-1]]


def _compare(network: SwinUNet, session: onnxruntime.InferenceSession, image: np.ndarray) -> BatchParity:
    network.eval()
    with torch.inference_mode():
        expected = network(torch.from_numpy(image).float()).numpy()
    logits, labels = session.run([LOGITS, "labels"], {"image": image})
    top = np.sort(expected, axis=1)[:, -2:]
    differing = labels != expected.argmax(axis=1)
    tie = (top[:, 1] - top[:, 0]) < TIE_MARGIN
    error = float(np.abs(logits - expected).max())
    return BatchParity(len(image), error, int(differing.sum()), int((differing & ~tie).sum()))
