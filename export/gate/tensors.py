"""The first half of the gate: an engine's outputs against PyTorch float32, on real slices, at several batches.

Polygraphy runs and compares. The absolute error is judged and not the relative one, which explodes on probabilities
near zero.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from polygraphy.backend.base import BaseRunner
from polygraphy.common import TensorMetadata
from polygraphy.comparator import Comparator, IterationResult, RunResults, SimpleCompareFunc
from polygraphy.logger import G_LOGGER

from swinunet.export.engines.registry import REFERENCE
from swinunet.export.graph.onnx_graph import LOGITS
from swinunet.export.tolerances import MAX_LOGIT_ERROR, TIE_MARGIN, Tolerance
from swinunet.foundation.errors import ParityError
from swinunet.training.network.swin_unet import SwinUNet

BATCHES = (1, 3, 8, 16)  # the graph is exported at 2

Tensors = dict[str, np.ndarray]


@dataclass(frozen=True)
class BatchFigures:
    """One batch against PyTorch: absolute errors, and labels that differ (`beyond_ties`: where there was no tie).

    max_logit_error: None where the engine does not show its logits.
    """

    batch: int
    max_probability_error: float
    mean_probability_error: float
    max_logit_error: float | None
    labels: int
    differing_labels: int
    beyond_ties: int

    def failures(self, allowed: Tolerance) -> list[str]:
        """What exceeds `allowed`, in words: the figure, what was found, what is allowed."""
        share = self.differing_labels / self.labels
        checks: list[tuple[str, float, float]] = [
            ("largest probability error", self.max_probability_error, allowed.max_probability),
            ("mean probability error", self.mean_probability_error, allowed.mean_probability),
        ]
        if allowed.differing_labels:
            checks.append(("share of labels that differ", share, allowed.differing_labels))
        else:
            checks.append(("labels that differ and are no ties", self.beyond_ties, 0))
        if self.max_logit_error is not None:
            checks.append(("largest logit error", self.max_logit_error, MAX_LOGIT_ERROR))
        return [
            f"{name} {found:.2g} at batch {self.batch} (allowed {limit:g})"
            for name, found, limit in checks
            if not found <= limit  # so that NaN fails
        ]


class WireRunner(BaseRunner):
    """Anything that computes the wire contract, as Polygraphy runs it. infer: image float16 [B, C, H, W] to tensors."""

    def __init__(self, name: str, infer: Callable[[np.ndarray], Tensors]) -> None:
        super().__init__(name=name)
        self._infer = infer

    def get_input_metadata_impl(self) -> TensorMetadata:
        """One input, of any size: each engine says itself what it refuses."""
        return TensorMetadata().add("image", dtype=np.float16, shape=(None, None, None, None))

    def infer_impl(self, feed_dict: Tensors) -> Tensors:
        """Run, and keep the time as Polygraphy wants it."""
        began = time.perf_counter()
        found = OrderedDict(self._infer(feed_dict["image"]))
        self.inference_time = time.perf_counter() - began
        return found


def torch_runner(network: SwinUNet) -> WireRunner:
    """The checkpoint in float32, eager: what every engine is compared with."""

    def infer(image: np.ndarray) -> Tensors:
        with torch.inference_mode():
            logits = network(torch.from_numpy(image).float())
            labels, probabilities = logits.argmax(dim=1).to(torch.uint8), logits.softmax(dim=1).half()
        return {"labels": labels.numpy(), "probabilities": probabilities.numpy(), LOGITS: logits.numpy()}

    return WireRunner(REFERENCE, infer)


def feeds(slices: np.ndarray) -> list[Tensors]:
    """A batch of each size in BATCHES; each takes other slices, spread over all. slices: float16 [N, C, H, W]."""
    picks = [np.linspace(0, len(slices) - 1, batch + 2).astype(int)[1:-1] for batch in BATCHES]
    return [{"image": np.ascontiguousarray(slices[pick])} for pick in picks]


def run(runner: BaseRunner, images: list[Tensors]) -> list[IterationResult]:
    """The outputs of a runner for each feed."""
    with G_LOGGER.verbosity(G_LOGGER.CRITICAL):
        return list(Comparator.run([runner], data_loader=images)[0][1])


def compare(found: list[IterationResult], expected: list[IterationResult]) -> list[BatchFigures]:
    """Figures of each batch. Raises ParityError for outputs of a wrong shape or type, or that are not finite."""
    for ours, theirs in zip(found, expected, strict=True):
        _require_contract(ours, theirs)
    both = RunResults([("engine", found), (REFERENCE, expected)])
    errors_of = SimpleCompareFunc(check_error_stat="max")
    # Polygraphy computes relative errors, too, and NumPy warns of every zero.
    with G_LOGGER.verbosity(G_LOGGER.CRITICAL), np.errstate(all="ignore"):
        errors, labels = Comparator.compare_accuracy(both, compare_func=[errors_of, _compare_labels])
    ((_, by_batch),) = errors.items()
    ((_, labels_by_batch),) = labels.items()
    figures = []
    for error, differ in zip(by_batch, labels_by_batch, strict=True):
        counts = differ["labels"]
        probabilities = error["probabilities"]
        figures.append(
            BatchFigures(
                batch=counts.batch,
                max_probability_error=float(probabilities.max_absdiff),
                mean_probability_error=float(probabilities.mean_absdiff),
                max_logit_error=float(error[LOGITS].max_absdiff) if LOGITS in error else None,
                labels=counts.labels,
                differing_labels=counts.differing,
                beyond_ties=counts.beyond_ties,
            )
        )
    return figures


@dataclass(frozen=True)
class _LabelCounts:
    batch: int
    labels: int
    differing: int
    beyond_ties: int

    def __bool__(self) -> bool:
        return self.beyond_ties == 0


def _compare_labels(ours: IterationResult, theirs: IterationResult) -> OrderedDict[str, _LabelCounts]:
    """Polygraphy's compare function for labels: those that differ, and whether the reference had a tie there."""
    top = np.sort(theirs["probabilities"].astype(np.float32), axis=1)[:, -2:]
    tie = top[:, 1] - top[:, 0] < TIE_MARGIN
    differing = ours["labels"] != theirs["labels"]
    counts = _LabelCounts(len(tie), tie.size, int(differing.sum()), int((differing & ~tie).sum()))
    return OrderedDict(labels=counts)


def _require_contract(ours: IterationResult, theirs: IterationResult) -> None:
    for name in ("labels", "probabilities"):
        found, expected = ours[name], theirs[name]
        if found.shape != expected.shape or found.dtype != expected.dtype:
            raise ParityError(
                f"{name} are {found.dtype} {list(found.shape)} at batch {len(expected)}, expected {expected.dtype} "
                f"{list(expected.shape)}"
            )
    broken = ~np.isfinite(ours["probabilities"])
    if broken.any():
        raise ParityError(
            f"{broken.mean():.1%} of the probabilities at batch {len(broken)} are not finite (allowed 0 %)"
        )
