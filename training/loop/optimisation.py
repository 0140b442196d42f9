"""One optimisation step: loss, gradient, AdamW on a cosine with warm-up, and the moving average of the weights.

AdamW: arXiv 1711.05101; cosine: arXiv 1608.03983; average of the weights: Polyak, as in arXiv 1703.01780.
"""

from __future__ import annotations

import copy
import math
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from swinunet.foundation.errors import SwinUNetError
from swinunet.training.loop.deep_supervision import DeeplySupervised, deep_loss
from swinunet.training.loop.distributed import ProcessGroup
from swinunet.training.loop.hardware import Precision
from swinunet.training.loop.losses import loss_by_name
from swinunet.training.loop.settings import TrainSettings
from swinunet.training.network.swin_unet import SwinUNet


class DivergedError(SwinUNetError):
    """The loss or its gradient is no longer a finite number."""


class Learner:
    """A network and everything that a step changes: its weights, their average, the optimiser.

    total_steps: of the whole run, which the learning rate's cosine spans.
    """

    def __init__(
        self,
        network: SwinUNet,
        settings: TrainSettings,
        total_steps: int,
        device: torch.device,
        precision: Precision,
        group: ProcessGroup | None = None,
    ) -> None:
        self.settings, self.group, self.precision = settings, group or ProcessGroup(), precision
        self.total_steps, self.steps = total_steps, 0
        self.network = network.to(device)
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.trained: nn.Module = DeeplySupervised(self.network) if settings.deep_supervision else self.network
        self.trained.to(device).train()
        self.optimizer = torch.optim.AdamW(_groups(self.trained, settings.weight_decay), lr=settings.learning_rate)
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision.scaled)
        self._loss = loss_by_name(settings.loss, settings.boundary_weight, self.group.sum_over_ranks)
        self._joint = (
            DistributedDataParallel(self.trained, broadcast_buffers=False) if self.group.world_size > 1 else None
        )
        module = self._joint or self.trained
        self._module = torch.compile(module) if settings.compile else module

    def step(self, image: Tensor, labels: Tensor) -> float:
        """One step on this process's share of a batch; returns the loss of the joint batch before it.

        image: float32 [B, C, H, W]; labels: int64 [B, H, W]. Raises DivergedError, before any weight is changed.
        """
        loss = self.gradient(image, labels)
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.trained.parameters(), self.settings.gradient_clip)
        if not (math.isfinite(loss) and (self.precision.scaled or bool(torch.isfinite(norm)))):
            raise DivergedError(f"the loss became {loss}" if not math.isfinite(loss) else f"the gradient became {norm}")
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = self.learning_rate()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.steps += 1
        self._update_average()
        return loss

    def gradient(self, image: Tensor, labels: Tensor) -> float:
        """Leave the (scaled) gradient of the joint batch in the parameters; returns its loss."""
        self.optimizer.zero_grad(set_to_none=True)
        parts = min(self.settings.accumulate, len(image))
        total = torch.zeros((), device=image.device)
        shares = zip(image.tensor_split(parts), labels.tensor_split(parts), strict=True)
        for part, (images, targets) in enumerate(shares, start=1):
            with self._joint.no_sync() if self._joint and part < parts else nullcontext():
                loss = self._forward(images, targets) * (len(images) / len(image))
                # DDP averages the ranks' gradients, each that of its own part of the joint loss: hence `world_size`.
                self.scaler.scale(loss * self.group.world_size).backward()
            total += loss.detach()
        return float(total)

    def learning_rate(self) -> float:
        """Of the next step: linear warm-up, then half a cosine down to 0 at `total_steps`."""
        settings = self.settings
        warmup = max(1, int(settings.warmup_fraction * self.total_steps))
        if self.steps < warmup:
            return settings.learning_rate * (self.steps + 1) / warmup
        progress = (self.steps - warmup) / max(1, self.total_steps - warmup)
        return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))

    def _forward(self, image: Tensor, labels: Tensor) -> Tensor:
        with self.precision.autocast():
            outputs = self._module(image, recompute=self.settings.recompute)
        return deep_loss(self._loss, outputs if isinstance(outputs, list) else [outputs], labels)

    @torch.no_grad()
    def _update_average(self) -> None:
        """Shorter while the run is young, so that the average is no longer the random start."""
        decay = min(self.settings.ema_decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - decay)


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weight decay for matrices only, not for biases, norms and position-bias tables (Swin, arXiv 2103.14030, A2)."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (plain if parameter.ndim < 2 or "relative_position" in name else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
