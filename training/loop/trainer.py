"""Train a Swin-UNet on a folder of labelled images.

    swinunet train Task04_Hippocampus -o runs/hippocampus
    swinunet train Task04_Hippocampus -o runs/hippocampus --recipe small --epochs 60 --seed 0
    swinunet train --resume runs/hippocampus
    torchrun --nproc-per-node 4 -m swinunet train Task04_Hippocampus -o runs/hippocampus

training/loop/run_folder.py lists what the run folder holds. A run may be killed between any two instructions:
`--resume` goes on from its last state and ends, on a CPU with the same number of threads, with the same bits.
"""

from __future__ import annotations

import dataclasses
import shlex
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress, TaskID

from swinunet.foundation.errors import InputError, OutputError
from swinunet.foundation.progress import work_progress
from swinunet.imaging import ModelSpec, Provenance
from swinunet.training.data.cases import Case, with_seen_volumes
from swinunet.training.data.groups import count_groups
from swinunet.training.data.prepare_data import Prepared, prepare, reopen
from swinunet.training.data.spec_overrides import SpecOverrides
from swinunet.training.data.split_file import SPLIT_FILE
from swinunet.training.loop.batch_loader import Batch, BatchLoader, seed_of
from swinunet.training.loop.curves import draw_curves, draw_overlays
from swinunet.training.loop.distributed import ProcessGroup, initialized_process_group, process_group_from_environment
from swinunet.training.loop.hardware import choose_device, choose_precision, peak_memory_mb
from swinunet.training.loop.optimisation import DivergedError, Learner
from swinunet.training.loop.run_cases import RunCases, load_run_cases, volume_store
from swinunet.training.loop.run_folder import (
    BEST_FILE,
    LAST_FILE,
    Journal,
    Started,
    clear_leftovers,
    make_run_folder,
    read_log,
    read_run_folder,
)
from swinunet.training.loop.run_report import write_run_report
from swinunet.training.loop.run_state import STATE_FILE, Identity, Position, load_state, save_state
from swinunet.training.loop.settings import TrainSettings
from swinunet.training.loop.validation import predict_labels, validate
from swinunet.training.loop.volume_batch_loader import VolumeBatchLoader
from swinunet.training.network.checkpoint import load_checkpoint, read_config, save_checkpoint, start_from
from swinunet.training.network.initialise import initialise
from swinunet.training.network.recipes import recipe
from swinunet.training.network.swin_unet import SwinUNet, SwinUNetConfig

__all__ = ["TrainSettings", "network_config", "predict_labels", "train", "validate"]


def train(
    data: Path,
    run: Path,
    spec: ModelSpec | None,
    settings: TrainSettings,
    overrides: SpecOverrides | None = None,
    skip_broken: bool = False,
    *,
    resume: bool = False,
) -> Path:
    """Train on a folder of labelled images (see training/data/folders.py) and return the path of the best checkpoint.

    spec: what the model is to be; None derives it from the data. Its network comes from `settings.recipe`.
    overrides: fields of the spec that the user sets. skip_broken: go on without the cases that cannot be used.
    resume: go on from the state in `run`, which was started with this data and these settings; None for the spec
        takes the run's, and the cases that it skipped stay left out.
    Raises InputError for data and settings that cannot be used, OutputError for a run folder that exists or cannot be
    written, CheckpointError for a state of another run, DivergedError where the loss is no longer a number.
    """
    group = process_group_from_environment()
    settings.require_known_names()  # before the data is read
    device = choose_device(settings.device, group.local_rank)
    choose_precision(settings.precision, device)
    overrides, before = overrides or SpecOverrides(), read_run_folder(run) if resume else None
    config = (before.network if before else None) or network_config(settings)
    if before:
        prepared = reopen(data, run, overrides.applied_to(spec or before.spec), assume_ras=settings.assume_ras)
        options = before.options
    else:
        options = _data_options(spec, overrides, skip_broken)
        console = Console() if group.is_rank_zero else None
        prepared = prepare(
            data,
            config.input_size,
            spec=spec,
            overrides=overrides,
            skip_broken=skip_broken,
            console=console,
            store=volume_store(settings.memory_mib if group.world_size == 1 else 0),
            assume_ras=settings.assume_ras,
        )
    if prepared.spec.input_size != config.input_size:
        raise InputError(
            f"the spec's input is {prepared.spec.input_size}, the recipe {settings.recipe} takes {config.input_size}"
        )
    settings = _without_wrong_mirrors(settings, prepared.spec, group)
    started = Started(data, prepared.spec, settings, options, config)
    with initialized_process_group(group, device), work_progress(shown=group.is_rank_zero) as progress:
        return _trainer(run, started, prepared, device, group, progress).run_to_the_end()


