"""Train a Swin-UNet on a folder of labelled images.

    swinunet train Task04_Hippocampus -o runs/hippocampus
    swinunet train Task04_Hippocampus -o runs/hippocampus --recipe small --epochs 60 --seed 0
    swinunet train --resume runs/hippocampus
    torchrun --nproc-per-node 4 -m training Task04_Hippocampus -o runs/hippocampus

What the run folder holds is said in training/run_folder.py. A run may be killed between any two instructions:
`--resume` goes on from its last state and ends, on a CPU with the same number of threads, with the same bits.
"""

from __future__ import annotations

import dataclasses
import shlex
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from imaging import ModelSpec, Provenance
from swinunet.errors import InputError, OutputError
from training.batches import Batch, Feed, seed_of
from training.checkpoint import load_checkpoint, save_checkpoint, start_from
from training.choices import SpecChoices
from training.curves import draw_curves, draw_overlays
from training.dataset import Case, load_cases, split_cases, with_seen_volumes
from training.distributed import Team, team_from_environment, together
from training.folders import CasePaths, DataFolder
from training.given_split import split_as_given
from training.groups import count_groups
from training.hardware import choose_device, choose_precision, peak_memory_mb
from training.initialise import initialise, require_init
from training.losses import loss_by_name
from training.optimisation import DivergedError, Learner
from training.prepare import Prepared, prepare, reopen
from training.recipes import recipe
from training.run_folder import (
    BEST_FILE,
    LAST_FILE,
    SPLIT_FILE,
    Journal,
    Started,
    clear_leftovers,
    make_run_folder,
    read_log,
    read_run_folder,
)
from training.run_state import STATE_FILE, Identity, Position, load_state, save_state
from training.settings import TrainSettings
from training.swin_unet import SwinUNet, SwinUNetConfig
from training.validation import predict_labels, validate
from training.volume_augmentation import volume_augmentation
from training.volume_feed import VolumeFeed, load_volumes, make_feed

__all__ = ["TrainSettings", "predict_labels", "train", "validate"]


def train(
    data: Path,
    run: Path,
    spec: ModelSpec | None,
    settings: TrainSettings,
    choices: SpecChoices | None = None,
    skip_broken: bool = False,
    *,
    resume: bool = False,
) -> Path:
    """Train on a folder of labelled images (see training/folders.py) and return the path of the best checkpoint.

    spec: what the model is to be; None derives it from the data. Its network comes from `settings.recipe`.
    choices: what the user decides about either. skip_broken: go on without the cases that cannot be used.
    resume: go on from the state in `run`, which was started with this data and these settings; None for the spec
        takes the run's, and the cases that it skipped stay left out.
    Raises InputError for data and settings that cannot be used, OutputError for a run folder that exists or cannot be
    written, CheckpointError for a state of another run, DivergedError where the loss is no longer a number.
    """
    team = team_from_environment()
    device = choose_device(settings.device, team.local_rank)
    precision = choose_precision(settings.precision, device)
    loss_by_name(settings.loss)
    require_init(settings.init)
    if settings.augment_volumes:
        volume_augmentation(settings.augment_volumes)

    config, choices = recipe(settings.recipe).build(1, 2), choices or SpecChoices()
    prepared: Prepared | None = None
    if resume:
        before = read_run_folder(run)
        folder, spec, options = reopen(data, run), choices.applied(spec or before.spec), before.options
    else:
        options = _data_options(spec, choices, skip_broken)
        console = Console() if team.leads else None
        prepared = prepare(
            data, config.input_size, spec=spec, choices=choices, skip_broken=skip_broken, console=console
        )
        folder, spec = prepared.folder, prepared.spec
    if spec.input_size != config.input_size:
        raise InputError(
            f"the spec's input is {spec.input_size}, the recipe {settings.recipe} takes {config.input_size}"
        )
    config = dataclasses.replace(config, in_channels=spec.in_channels, num_classes=spec.num_classes)
    settings = _without_wrong_mirrors(settings, spec, team)
    if settings.split:
        parts = split_as_given(folder.cases, run / SPLIT_FILE if resume else Path(settings.split))
    else:
        parts = split_cases(folder.cases, settings.validation_fraction, settings.seed, settings.group_by)
    names, held_out = ([case.name for case in part] for part in parts)
    started = Started(data, spec, settings, options)
    spec = dataclasses.replace(spec, provenance=_provenance(folder, parts, settings, options))
    with together(team, device), _progress(team) as progress:
        if prepared and team.leads:
            make_run_folder(run, started, prepared, names, held_out)
        network = _network(run, config, settings, progress)
        task = progress.add_task("reading", total=len(folder.cases), note="")
        unmirrored = dataclasses.replace(spec, mirrored=False)  # the augmentation has its own mirror
        load = load_volumes if settings.augment_volumes else load_cases
        training = load(parts[0], unmirrored, lambda: progress.advance(task))
        validation = load_cases(parts[1], spec, lambda: progress.advance(task))
        if not any(case.native_labels.voxels.any() for case in validation):
            raise InputError(f"none of the {len(validation)} validation cases holds a label to judge the network by")
        feed = make_feed(training, settings, device, unmirrored, team)
        identity = Identity.of(config, spec, names, held_out, len(feed))
        spec = with_seen_volumes(spec, training)
        del training  # the feed has copied its slices
        learner = Learner(
            network,
            settings,
            total_steps=settings.epochs * feed.steps,
            device=device,
            precision=precision,
            team=team,
        )
        trainer = Trainer(run, spec, learner, feed, validation, identity, device, progress)
        return trainer.run_to_the_end()


