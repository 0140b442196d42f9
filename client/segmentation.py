"""A volume in, a mask on its own grid out: preprocess, ask Triton, restore, all at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from client.model import BATCH, TritonModel
from client.results.segments import Measurement, Segment, make_segments, mask_values, measure
from client.rois import Roi, require_apart
from imaging import StudySampler, Volume, plane_view
from imaging.study_sampler import Output


@dataclass(eq=False)
class Segmentation:
    """What the model found in a volume.

    mask: uint8 [I, J, K] on the volume's grid, values as `segments` say. confidence: 255 times the probability of each
    voxel's class, uint8 [I, J, K]; None where the server sent labels alone. seconds: wall time per stage.
    """

    volume: Volume
    mask: np.ndarray
    segments: tuple[Segment, ...]
    measurements: tuple[Measurement, ...]
    confidence: np.ndarray | None = None
    seconds: dict[str, float] = field(default_factory=dict)


def segment_volume(
    study: Volume | Sequence[Volume],
    model: TritonModel,
    rois: tuple[Roi, ...] = (),
    tick: Callable[[int], None] = lambda slices: None,
    restore: Output = "labels",
) -> Segmentation:
    """Segment a study, or only the boxes `rois` of it (as a model trained on crops wants it).

    study: one volume, or one for each of the model's modalities, all on one grid; results are on the first one's.
    tick: called with the number of slices done. restore: how answers come back to the native grid, see
    `imaging.StudySampler`. Intensities are normalised within each box.
    Raises GeometryError for boxes that overlap or reach outside, or slices larger than the model's field of view;
    ServerError if the server fails.
    """
    require_apart(rois)
    volumes = (study,) if isinstance(study, Volume) else tuple(study)
    volume = volumes[0]
    segments = make_segments(model.spec.labels, [roi.side for roi in rois] or [None])
    mask = np.zeros(volume.shape, np.uint8)
    confidence: np.ndarray | None = None
    seconds = {"preprocess": 0.0, "inference": 0.0, "restore": 0.0}
    # Every box is looked at before the first request: a box outside the volume costs no inference.
    ranges = [volume.box_slices(roi.low_mm, roi.high_mm) for roi in rois]
    parts = [([each.crop(box) for each in volumes], box, roi.side) for box, roi in zip(ranges, rois, strict=True)]
    for part, box, side in parts or [(list(volumes), (slice(None),) * 3, None)]:
        labels, certainty = _segment_part(part, model, seconds, tick, restore)
        mask[box] = mask_values(segments, side)[labels]
        if certainty is not None:
            confidence = np.zeros(volume.shape, np.uint8) if confidence is None else confidence
            confidence[box] = certainty
    measurements = measure(mask, segments, volume.voxel_ml, volume.voxels, confidence)
    return Segmentation(volume, mask, segments, measurements, confidence, seconds)


def count_slices(volume: Volume, model: TritonModel, rois: tuple[Roi, ...]) -> int:
    """How many slices of this grid `segment_volume` will ask for, for a progress bar."""
    parts = [volume.crop(volume.box_slices(roi.low_mm, roi.high_mm)) for roi in rois] or [volume]
    planes = [plane for plane, _ in model.spec.readings]
    return sum(len(plane_view(part.voxels, part.affine, plane)) for part in parts for plane in planes)


def _segment_part(
    study: Sequence[Volume],
    model: TritonModel,
    seconds: dict[str, float],
    tick: Callable[[int], None],
    restore: Output,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Network labels of a study, or a box of it, on its grid, uint8 [I, J, K], and `StudySampler.confidence`.

    Adds each stage to `seconds`.
    """
    began = time.perf_counter()
    sampler = StudySampler(study, model.spec, restore)
    seconds["preprocess"] += time.perf_counter() - began
    answers = model.predict(_batches(sampler, min(BATCH, model.max_batch_size or 1), seconds), sampler.output)
    while True:
        began, busy = time.perf_counter(), seconds["preprocess"]
        answer = next(answers, None)
        seconds["inference"] += time.perf_counter() - began - (seconds["preprocess"] - busy)
        if answer is None:
            break
        began = time.perf_counter()
        sampler.add(answer.start, answer.tensor)
        seconds["restore"] += time.perf_counter() - began
        tick(len(answer.tensor))
    began = time.perf_counter()
    mask = sampler.mask()
    seconds["restore"] += time.perf_counter() - began
    return mask, sampler.confidence


def _batches(sampler: StudySampler, size: int, seconds: dict[str, float]) -> Iterator[tuple[int, np.ndarray]]:
    batches = sampler.batches(size)
    while True:
        began = time.perf_counter()
        batch = next(batches, None)
        seconds["preprocess"] += time.perf_counter() - began
        if batch is None:
            return
        yield batch
