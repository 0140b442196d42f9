"""What the values of a result mask mean: one segment for each structure and side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from swinunet.imaging import Label

Side = Literal["left", "right"]


@dataclass(frozen=True)
class Segment:
    """One structure on one side, as results name it.

    number: DICOM segment number, consecutive from 1 (PS3.3 C.8.20.2). text: what people read, such as
    "Left anterior hippocampus". label: the model's class. laterality: the side, None where the model or the box
    does not say one. mask_value: its value in the result mask, 1..255.
    """

    number: int
    text: str
    label: Label
    laterality: Side | None
    mask_value: int


@dataclass(frozen=True)
class Measurement:
    """How much of one segment a mask holds.

    mean_intensity: of the image inside it, in the image's own units (HU for CT). confidence: mean of the winning
    class's probability inside it. Each None where the segment is empty, or nobody gave what it is made from.
    """

    segment: Segment
    voxels: int
    volume_ml: float
    mean_intensity: float | None = None
    confidence: float | None = None


def make_segments(labels: Sequence[Label], sides: Sequence[Side | None] = (None,)) -> tuple[Segment, ...]:
    """Segments of `labels` on each of `sides`, side by side: mask values and segment numbers run from 1 upwards."""
    segments: list[Segment] = []
    for side in dict.fromkeys(sides):
        for label in labels:
            number = len(segments) + 1
            segments.append(Segment(number, _text(label, side), label, side, number))
    if len(segments) > 255:
        raise ValueError(f"{len(segments)} segments do not fit a uint8 mask")
    return tuple(segments)


def mask_values(segments: Sequence[Segment], laterality: Side | None = None) -> np.ndarray:
    """Network label to mask value on one side, uint8 [256]: `mask[box] = mask_values(segments, "left")[labels]`."""
    values = np.zeros(256, np.uint8)
    for segment in segments:
        if segment.laterality == laterality:
            values[segment.label.index] = segment.mask_value
    return values


def measure(
    mask: np.ndarray,
    segments: Sequence[Segment],
    voxel_ml: float,
    voxels: np.ndarray | None = None,
    confidence: np.ndarray | None = None,
) -> tuple[Measurement, ...]:
    """What `mask` (uint8 [I, J, K] of mask values) holds of each segment.

    voxel_ml: of one voxel. voxels: the image, any real dtype [I, J, K]. confidence: uint8 [I, J, K], 255 times the
    winning probability (`imaging.StudySlices.confidence`).
    """
    counts, intensity, certainty = (np.zeros(256) for _ in range(3))
    for k in range(mask.shape[2]):  # bincount makes int64 and float64 of its inputs: a slice at a time
        values = mask[:, :, k].ravel()
        counts += np.bincount(values, minlength=256)
        for sums, weights in ((intensity, voxels), (certainty, confidence)):
            if weights is not None and values.any():
                sums += np.bincount(values, weights[:, :, k].ravel(), minlength=256)

    def mean(sums: np.ndarray, value: int, given: np.ndarray | None) -> float | None:
        return float(sums[value] / counts[value]) if given is not None and counts[value] else None

    return tuple(
        Measurement(
            segment,
            int(counts[value]),
            float(counts[value] * voxel_ml),
            mean(intensity, value, voxels),
            mean(certainty / 255, value, confidence),
        )
        for segment in segments
        for value in (segment.mask_value,)
    )


def _text(label: Label, side: Side | None) -> str:
    name = label.name.replace("_", " ").strip()
    if side is None:
        return name[:1].upper() + name[1:]
    acronym = name[1:2].isupper()
    return f"{side.capitalize()} {name if acronym else name[:1].lower() + name[1:]}"
