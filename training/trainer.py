"""Train a Swin-UNet on a Medical Segmentation Decathlon folder.

    swinunet train Task04_Hippocampus -o runs/hippocampus
    swinunet train Task04_Hippocampus -o runs/hippocampus --recipe small --epochs 60 --seed 0

The run folder holds `checkpoint.safetensors` (the exponential moving average of the weights at the best validation
Dice, with the spec inside), `split.json` (the cases of both parts, by name) and `log.jsonl` (a line per epoch).
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from imaging import ModelSpec, Provenance
from swinunet.errors import InputError, OutputError, SwinUNetError
from training.augment import Augmentation, augment
from training.checkpoint import save_checkpoint
from training.choices import SpecChoices
from training.dataset import Case, load_cases, split_cases
from training.folders import CasePaths, DataFolder
from training.losses import dice_ce
from training.metrics import dice
from training.prepare import prepare
from training.recipes import recipe
from training.swin_unet import SwinUNet

PREDICT_BATCH = 32


@dataclass(frozen=True)
class TrainSettings:
    """Everything that decides a run besides the data and the spec."""

    recipe: str = "small"
    epochs: int = 60
    batch_size: int = 16
    learning_rate: float = 5e-4
    weight_decay: float = 0.05
    warmup_fraction: float = 0.05
    gradient_clip: float = 1.0
    empty_share: float = 0.3  # of the slices without any label, how many an epoch draws
    ema_decay: float = 0.999
    validation_fraction: float = 0.2
    validate_every: int = 2
    seed: int = 0
    precision: str = "auto"  # fp32, bf16, or auto: bf16 where the CPU multiplies it natively
    augmentation: Augmentation = field(default_factory=Augmentation)


def train(
    data: Path,
    run: Path,
    spec: ModelSpec | None,
    settings: TrainSettings,
    choices: SpecChoices | None = None,
    skip_broken: bool = False,
) -> Path:
    """Train on a folder of labelled images (see training/folders.py) and return the path of the best checkpoint.

    spec: what the model is to be; None derives it from the data. Its network comes from `settings.recipe`.
    choices: what the user decides about either. skip_broken: go on without the cases that cannot be used.
    Raises InputError for data that cannot be used, OutputError for a run folder that exists or cannot be written.
    """
    config = recipe(settings.recipe).build(1, 2)
    prepared = prepare(data, config.input_size, spec=spec, choices=choices, skip_broken=skip_broken, console=Console())
    folder, spec = prepared.folder, prepared.spec
    if spec.input_size != config.input_size:
        raise InputError(
            f"the spec's input is {spec.input_size}, the recipe {settings.recipe} takes {config.input_size}"
        )
    config = dataclasses.replace(config, in_channels=spec.in_channels, num_classes=spec.num_classes)
    parts = split_cases(folder.cases, settings.validation_fraction, settings.seed)
    _make_run_folder(run, settings, parts)
    prepared.write(run)

    torch.manual_seed(settings.seed)
    with _progress() as progress:
        task = progress.add_task("reading", total=len(folder.cases), note="")
        training, validation = (load_cases(part, spec, lambda: progress.advance(task)) for part in parts)
        model = SwinUNet(config)
        spec = dataclasses.replace(spec, provenance=_provenance(folder, parts, settings))
        return _fit(model, spec, training, validation, run, settings, progress)


def predict_labels(model: nn.Module, case: Case, amp: bool = False) -> np.ndarray:
    """The model's label map of one case on its native grid: uint8 [I, J, K]."""
    out = case.sampler.empty_labels()
    for start in range(0, len(case.images), PREDICT_BATCH):
        images = torch.from_numpy(case.images[start : start + PREDICT_BATCH]).float()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=amp):
            labels = model(images).argmax(dim=1).to(torch.uint8).numpy()
        for offset, sliced in enumerate(labels):
            case.sampler.restore(out, start + offset, sliced)
    return out


def validate(model: nn.Module, cases: list[Case], num_classes: int, amp: bool = False) -> np.ndarray:
    """Dice per case and foreground class, native grid: float64 [cases, K-1], NaN where absent from both."""
    model.eval()
    scores = [dice(predict_labels(model, case, amp), case.native_labels.voxels, num_classes) for case in cases]
    return np.stack(scores)