class Trainer:
    """The loop. run: its folder; the rest is what an epoch needs, made by `train`."""

    def __init__(
        self,
        run: Path,
        spec: ModelSpec,
        learner: Learner,
        feed: Feed | VolumeFeed,
        validation: list[Case],
        identity: Identity,
        device: torch.device,
        progress: Progress,
    ) -> None:
        self.run, self.spec, self.learner, self.feed, self.validation = run, spec, learner, feed, validation
        self.identity, self.device, self.progress = identity, device, progress
        self.settings, self.team = learner.settings, learner.team
        self.position = Position()

    def run_to_the_end(self) -> Path:
        """From where the run folder stands to the last epoch, or to early stopping. Returns the best checkpoint."""
        self.position = load_state(self.run, self.learner, self.identity)
        self.team.wait()
        if self.team.leads:
            clear_leftovers(self.run, self.position.epoch)
        total = self.settings.epochs * self.feed.steps
        task = self.progress.add_task("training", total=total, completed=self.learner.steps, note="")
        with Journal(self.run, self.position.epoch) if self.team.leads else nullcontext() as journal:
            while not (self.position.stopped or self.position.epoch == self.settings.epochs):
                try:
                    record = self._epoch(task)
                    if journal:
                        journal.write(record)
                        save_state(self.run, self.learner, self.position, self.identity)
                except OutputError as error:
                    raise OutputError(f"{error}; then go on with --resume {self.run}") from None
        if self.team.leads:
            self._draw()
        return self.run / BEST_FILE

    def _epoch(self, task: TaskID) -> dict[str, Any]:
        """The rest of the epoch under way: its steps, its validation, its checkpoints. Returns its line in the log."""
        began = time.perf_counter()
        position, feed = self.position, self.feed
        feed.waited_s, feed.made = 0.0, 0
        for batch in feed.epoch(position.epoch + 1, position.step):
            position.loss_sum += self._step(batch)
            position.step += 1
            self._show(task)
            if self.settings.save_every and position.step % self.settings.save_every == 0 and self.team.leads:
                save_state(self.run, self.learner, position, self.identity)
        seconds = time.perf_counter() - began
        position.epoch += 1
        record: dict[str, Any] = {
            "epoch": position.epoch,
            "loss": position.loss_sum / position.step,
            "learning_rate": self.learner.learning_rate(),
            "seconds": seconds,
            "slices_per_second": feed.made / seconds,
            "waiting_for_data": feed.waited_s / seconds,
        }
        if position.epoch % self.settings.validate_every == 0 or position.epoch == self.settings.epochs:
            record |= self._judge()
        position.step, position.loss_sum = 0, 0.0
        return record | {"peak_memory_mb": peak_memory_mb(self.device)}

    def _step(self, batch: Batch) -> float:
        """One step, its stochastic depth seeded; a loss that is no number is reported with its place."""
        position = self.position
        torch.manual_seed(seed_of(self.settings.seed, "step", position.epoch, position.step, self.team.rank))
        try:
            return self.learner.step(batch.image, batch.labels)
        except DivergedError as error:
            raise DivergedError(
                f"epoch {position.epoch + 1}, step {position.step + 1} ({batch.describe()}): {error}; "
                f"the last good state of {self.run} is kept; start again with a lower learning rate"
            ) from None

    def _judge(self) -> dict[str, Any]:
        """Validate the average of the weights, keep it, and as the best where it is; decide whether to go on."""
        position, average = self.position, self.learner.average
        began = time.perf_counter()
        scores = validate(average, self.validation, self.spec.num_classes, self.learner.precision, self.team)
        per_class, mean = _mean_dice(scores)
        kept = [LAST_FILE]
        if mean > position.best:
            position.best, position.best_epoch = mean, position.epoch
            kept.append(BEST_FILE)
        if self.team.leads:
            spec = _with_metrics(self.spec, per_class, mean, position.epoch)
            for name in kept:
                save_checkpoint(self.run / name, average, spec)
        stale = position.epoch - position.best_epoch
        position.stopped = bool(self.settings.patience) and stale >= self.settings.patience
        return {"dice": mean, "dice_per_class": per_class, "validation_seconds": time.perf_counter() - began}

    def _show(self, task: TaskID) -> None:
        position = self.position
        dice = f"{position.best:.4f}" if position.best_epoch else "-"
        loss = position.loss_sum / position.step
        self.progress.update(task, advance=1, note=f"epoch {position.epoch + 1} loss {loss:.4f} best Dice {dice}")

    def _draw(self) -> None:
        """The curves of the run, and the overlays of its best checkpoint."""
        best, _ = load_checkpoint(self.run / BEST_FILE)
        best.to(self.device)
        precision = self.learner.precision
        scores = validate(best, self.validation, self.spec.num_classes, precision)
        draw_curves(self.run / "curves.png", read_log(self.run), self.spec)
        draw_overlays(self.run / "overlays.png", best, self.validation, scores, self.spec, precision)


