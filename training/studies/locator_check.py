"""How well a locator finds both sides of a structure in heads as hospitals send them.

    python -m swinunet.training.studies.locator_check CHECKPOINT heads --split RUN/split.json -o check.json
    python -m swinunet.training.studies.locator_check CHECKPOINT --volume head.nii.gz --volume abdomen.nii.gz

Each validation head is shown as it is and changed in one way at a time (`CONDITIONS`), seeded by its name and the
condition, so that all models see the same. Of each side's box: the share of the structure's voxels that it holds, the
margin in mm that it would have needed to hold `HELD` of them, and whether it lies on the other side. Labels are those
of the data set; what the field of view cut off counts for nothing.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage
from torch import nn

from swinunet.foundation.errors import InputError
from swinunet.imaging import ModelSpec, PlaneSlices, Volume, plane_view, read_labels, read_study
from swinunet.imaging.resample import AxisMap
from swinunet.training.data.folders import DataFolder
from swinunet.training.loop import head_augmentation as change
from swinunet.training.loop.validation import predict_slices
from swinunet.training.loop.volume_augmentation import side_pairs
from swinunet.training.network.checkpoint import load_checkpoint

HELD = 0.99  # share of a structure's voxels that a box must hold
MARGIN_MM = 8.0  # around what was found
LEAST_ML = 0.3  # of a side that is said to be there
BATCH = 32

Condition = Callable[[Volume, Volume, np.random.Generator], tuple[Volume, Volume]]


@dataclass(frozen=True)
class Side:
    """One side, as found. low_mm, high_mm: LPS mm of the outermost voxel edges, without margin; None: not found."""

    name: str
    ml: float
    probability: float
    low_mm: tuple[float, ...] | None
    high_mm: tuple[float, ...] | None


@dataclass(frozen=True)
class Found:
    """What the locator says of a volume. brain_ml: the largest piece of all labels together."""

    brain_ml: float
    pieces: int
    sides: tuple[Side, ...]


@dataclass(frozen=True)
class Judged:
    """One side of one head under one condition. needed_mm: the margin that holds `HELD` of it; None: not found."""

    case: str
    condition: str
    side: str
    true_ml: float
    whole: bool
    found: bool
    held: float
    needed_mm: float | None
    swapped: bool


def on_locator_grid(volume: Volume, spec: ModelSpec) -> Volume:
    """The volume at the spec's spacing along the axes nearest to L, P and S, and no larger than its field of view.

    float32. The middle is kept of what is too wide, the top of what is too tall: heads have necks.
    """
    view = volume.lps_view()
    assert spec.spacing_mm is not None
    mm = spec.spacing_mm[0]
    voxels, affine = view.voxels.astype(np.float32), view.affine.copy()
    for axis, size_mm in enumerate(view.spacing_mm):
        count = max(1, round(voxels.shape[axis] * size_mm / mm))
        line = AxisMap.stretch(voxels.shape[axis], count)
        voxels = np.moveaxis(np.tensordot(line.linear(), voxels, axes=(1, axis)), 0, axis)
        affine[:3, 3] += affine[:3, axis] * (line.step / 2 - 0.5)
        affine[:3, axis] *= line.step
    whole, ranges = Volume(voxels, affine), []
    for axis, limit in ((0, spec.input_size[1]), (1, voxels.shape[1]), (2, spec.input_size[0])):
        spare = max(0, voxels.shape[axis] - limit)
        first = spare if axis == 2 else spare // 2
        ranges.append(slice(first, first + min(limit, voxels.shape[axis])))
    return whole.crop((ranges[0], ranges[1], ranges[2]))


def locate(model: nn.Module, spec: ModelSpec, volume: Volume) -> Found:
    """Ask the locator. volume: any orientation and spacing. Raises InputError for a constant image.

    The head is read as it is and in a mirror, where left is right: a side's probability is the higher one of both
    readings, so that a network that is surer of one side finds both alike.
    """
    small = on_locator_grid(volume, spec)
    sides = side_pairs(spec)
    swap = np.arange(spec.num_classes)
    for left, right in sides:
        swap[left], swap[right] = right, left
    direct = probabilities(model, PlaneSlices(small, spec), small)
    mirrored = probabilities(model, PlaneSlices(small, spec, mirrored=True), small)[swap]
    inside = direct[0] + mirrored[0] < 1
    pieces, count = ndimage.label(inside)
    sizes = np.bincount(pieces.ravel())[1:]
    brain = pieces == (int(sizes.argmax()) + 1 if count else -1)
    names = {label.index: label.name for label in spec.labels}
    surer = np.maximum(direct, mirrored) * brain
    found = tuple(_side(small, surer[index], names[index]) for pair in sides for index in pair)
    return Found(float(brain.sum() * small.voxel_ml), int((sizes * small.voxel_ml > 1).sum()), found)


def probabilities(model: nn.Module, sampler: PlaneSlices, volume: Volume) -> np.ndarray:
    """What the network says of one reading: float32 [K, I, J, K'] on the volume's grid."""
    found = np.empty((sampler.spec.num_classes, *volume.shape), np.float32)
    views = [plane_view(each, volume.affine, sampler.plane) for each in found]
    for start in range(0, len(sampler), BATCH):
        stop = min(start + BATCH, len(sampler))
        said = predict_slices(model, sampler.batch(start, stop), "probabilities")
        for index, slices in enumerate(said, start):
            for view, restored in zip(views, sampler.restore_probabilities(slices), strict=True):
                view[index] = restored
    return found


def _side(volume: Volume, probability: np.ndarray, name: str) -> Side:
    """The largest piece of one side. probability: float32 [I, J, K]."""
    pieces, count = ndimage.label(probability > 0.5)
    if not count:
        return Side(name, 0.0, float(probability.max()), None, None)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    piece = pieces == sizes.argmax()
    ml = float(piece.sum() * volume.voxel_ml)
    sure = float(probability[piece].mean())
    if ml < LEAST_ML:
        return Side(name, ml, sure, None, None)
    (box,) = ndimage.find_objects(piece.astype(np.uint8))
    corners = np.array([[each.start - 0.5 for each in box], [each.stop - 0.5 for each in box]])
    places = corners @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    low, high = places.min(axis=0), places.max(axis=0)
    return Side(name, ml, sure, tuple(map(float, low)), tuple(map(float, high)))


def judge(case: str, condition: str, labels: Volume, spec: ModelSpec, found: Found, margin_mm: float) -> list[Judged]:
    """Each side that is there, against `labels` (uint8, any grid); also one that is not there, if it was found."""
    names = {label.name: label.index for label in spec.labels}
    centres = {
        name: _places(labels, index).mean(axis=0) for name, index in names.items() if (labels.voxels == index).any()
    }
    judged = []
    for side in found.sides:
        places = _places(labels, names[side.name])
        true_ml = len(places) * labels.voxel_ml
        if side.low_mm is None or side.high_mm is None:
            judged.append(
                Judged(
                    case, condition, side.name, true_ml, _is_whole(labels, names[side.name]), False, 0.0, None, False
                )
            )
            continue
        low, high = np.array(side.low_mm), np.array(side.high_mm)
        beyond = np.maximum(low - places, places - high).max(axis=1) if len(places) else np.empty(0)
        needed = float(np.quantile(beyond, HELD, method="inverted_cdf")) if len(places) else None
        held = float((beyond <= margin_mm).mean()) if len(places) else 0.0
        others = [other.name for other in found.sides if other.name != side.name]
        swapped = any(_nearer((low + high) / 2, centres, other, side.name) for other in others)
        judged.append(
            Judged(
                case, condition, side.name, true_ml, _is_whole(labels, names[side.name]), True, held, needed, swapped
            )
        )
    return judged


def _places(labels: Volume, index: int) -> np.ndarray:
    """LPS mm of the voxels of a label: [N, 3]."""
    return np.argwhere(labels.voxels == index) @ labels.affine[:3, :3].T + labels.affine[:3, 3]


def _is_whole(labels: Volume, index: int) -> bool:
    """Whether the label is there and touches no face of the image."""
    (box,) = ndimage.find_objects((labels.voxels == index).astype(np.uint8)) or (None,)
    return box is not None and all(
        each.start > 0 and each.stop < size for each, size in zip(box, labels.shape, strict=True)
    )


def _nearer(place: np.ndarray, centres: dict[str, np.ndarray], other: str, own: str) -> bool:
    """Whether `place` is nearer to the other side's true place than to its own; also where its own is not there."""
    if other not in centres:
        return False
    to_other = np.linalg.norm(place - centres[other])
    return bool(to_other < np.linalg.norm(place - centres[own])) if own in centres else bool(to_other < 15)


def _tilted(axis: int, degrees: float) -> Condition:
    def tilt(image: Volume, labels: Volume, draw: np.random.Generator) -> tuple[Volume, Volume]:
        sign = draw.choice([-1.0, 1.0])
        return change.moved(image, labels, np.eye(3)[axis] * degrees * sign, np.ones(3), np.zeros(3))

    return tilt


def _tilted_anyhow(image: Volume, labels: Volume, draw: np.random.Generator) -> tuple[Volume, Volume]:
    direction = draw.normal(size=3)
    return change.moved(image, labels, direction / np.linalg.norm(direction) * 25, np.ones(3), np.zeros(3))


def _without_neck(below_mm: float) -> Condition:
    def shorter(image: Volume, labels: Volume, _: np.random.Generator) -> tuple[Volume, Volume]:
        return change.cut(image, labels, (0, 0, change.neck_cut(labels, below_mm)), (0, 0, 0))

    return shorter


def _thick(axis: int) -> Condition:
    return lambda image, labels, _: (change.with_thick_slices(image, axis, 5.0), labels)


def _one_side_cut(image: Volume, labels: Volume, draw: np.random.Generator) -> tuple[Volume, Volume]:
    gone = int(0.5 * image.shape[0])
    return (
        change.cut(image, labels, (gone, 0, 0), (0, 0, 0))
        if draw.random() < 0.5
        else change.cut(image, labels, (0, 0, 0), (gone, 0, 0))
    )


def _edges_cut(image: Volume, labels: Volume, _: np.random.Generator) -> tuple[Volume, Volume]:
    n = [round(25 / mm) for mm in image.spacing_mm]
    return change.cut(image, labels, (0, n[1], 0), (0, n[1], n[2]))


CONDITIONS: dict[str, Condition] = {
    "as it is": lambda image, labels, _: (image, labels),
    "tilted 25 degrees, nodding": _tilted(0, 25),
    "tilted 25 degrees, to a shoulder": _tilted(1, 25),
    "tilted 25 degrees, turned": _tilted(2, 25),
    "tilted 25 degrees about any axis": _tilted_anyhow,
    "skull-stripped": lambda image, labels, _: (change.stripped(image, labels, 0), labels),
    "cut 5 mm under the brain": _without_neck(5),
    "noise 8 %": lambda image, labels, draw: (change.noisy(image, draw, 0.08), labels),
    "bias field": lambda image, labels, draw: (change.with_bias(image, draw, 0.4), labels),
    "gamma 0.7": lambda image, labels, _: (change.with_gamma(image, 0.7), labels),
    "gamma 1.5": lambda image, labels, _: (change.with_gamma(image, 1.5), labels),
    "slices of 5 mm, sagittal": _thick(0),
    "slices of 5 mm, coronal": _thick(1),
    "slices of 5 mm, axial": _thick(2),
    "25 mm cut off front, back and top": _edges_cut,
    "half of the head cut away": _one_side_cut,
}


def check_heads(
    model: nn.Module, spec: ModelSpec, data: Path, names: list[str], conditions: list[str], margin_mm: float = MARGIN_MM
) -> list[Judged]:
    """Every named case of `data` under every condition."""
    cases = {case.name: case for case in DataFolder.open(data).cases}
    judged = []
    for name in names:
        image, labels = read_study(cases[name].images)[0].lps_view(), read_labels(cases[name].labels).lps_view()
        image = Volume(image.voxels.astype(np.float32), image.affine)
        for condition in conditions:
            draw = np.random.default_rng(zlib.crc32(f"{name} {condition}".encode()))
            shown, truth = CONDITIONS[condition](image, labels, draw)
            judged += judge(name, condition, truth, spec, locate(model, spec, shown), margin_mm)
    return judged


def summary(judged: list[Judged]) -> list[dict[str, object]]:
    """A line per condition. Of sides that the image holds whole: found, boxes that hold enough, the margin needed.

    invented: sides that are not there at all, and were found; cut: sides that a face of the image cuts.
    """
    lines: list[dict[str, object]] = []
    for condition in dict.fromkeys(each.condition for each in judged):
        own = [each for each in judged if each.condition == condition]
        whole = [each for each in own if each.whole]
        needed = sorted(each.needed_mm for each in whole if each.needed_mm is not None)
        absent = [each for each in own if each.true_ml == 0]
        lines.append(
            {
                "condition": condition,
                "whole": len(whole),
                "found": sum(each.found for each in whole),
                "held": sum(each.found and each.held >= HELD for each in whole),
                "needed_mm_median": round(needed[len(needed) // 2], 1) if needed else None,
                "needed_mm_worst": round(needed[-1], 1) if needed else None,
                "swapped": sum(each.swapped for each in own),
                "absent": len(absent),
                "invented": sum(each.found for each in absent),
            }
        )
    return lines


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--split", type=Path, help="its validation cases are shown; without it, all cases")
    parser.add_argument("--cases", type=int, help="the first so many of them")
    parser.add_argument("--condition", action="append", choices=tuple(CONDITIONS), help="only these")
    parser.add_argument("--volume", type=Path, action="append", default=[], help="NIfTI; say what is found there")
    parser.add_argument("--margin", type=float, default=MARGIN_MM, help="mm")
    parser.add_argument("-o", "--output", type=Path, help="JSON of every side")
    asked = parser.parse_args()
    model, spec = load_checkpoint(asked.checkpoint)
    if spec is None:
        raise InputError(f"{asked.checkpoint}: no model spec in it; expected a checkpoint of `swinunet train`")
    for path in asked.volume:
        print(path.name, json.dumps(asdict(locate(model, spec, read_study([path])[0]))))
    if asked.data is None:
        return
    every = [case.name for case in DataFolder.open(asked.data).cases]
    names = json.loads(asked.split.read_text())["validation"] if asked.split else every
    judged = check_heads(
        model, spec, asked.data, names[: asked.cases], asked.condition or list(CONDITIONS), asked.margin
    )
    for line in summary(judged):
        print(json.dumps(line))
    if asked.output:
        said = {"margin_mm": asked.margin, "summary": summary(judged), "sides": [asdict(each) for each in judged]}
        asked.output.write_text(json.dumps(said, indent=1) + "\n")


if __name__ == "__main__":
    _main()