def _fit(
    model: SwinUNet,
    spec: ModelSpec,
    training: list[Case],
    validation: list[Case],
    run: Path,
    settings: TrainSettings,
    progress: Progress,
) -> Path:
    images = torch.from_numpy(np.concatenate([case.images for case in training]))
    labels = torch.from_numpy(np.concatenate([case.labels for case in training]))
    draw = _Draw(labels.flatten(1).any(dim=1), settings)
    steps_per_epoch = draw.batches
    optimizer = torch.optim.AdamW(_groups(model, settings.weight_decay), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _cosine(settings.epochs * steps_per_epoch, settings))
    average = copy.deepcopy(model).eval()
    amp = _use_bf16(settings.precision)
    generator = torch.Generator().manual_seed(settings.seed)
    best, checkpoint = -1.0, run / "checkpoint.safetensors"
    task = progress.add_task("training", total=settings.epochs * steps_per_epoch, note="")
    for epoch in range(1, settings.epochs + 1):
        began, total_loss = time.perf_counter(), 0.0
        model.train()
        for step, batch in enumerate(draw(generator), start=1):
            image, label = augment(images[batch].float(), labels[batch].long(), settings.augmentation, generator)
            loss = _step(model, image, label, optimizer, settings, amp)
            schedule.step()
            _update_average(average, model, settings.ema_decay, schedule.last_epoch)
            total_loss += loss
            progress.update(
                task, advance=1, note=f"epoch {epoch} loss {total_loss / step:.4f} best Dice {max(best, 0):.4f}"
            )
        record = {"epoch": epoch, "loss": total_loss / steps_per_epoch, "seconds": time.perf_counter() - began}
        if epoch % settings.validate_every == 0 or epoch == settings.epochs:
            scores = validate(average, validation, spec.num_classes, amp)
            record["dice_per_class"] = np.nanmean(scores, axis=0).tolist()
            record["dice"] = float(np.nanmean(scores))
            if record["dice"] > best:
                best = record["dice"]
                save_checkpoint(checkpoint, average, _with_metrics(spec, scores, epoch))
        with (run / "log.jsonl").open("a") as log:
            log.write(json.dumps(record) + "\n")
    return checkpoint


def _step(
    model: nn.Module,
    image: Tensor,
    labels: Tensor,
    optimizer: torch.optim.Optimizer,
    settings: TrainSettings,
    amp: bool,
) -> float:
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=amp):
        logits = model(image)
    loss = dice_ce(logits, labels)
    if not torch.isfinite(loss):
        raise SwinUNetError(f"the loss became {loss.item()}; the last good checkpoint is kept; lower the learning rate")
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip)
    optimizer.step()
    return float(loss.detach())


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weight decay for matrices only, not for biases, norms and position-bias tables (Swin, arXiv 2103.14030, A2)."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (plain if parameter.ndim < 2 or "relative_position" in name else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def _cosine(steps: int, settings: TrainSettings) -> Callable[[int], float]:
    warmup = max(1, int(settings.warmup_fraction * steps))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

    return factor


@torch.no_grad()
def _update_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average, shorter while the run is young (so that it is no longer the random start)."""
    decay = min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)


class _Draw:
    """Which slices an epoch sees, in which batches: all with a label, a random share of the empty ones."""

    def __init__(self, has_label: Tensor, settings: TrainSettings) -> None:
        self._full = has_label.nonzero().flatten()
        self._empty = (~has_label).nonzero().flatten()
        self._empties = math.ceil(settings.empty_share * len(self._empty))
        self._size = settings.batch_size
        self.batches = math.ceil((len(self._full) + self._empties) / self._size)

    def __call__(self, generator: torch.Generator) -> Iterator[Tensor]:
        """Index batches, int64 [<= batch_size], in random order."""
        empty = self._empty[torch.randperm(len(self._empty), generator=generator)[: self._empties]]
        drawn = torch.cat([self._full, empty])
        yield from drawn[torch.randperm(len(drawn), generator=generator)].split(self._size)


def _use_bf16(precision: str) -> bool:
    if precision not in {"auto", "fp32", "bf16"}:
        raise InputError(f"precision {precision}; expected auto, fp32 or bf16")
    return precision == "bf16" or (precision == "auto" and torch.cpu._is_avx512_bf16_supported())


def _make_run_folder(run: Path, settings: TrainSettings, parts: tuple[list[CasePaths], list[CasePaths]]) -> None:
    if run.exists() and any(run.iterdir()):
        raise OutputError(f"{run}: exists and is not empty; choose another run folder")
    names = [[case.name for case in part] for part in parts]
    said = {"training": names[0], "validation": names[1], "settings": dataclasses.asdict(settings)}
    try:
        run.mkdir(parents=True, exist_ok=True)
        (run / "split.json").write_text(json.dumps(said, indent=1) + "\n")
    except OSError as error:
        raise OutputError(f"{run}: cannot write ({os.strerror(error.errno or 0)}); choose another run folder") from None


def _provenance(
    folder: DataFolder, parts: tuple[list[CasePaths], list[CasePaths]], settings: TrainSettings
) -> Provenance:
    split = f"{len(parts[0])} training and {len(parts[1])} validation cases, by case, shuffled with the seed"
    command = (
        f"swinunet train {folder.root.name} --recipe {settings.recipe} --epochs {settings.epochs} "
        f"--batch-size {settings.batch_size} --learning-rate {settings.learning_rate} --seed {settings.seed}"
    )
    return Provenance(folder.name, folder.licence, folder.attribution, split, settings.seed, command=command)


def _with_metrics(spec: ModelSpec, scores: np.ndarray, epoch: int) -> ModelSpec:
    per_class = {
        f"validation_dice_{label.name}": value
        for label, value in zip(spec.labels, np.nanmean(scores, axis=0), strict=True)
    }
    metrics = {"validation_dice": float(np.nanmean(scores)), **per_class, "epoch": float(epoch)}
    metrics = {name: round(float(value), 4) for name, value in metrics.items()}
    return dataclasses.replace(spec, provenance=dataclasses.replace(spec.provenance, metrics=metrics))


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, TextColumn("{task.fields[note]}"))
