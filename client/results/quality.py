"""Quality flags: what in a result a person should look at before believing it. Nothing here changes a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

from client.results.segments import Measurement

FlagKind = Literal["volume_low", "volume_high", "low_confidence", "many_components", "cut"]
Check = Literal["volume", "confidence"]
Ranges = tuple[slice, slice, slice]

LOW_CONFIDENCE = 0.8  # mean winning probability; structures that the shipped model finds well have 0.95
MOST_COMPONENTS = 3  # connected pieces (26-connected) of one structure
_NEIGHBOURS = np.ones((3, 3, 3), bool)


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


def judge_quality(mask: np.ndarray, measurements: Sequence[Measurement], boxes: Sequence[Ranges]) -> list[Quality]:
    """The quality of each measured segment, in their order.

    mask: uint8 [I, J, K] of mask values. boxes: index ranges the model saw; empty if it saw the whole volume.
    """
    found = ndimage.find_objects(mask)
    qualities = []
    for measurement in measurements:
        value = measurement.segment.mask_value
        where = found[value - 1] if value <= len(found) else None
        flags = [_volume(measurement), _confidence(measurement)]
        if where is not None:
            flags += [_components(mask[where] == value), _cut(mask, value, where, boxes)]
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


def _confidence(measurement: Measurement) -> Flag | None:
    confidence = measurement.confidence
    if confidence is None or confidence >= LOW_CONFIDENCE:
        return None
    return Flag("low_confidence", f"mean probability {confidence:.2f}, expected {LOW_CONFIDENCE:g} or more")


def _components(inside: np.ndarray) -> Flag | None:
    """inside: bool [I, J, K], the structure's own bounding box."""
    pieces, count = ndimage.label(inside, _NEIGHBOURS)
    if count <= MOST_COMPONENTS:
        return None
    largest = np.bincount(pieces.ravel())[1:].max() / np.count_nonzero(inside)
    return Flag("many_components", f"{count} separate pieces, the largest holds {largest:.0%}")


def _cut(mask: np.ndarray, value: int, where: Ranges, boxes: Sequence[Ranges]) -> Flag | None:
    """Whether the structure reaches the outermost voxels of what the model saw: more of it may lie beyond."""
    edges = 0
    i, j, k = (slice(0, n) for n in mask.shape)
    for box in boxes or [(i, j, k)]:
        for axis, (seen, found) in enumerate(zip(box, where, strict=True)):
            for at, outermost in ((seen.start, found.start <= seen.start), (seen.stop - 1, found.stop >= seen.stop)):
                face = tuple(at if axis == other else box[other] for other in range(3))
                edges += outermost and bool((mask[face] == value).any())
    if not edges:
        return None
    by = "the box" if boxes else "the field of view"
    return Flag("cut", f"touches {edges} of 6 faces of {by}: part of it may lie outside")
