"""The third part of the gate: whether the locator of a model trained on crops finds its boxes, in whole images.

A model and its locator are judged as the pair that they are served as: exporting either judges both, the locator by the
engine that its CPU config runs. On labelled images each box must hold the structure; without any, the MNI152 brain must
show a box on every side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from swinunet.export.engines.loaded_engine import MAX_BATCH_SIZE
from swinunet.export.engines.registry import load_engine
from swinunet.export.gate.evidence import unseen_cases
from swinunet.export.repository.served_configs import Configs, read_configs
from swinunet.foundation.errors import InputError
from swinunet.foundation.progress import Say
from swinunet.imaging import ModelSpec, Volume, read_labels, read_study
from swinunet.imaging.location import Location, LocatorSlices, require_locator
from swinunet.imaging.repository_specs import specs_in_repository
from swinunet.samples.mni152 import read_mni152
from swinunet.training.data.folders import DataFolder
from swinunet.training.data.split_file import SPLIT_FILE
from swinunet.training.metrics.box_scores import HELD, BoxScore, score_boxes

Infer = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class BoxFigures:
    """A model with its locator. images: what they were judged on, in words. reasons: what failed, empty if nothing did.

    boxes: that should be found, of structures that an image shows whole. held: those that are found on their side and
    hold enough of the structure; None without labels. worst_mm: the largest margin that one would have needed, in mm.
    """

    model: str
    locator: str
    images: str
    margin_mm: float
    boxes: int
    found: int
    held: int | None
    swapped: int
    worst_mm: float | None
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class _Pair:
    """folder: the locator's version folder. engine: that serves it."""

    model: ModelSpec
    locator: ModelSpec
    folder: Path
    engine: str


def judge_boxes(
    repository: Path, folder: Path, spec: ModelSpec, configs: Configs, heads: Path | None, say: Say, threads: int
) -> tuple[BoxFigures, ...]:
    """Every pair that a version is part of; none for a model without boxes that is no locator.

    folder, spec, configs: of the version. heads: folder of labelled whole images, with the locator's label indices.
    Raises InputError where the repository has no such locator, or the heads cannot be read; SpecError for a locator
    that cannot find what the model wants.
    """
    pairs = list(_pairs(repository, folder, spec, configs))
    return tuple(_judge(pair, heads, say, threads) for pair in pairs)


def require_pairs(repository: Path, spec: ModelSpec, configs: Configs) -> None:
    """Raise what `judge_boxes` raises of a pair that cannot be, before anything is judged."""
    for pair in _pairs(repository, repository / spec.name, spec, configs):
        require_locator(pair.model, pair.locator)


def _pairs(repository: Path, folder: Path, spec: ModelSpec, configs: Configs) -> Iterator[_Pair]:
    if not spec.boxes and not spec.locating:
        return
    others = [each for each in specs_in_repository(repository) if each.name != spec.name]
    if spec.locating:
        for other in others:
            if other.boxes and other.boxes.locator == spec.name:
                yield _Pair(other, spec, folder, configs.engine.name)
    if spec.boxes:
        locator = next((each for each in others if each.name == spec.boxes.locator), None)
        if locator is None:
            raise InputError(
                f"{repository} has no model {spec.boxes.locator}, which finds the boxes of {spec.name}; export that "
                "first"
            )
        served = read_configs(repository / locator.name, locator.version)
        if served is None:
            raise InputError(
                f"{repository / locator.name} has no config for version {locator.version}; export it again"
            )
        yield _Pair(spec, locator, repository / locator.name / str(locator.version), served.engine.name)


def _judge(pair: _Pair, heads: Path | None, say: Say, threads: int) -> BoxFigures:
    boxes = pair.model.boxes
    assert boxes is not None
    require_locator(pair.model, pair.locator)
    infer = _engine(pair, threads)
    if heads is None:
        say(f"gate: boxes by {pair.locator.name} in the MNI152 brain")
        return _unlabelled(pair, "the MNI152 T1 brain, no labels", _locate(read_mni152(), pair.locator, infer))
    cases, described = unseen_cases(DataFolder.open(heads), pair.folder / SPLIT_FILE)
    scores: list[tuple[str, BoxScore]] = []
    faults = []
    for number, case in enumerate(cases, start=1):
        say(f"gate: boxes by {pair.locator.name} in head {number} of {len(cases)}")
        location = _locate(read_study(case.images)[0], pair.locator, infer)
        faults += [f"{case.name}: {location.fault}"] if location.fault else []
        wanted = {box.label for box in boxes.around}
        found = score_boxes(read_labels(case.labels), pair.locator, location, boxes.margin_mm)
        scores += [(case.name, score) for score in found if score.label in wanted]
    return _scored(pair, f"{heads.name}: {described}", scores, faults)


def _scored(pair: _Pair, images: str, scores: Sequence[tuple[str, BoxScore]], faults: Sequence[str]) -> BoxFigures:
    assert pair.model.boxes is not None
    whole = [(case, score) for case, score in scores if score.whole]
    missed = [
        f"{case}, {score.label}: the box holds {score.held:.1%}, expected {HELD:.0%}"
        for case, score in whole
        if not score.holds
    ]
    swapped = [f"{case}, {score.label}: found on the other side" for case, score in scores if score.swapped]
    none = [] if whole else ["no image shows a structure whole"]
    return BoxFigures(
        model=f"{pair.model.name} {pair.model.version}",
        locator=f"{pair.locator.name} {pair.locator.version} with {pair.engine}",
        images=images,
        margin_mm=pair.model.boxes.margin_mm,
        boxes=len(whole),
        found=sum(score.found for _, score in whole),
        held=sum(score.holds for _, score in whole),
        swapped=len(swapped),
        worst_mm=max((score.needed_mm for _, score in whole if score.needed_mm is not None), default=None),
        reasons=(*faults, *swapped, *missed, *none),
    )


def _unlabelled(pair: _Pair, images: str, location: Location) -> BoxFigures:
    """Of an image without labels."""
    assert pair.model.boxes is not None
    parts = [location.part(box.label) for box in pair.model.boxes.around]
    reasons = [location.fault] if location.fault else []
    reasons += [f"{part.label} was not found: {part.fault}" for part in parts if part.fault]
    return BoxFigures(
        model=f"{pair.model.name} {pair.model.version}",
        locator=f"{pair.locator.name} {pair.locator.version} with {pair.engine}",
        images=images,
        margin_mm=pair.model.boxes.margin_mm,
        boxes=len(parts),
        found=sum(part.found for part in parts),
        held=None,
        swapped=0,
        worst_mm=None,
        reasons=tuple(reasons),
    )


def _engine(pair: _Pair, threads: int) -> Infer:
    loaded = load_engine(pair.engine, pair.folder, threads)
    return lambda image: loaded.run(image).probabilities


def _locate(volume: Volume, locator: ModelSpec, infer: Infer) -> Location:
    slices = LocatorSlices(volume, locator)
    for start, images in slices.batches(MAX_BATCH_SIZE):
        slices.add(start, infer(images))
    return slices.location()
