"""Quality flags: what in a result a person should look at before believing it. Nothing here changes a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from swinunet.client.segments import Measurement
from swinunet.imaging.components import Pieces

FlagKind = Literal["volume_low", "volume_high", "side_volume", "low_confidence", "many_components", "cut"]
Check = Literal["volume", "confidence"]
Ranges = tuple[slice, slice, slice]

LOW_CONFIDENCE = 0.8  # mean winning probability; structures that the shipped model finds well have 0.95
MOST_COMPONENTS = 3  # connected pieces (26-connected) of one structure


@dataclass(frozen=True)
class Flag:
    """One remark. kind: for machines. detail: the numbers, for people."""

    kind: FlagKind
    detail: str


@dataclass(frozen=True)
class Quality:
    """What was found about one structure. not_judged: checks for which the job had nothing to go by."""

    flags: tuple[Flag, ...]
    not_judged: tuple[Check, ...]


def judge_quality(
    mask: np.ndarray,
    measurements: Sequence[Measurement],
    boxes: Sequence[Ranges],
    side_ml: tuple[float, float] | None = None,
) -> list[Quality]:
    """The quality of each measured segment, in their order.

    mask: uint8 [I, J, K] of mask values. boxes: index ranges the model saw; empty if it saw the whole volume.
    side_ml: lowest and highest plausible volume of all structures of one box together; None where not known.
    """
    pieces, touched = Pieces(mask), _touched_faces(mask, boxes)
    qualities = []
    for measurement in measurements:
        value = measurement.segment.mask_value
        flags = [_volume(measurement), _side_volume(measurement, measurements, side_ml), _confidence(measurement)]
        flags += [_components(pieces.sizes[pieces.values == value]), _cut(int(touched[value]), bool(boxes))]
        unknown: list[Check] = []
        if measurement.segment.label.volume_ml is None:
            unknown.append("volume")
        if measurement.voxels and measurement.confidence is None:
            unknown.append("confidence")
        qualities.append(Quality(tuple(flag for flag in flags if flag), tuple(unknown)))
    return qualities


def _volume(measurement: Measurement) -> Flag | None:
    if (seen := measurement.segment.label.volume_ml) is None:
        return None
    low, high = seen
    detail = f"{measurement.volume_ml:.2f} ml; in training {low:.2f} to {high:.2f} ml"
    if measurement.volume_ml < low:
        return Flag("volume_low", detail)
    return Flag("volume_high", detail) if measurement.volume_ml > high else None


def _side_volume(
    measurement: Measurement, measurements: Sequence[Measurement], side_ml: tuple[float, float] | None
) -> Flag | None:
    """Whether all structures of the measurement's side together are smaller or larger than is plausible."""
    if side_ml is None:
        return None
    side = measurement.segment.laterality
    found = sum(each.volume_ml for each in measurements if each.segment.laterality == side)
    low, high = side_ml
    if low <= found <= high:
        return None
    return Flag("side_volume", f"{f'{side} side ' if side else ''}{found:.2f} ml; plausible are {low:g} to {high:g} ml")


def _confidence(measurement: Measurement) -> Flag | None:
    confidence = measurement.confidence
    if confidence is None or confidence >= LOW_CONFIDENCE:
        return None
    return Flag("low_confidence", f"mean probability {confidence:.2f}, expected {LOW_CONFIDENCE:g} or more")


def _components(sizes: np.ndarray) -> Flag | None:
    """sizes: of the structure's pieces, in voxels."""
    if len(sizes) <= MOST_COMPONENTS:
        return None
    return Flag("many_components", f"{len(sizes)} separate pieces, the largest holds {sizes.max() / sizes.sum():.0%}")


def _touched_faces(mask: np.ndarray, boxes: Sequence[Ranges]) -> np.ndarray:
    """On how many faces of what the model saw each mask value is: int64 [256]."""
    i, j, k = (slice(0, n) for n in mask.shape)
    touched = np.zeros(256, np.int64)
    for box in boxes or [(i, j, k)]:
        for axis in range(3):
            for outermost in (0, -1):
                face = np.moveaxis(mask[box], axis, 0)[outermost]
                touched += np.bincount(face.ravel(), minlength=256) > 0
    return touched


def _cut(faces: int, in_boxes: bool) -> Flag | None:
    """Whether the structure reaches the outermost voxels of what the model saw: more of it may lie beyond."""
    if not faces:
        return None
    by = "the box" if in_boxes else "the field of view"
    return Flag("cut", f"touches {faces} of 6 faces of {by}: part of it may lie outside")