def _trainer(
    run: Path, started: Started, prepared: Prepared, device: torch.device, group: ProcessGroup, progress: Progress
) -> Trainer:
    """Make the folder of a new run, read the cases, build network and optimiser."""
    settings, spec = started.settings, started.spec
    config = dataclasses.replace(
        started.network or network_config(settings), in_channels=spec.in_channels, num_classes=spec.num_classes
    )
    earlier = Path(settings.split) if prepared.fingerprint else run / SPLIT_FILE
    parts = prepared.split(
        settings.validation_fraction, settings.seed, settings.group_by, earlier if settings.split else None
    )
    names, held_out = ([case.name for case in part] for part in parts)
    if prepared.fingerprint and group.is_rank_zero:
        make_run_folder(run, started, prepared, names, held_out)
    group.barrier()
    network = _network(run, config, settings, progress)
    spec = dataclasses.replace(spec, provenance=_provenance(prepared, names, held_out, started))
    own = sum(len(part[group.local_rank :: group.local_world_size]) for part in parts)
    task = progress.add_task("preprocessing", total=own, note="")
    unmirrored = dataclasses.replace(spec, mirrored=False)  # the augmentation has its own mirror
    cases = load_run_cases(
        parts,
        (unmirrored, spec),
        run,
        settings.memory_mib,
        group,
        prepared.store,
        lambda: progress.advance(task),
        whole_volumes=bool(settings.augment_volumes),
    )
    if not cases.holds_labels:
        raise InputError(f"none of the {len(held_out)} validation cases holds a label to judge the network by")
    loader = _loader(cases, settings, device, unmirrored, group)
    identity = Identity.of(config, spec, names, held_out, len(loader))
    spec = with_seen_volumes(spec, cases.volumes or cases.training)
    steps, precision = settings.epochs * loader.steps, choose_precision(settings.precision, device)
    learner = Learner(network, settings, total_steps=steps, device=device, precision=precision, group=group)
    return Trainer(run, spec, learner, loader, cases.validation, identity, device, progress)


def _loader(
    cases: RunCases, settings: TrainSettings, device: torch.device, spec: ModelSpec, group: ProcessGroup
) -> BatchLoader | VolumeBatchLoader:
    """The batches that the settings ask for."""
    if settings.augment_volumes:
        return VolumeBatchLoader(cases.volumes, settings, device, spec, group)
    return BatchLoader(cases.training, settings, device, spec.context_slices, group)