def _network(run: Path, config: SwinUNetConfig, settings: TrainSettings, progress: Progress) -> SwinUNet:
    """The network at its start. Once the run has a state, that replaces the weights it started from."""
    torch.manual_seed(settings.seed)
    network = SwinUNet(config)
    initialise(network, settings.init)
    if settings.weights and not (run / STATE_FILE).exists():
        left = start_from(Path(settings.weights), network)
        progress.print(f"starting from {settings.weights}; at random: {', '.join(left) or 'nothing'}")
    return network


def _without_wrong_mirrors(settings: TrainSettings, spec: ModelSpec, team: Team) -> TrainSettings:
    """No mirror images, left for right, where labels name sides: there they would contradict their labels."""
    if not (spec.names_sides and settings.augmentation.mirror_probability):
        return settings
    if team.leads:
        print("mirror images are left out (--augment-mirror-probability 0): labels name sides, left or right")
    return settings.changed({"augment_mirror_probability": 0.0})


def _mean_dice(scores: np.ndarray) -> tuple[list[float | None], float]:
    """Mean per class (None for a class that no case has) and over all, of Dice [cases, K-1]."""
    found = [column[~np.isnan(column)] for column in scores.T]
    return [float(values.mean()) if len(values) else None for values in found], float(np.nanmean(scores))


def _data_options(spec: ModelSpec | None, choices: SpecChoices, skip_broken: bool) -> tuple[str, ...]:
    """The command line's options that made the spec and chose the cases.

    A spec that was brought along, with the choices in it, is the run folder's `spec.json`.
    """
    said = ("--spec spec.json",) if spec else tuple(choices.as_options())
    return (*said, "--skip-broken") if skip_broken else said


def _provenance(
    folder: DataFolder,
    parts: tuple[list[CasePaths], list[CasePaths]],
    settings: TrainSettings,
    options: tuple[str, ...],
) -> Provenance:
    counts = f"{len(parts[0])} training and {len(parts[1])} validation cases"
    by = "by case"
    if settings.group_by:
        groups = [count_groups((case.name for case in part), settings.group_by) for part in parts]
        by = f"{groups[0]} and {groups[1]} groups of cases that share {settings.group_by!r}"
    how = "as in the split of an earlier run" if settings.split else "shuffled with the seed"
    split = f"{counts}, {by}, {how}; named in split.json"
    command = " ".join(["swinunet train", shlex.quote(folder.root.resolve().name), *settings.as_options(), *options])
    return Provenance(folder.name, folder.licence, folder.attribution, split, settings.seed, command=command)


def _with_metrics(spec: ModelSpec, per_class: list[float | None], mean: float, epoch: int) -> ModelSpec:
    metrics = {"validation_dice": mean}
    for label, value in zip(spec.labels, per_class, strict=True):
        if value is not None:
            metrics[f"validation_dice_{label.name}"] = value
    metrics = {name: round(value, 4) for name, value in (metrics | {"epoch": float(epoch)}).items()}
    return dataclasses.replace(spec, provenance=dataclasses.replace(spec.provenance, metrics=metrics))


def _progress(team: Team) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, TextColumn("{task.fields[note]}"), disable=not team.leads)
