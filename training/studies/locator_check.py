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
from torch import nn

from swinunet.foundation.errors import InputError
from swinunet.imaging import ModelSpec, Volume, read_labels, read_study
from swinunet.imaging.location import Location, LocatorSlices
from swinunet.training.data.folders import DataFolder
from swinunet.training.loop import head_augmentation as change
from swinunet.training.loop.validation import predict_slices
from swinunet.training.metrics.box_scores import BoxScore, score_boxes
from swinunet.training.network.checkpoint import load_checkpoint

MARGIN_MM = 8.0  # around what was found
BATCH = 32

Condition = Callable[[Volume, Volume, np.random.Generator], tuple[Volume, Volume]]


@dataclass(frozen=True)
class Judged(BoxScore):
    """One box in one head under one condition."""

    case: str = ""
    condition: str = ""


def locate(model: nn.Module, spec: ModelSpec, volume: Volume) -> Location:
    """What the locator says of a volume of any orientation and spacing. Raises InputError for a constant image."""
    slices = LocatorSlices(volume, spec)
    for start, images in slices.batches(BATCH):
        slices.add(start, predict_slices(model, images, "probabilities"))
    return slices.location()


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
            scores = score_boxes(truth, spec, locate(model, spec, shown), margin_mm)
            judged += [Judged(**asdict(score), case=name, condition=condition) for score in scores]
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
                "held": sum(each.holds for each in whole),
                "needed_mm_median": round(needed[len(needed) // 2], 1) if needed else None,
                "needed_mm_worst": round(needed[-1], 1) if needed else None,
                "swapped": sum(each.swapped for each in own),
                "absent": len(absent),
                "invented": sum(each.found for each in absent),
            }
        )
    return lines


def _told(location: Location) -> dict[str, object]:
    parts = [
        {"label": part.label, "ml": part.ml, "probability": part.probability, "fault": part.fault}
        | ({"centre_mm": [round(float(mm), 1) for mm in part.centre_mm]} if len(part.places_mm) else {})
        for part in location.parts
    ]
    return {"whole_ml": location.whole_ml, "fault": location.fault, "parts": parts}


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
        print(path.name, json.dumps(_told(locate(model, spec, read_study([path])[0]))))
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