class Trainer:
    """The loop. run: its folder; the rest is what an epoch needs, made by `train`."""

    def __init__(
        self,
        run: Path,
        spec: ModelSpec,
        learner: Learner,
        loader: BatchLoader | VolumeBatchLoader,
        validation: Sequence[Case],
        identity: Identity,
        device: torch.device,
        progress: Progress,
    ) -> None:
        self.run, self.spec, self.learner, self.loader, self.validation = run, spec, learner, loader, validation
        self.identity, self.device, self.progress = identity, device, progress
        self.settings, self.group = learner.settings, learner.group
        self.position = Position()

    def run_to_the_end(self) -> Path:
        """From where the run folder stands to the last epoch, or to early stopping. Returns the best checkpoint."""
        self.position = load_state(self.run, self.learner, self.identity)
        self.group.barrier()
        if self.group.is_rank_zero:
            clear_leftovers(self.run, self.position.epoch)
            if self._is_finished():
                early = ", early, for want of a better Dice" if self.position.stopped else ""
                self.progress.print(f"{self.run}: was finished already at epoch {self.position.epoch}{early}")
        total = self.settings.epochs * self.loader.steps
        task = self.progress.add_task("training", total=total, completed=self.learner.steps, note="")
        with Journal(self.run, self.position.epoch) if self.group.is_rank_zero else nullcontext() as journal:
            while not self._is_finished():
                try:
                    record = self._epoch(task)
                    if journal:
                        journal.write(record)
                        save_state(self.run, self.learner, self.position, self.identity)
                except OutputError as error:
                    raise OutputError(f"{error}; then go on with --resume {self.run}") from None
        if self.group.is_rank_zero:
            self._draw()
        return self.run / BEST_FILE

    def _is_finished(self) -> bool:
        return self.position.stopped or self.position.epoch == self.settings.epochs

    def _epoch(self, task: TaskID) -> dict[str, Any]:
        """The rest of the epoch under way: its steps, its validation, its checkpoints. Returns its line in the log."""
        began = time.perf_counter()
        position, loader = self.position, self.loader
        loader.waited_s, loader.made = 0.0, 0
        for batch in loader.epoch(position.epoch + 1, position.step):
            position.loss_sum += self._step(batch)
            position.step += 1
            if position.step < loader.steps:  # the last one is shown once its epoch is judged
                self._show(task, position.epoch + 1)
            if self.settings.save_every and position.step % self.settings.save_every == 0 and self.group.is_rank_zero:
                save_state(self.run, self.learner, position, self.identity)
        seconds, loss = time.perf_counter() - began, position.loss_sum / position.step
        position.epoch += 1
        record: dict[str, Any] = {
            "epoch": position.epoch,
            "loss": loss,
            "learning_rate": self.learner.learning_rate(),
            "seconds": seconds,
            "slices_per_second": loader.made / seconds,
            "waiting_for_data": loader.waited_s / seconds,
        }
        if position.epoch % self.settings.validate_every == 0 or position.epoch == self.settings.epochs:
            record |= self._judge()
        self._show(task, position.epoch)
        position.step, position.loss_sum = 0, 0.0
        return record | {"peak_memory_mb": peak_memory_mb(self.device)}

    def _step(self, batch: Batch) -> float:
        """One step, its stochastic depth seeded; a loss that is no number is reported with its place."""
        position = self.position
        torch.manual_seed(seed_of(self.settings.seed, "step", position.epoch, position.step, self.group.rank))
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
        scores = validate(average, self.validation, self.spec.num_classes, self.learner.precision, self.group)
        per_class, mean = _mean_dice(scores)
        kept = [LAST_FILE]
        if mean > position.best:
            position.best, position.best_epoch = mean, position.epoch
            kept.append(BEST_FILE)
        if self.group.is_rank_zero:
            spec = _with_metrics(self.spec, per_class, mean, position.epoch)
            for name in kept:
                save_checkpoint(self.run / name, average, spec)
        stale = position.epoch - position.best_epoch
        position.stopped = bool(self.settings.patience) and stale >= self.settings.patience
        return {"dice": mean, "dice_per_class": per_class, "validation_seconds": time.perf_counter() - began}

    def _show(self, task: TaskID, epoch: int) -> None:
        """A step more of the bar, with the loss so far in its epoch and the best Dice that the log has."""
        position = self.position
        dice = f"{position.best:.4f}" if position.best_epoch else "-"
        loss = position.loss_sum / position.step
        self.progress.update(task, advance=1, note=f"epoch {epoch} loss {loss:.4f} best Dice {dice}")

    def _draw(self) -> None:
        """The curves of the run, and the overlays of its best checkpoint."""
        best, _ = load_checkpoint(self.run / BEST_FILE)
        best.to(self.device)
        precision = self.learner.precision
        scores = validate(best, self.validation, self.spec.num_classes, precision)
        draw_curves(self.run / "curves.png", read_log(self.run), self.spec)
        draw_overlays(self.run / "overlays.png", best, self.validation, scores, self.spec, precision)
        write_run_report(self.run, self.spec, self.settings)


