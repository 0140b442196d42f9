"""The process of one way to train: builds the network once, then steps when told to.

`plain` is the bare loop that the others are compared with: forward, the same loss, backward, AdamW, and nothing else.
`fp32` and `auto` are the product's own Learner, which also clips, checks, schedules and averages.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor

from swinunet.benchmarks.measure.machine import peak_mib
from swinunet.benchmarks.measure.processes import serve_orders
from swinunet.imaging import Code, Label, ModelSpec, Volume, ZScore
from swinunet.training.data.cases import prepare_case
from swinunet.training.loop.batch_loader import Batch, BatchLoader
from swinunet.training.loop.distributed import ProcessGroup
from swinunet.training.loop.hardware import choose_precision
from swinunet.training.loop.losses import dice_ce
from swinunet.training.loop.optimisation import Learner
from swinunet.training.loop.settings import TrainSettings
from swinunet.training.network.recipes import recipe
from swinunet.training.network.swin_unet import SwinUNet, SwinUNetConfig

_CODE = Code("5366008", "SCT", "Hippocampus")
SPEC = ModelSpec(
    name="benchmark",
    version=1,
    modality="MR",
    body_part="BRAIN",
    plane="sagittal",
    context_slices=3,
    context_step_mm=1.0,
    input_size=(32, 32),
    spacing_mm=(1.0, 1.0),
    intensity=ZScore(),
    labels=(Label(1, "inner", (230, 80, 60), _CODE), Label(2, "outer", (70, 150, 240), _CODE)),
)
_EPOCH = 2  # batches; every slice has a label, so none of them is short
_CPU = torch.device("cpu")

Step = Callable[[Tensor, Tensor], float]


class TrainingWorker:
    """Holds the network, its step, and the feed of the batch size last asked for."""

    config: SwinUNetConfig
    step: Step
    batch = 0

    def load(self, *, recipe_name: str, variant: str, threads: int) -> dict[str, Any]:
        """Build the network and what steps it."""
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.config = recipe(recipe_name).build(SPEC.in_channels, SPEC.num_classes)
        network = SwinUNet(self.config)
        if variant == "plain":
            self.step = plain_step(network)
        else:
            precision = choose_precision(variant, _CPU)
            self.step = Learner(network, TrainSettings(), total_steps=10**6, device=_CPU, precision=precision).step
        return {}

    def measure(self, *, batch: int, seconds: float) -> dict[str, Any]:
        """Whole steps for `seconds` (one at least), after an untimed one where steps are shorter than that."""
        if batch != self.batch:
            self.batch, self.feed = batch, feed(self.config, batch)
            self.batches = endless(self.feed)
            self._timed_step()
        if self.step_s < seconds:
            self._timed_step()
        self.feed.waited_s, self.feed.made, step_s = 0.0, 0, 0.0
        end = time.perf_counter() + seconds
        while not self.feed.made or time.perf_counter() < end:
            step_s += self._timed_step()
        slices, waited_s = self.feed.made, self.feed.waited_s
        return {"slices": slices, "step_s": step_s, "waited_s": waited_s, "peak_mib": peak_mib()}

    def _timed_step(self) -> float:
        """Seconds of one step, its batch apart."""
        drawn = next(self.batches)
        began = time.perf_counter()
        self.step(drawn.image, drawn.labels)
        self.step_s = time.perf_counter() - began
        return self.step_s


def plain_step(network: SwinUNet) -> Step:
    """The bare fp32 loop around a network."""
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=TrainSettings().learning_rate)

    def step(image: Tensor, labels: Tensor) -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = dice_ce(network(image), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def feed(config: SwinUNetConfig, batch: int) -> BatchLoader:
    """The product's feed, augmentation included, on a volume of noise with a bright ball that is labelled."""
    shape = (_EPOCH * batch, *config.input_size)  # sagittal slices are the first axis
    spec = replace(SPEC, input_size=config.input_size)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, side) for side in shape[1:]), indexing="ij"))
    radius = np.broadcast_to(np.hypot(*grid), shape)
    labels = (radius < 0.6).astype(np.uint8) + (radius < 0.3)
    noise = np.random.default_rng(0).normal(100, 10, shape).astype(np.float32)
    affine = np.eye(4)
    case = prepare_case("ball", (Volume(noise + 30 * labels, affine),), Volume(labels, affine), spec)
    settings = TrainSettings(batch_size=batch, empty_share=0)
    return BatchLoader([case], settings, _CPU, spec.context_slices, ProcessGroup())


def endless(source: BatchLoader) -> Iterator[Batch]:
    """Epoch after epoch."""
    for epoch in count(1):
        yield from source.epoch(epoch)


if __name__ == "__main__":
    worker = TrainingWorker()
    serve_orders({"load": worker.load, "measure": worker.measure})