def network_config(settings: TrainSettings) -> SwinUNetConfig:
    """The network that the settings ask for, whose channels and classes follow from the data.

    Raises InputError for a recipe that does not exist, CheckpointError for weights that cannot be read.
    """
    if settings.takes_network_of_weights:
        return read_config(Path(settings.weights))
    return recipe(settings.recipe).build(1, 2)


def _network(run: Path, config: SwinUNetConfig, settings: TrainSettings, progress: Progress) -> SwinUNet:
    """The network at its start. Once the run has a state, that replaces the weights it started from."""
    torch.manual_seed(settings.seed)
    network = SwinUNet(config)
    initialise(network, settings.init)
    if settings.weights and not (run / STATE_FILE).exists():
        left = start_from(Path(settings.weights), network)
        progress.print(f"starting from {settings.weights}; at random: {', '.join(left) or 'nothing'}")
    return network


def _without_wrong_mirrors(settings: TrainSettings, spec: ModelSpec, group: ProcessGroup) -> TrainSettings:
    """No mirror images, left for right, where labels name sides: there they would contradict their labels."""
    if not (spec.names_sides and settings.augmentation.mirror_probability):
        return settings
    if group.is_rank_zero:
        print("mirror images are left out (--augment-mirror-probability 0): labels name sides, left or right")
    return settings.changed({"augment_mirror_probability": 0.0})


def _mean_dice(scores: np.ndarray) -> tuple[list[float | None], float]:
    """Mean per class (None for a class that no case has) and over all, of Dice [cases, classes - 1]."""
    found = [column[~np.isnan(column)] for column in scores.T]
    return [float(values.mean()) if len(values) else None for values in found], float(np.nanmean(scores))


def _data_options(spec: ModelSpec | None, overrides: SpecOverrides, skip_broken: bool) -> tuple[str, ...]:
    """The command line's options that made the spec and chose the cases.

    A spec that was brought along, with the overrides in it, is the run folder's `spec.json`.
    """
    options = ("--spec spec.json",) if spec else tuple(overrides.as_options())
    return (*options, "--skip-broken") if skip_broken else options


def _provenance(prepared: Prepared, training: list[str], validation: list[str], started: Started) -> Provenance:
    """training, validation: names of the cases."""
    settings, data = started.settings, shlex.quote(started.data.resolve().name)
    return dataclasses.replace(
        prepared.provenance,
        split=_split_in_words(training, validation, settings),
        seed=settings.seed,
        command=" ".join(["swinunet train", data, *settings.as_options(), *started.options]),
    )


def _split_in_words(training: list[str], validation: list[str], settings: TrainSettings) -> str:
    by = "by case"
    if settings.group_by:
        groups = [count_groups(part, settings.group_by) for part in (training, validation)]
        by = f"{groups[0]} and {groups[1]} groups of cases that share {settings.group_by!r}"
    how = "as in the split of an earlier run" if settings.split else "shuffled with the seed"
    return f"{len(training)} training and {len(validation)} validation cases, {by}, {how}; named in split.json"


def _with_metrics(spec: ModelSpec, per_class: list[float | None], mean: float, epoch: int) -> ModelSpec:
    metrics = {"validation_dice": mean}
    for label, value in zip(spec.labels, per_class, strict=True):
        if value is not None:
            metrics[f"validation_dice_{label.name}"] = value
    metrics = {name: round(value, 4) for name, value in (metrics | {"epoch": float(epoch)}).items()}
    return dataclasses.replace(spec, provenance=dataclasses.replace(spec.provenance, metrics=metrics))
