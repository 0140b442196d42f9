"""A volume in, a mask on its own grid out: preprocess, ask Triton, restore, all at once.

Several jobs may share one TritonModel: `segment_volume` from as many threads as there are jobs, or in asyncio

    masks = await asyncio.gather(*(segment_volume_async(volume, model) for volume in volumes))
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass

import numpy as np

from swinunet.client.locating import Located, locate_boxes, needs_locator
from swinunet.client.rois import Roi, require_apart
from swinunet.client.segments import Measurement, Segment, make_segments, mask_values, measure
from swinunet.client.sides import require_sides
from swinunet.client.triton import Exchange, JobControl, TritonModel
from swinunet.foundation.errors import JobCancelledError
from swinunet.imaging import ModelSpec, StudySlices, Volume, plane_view
from swinunet.imaging.study_slices import Output


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What the model found in a volume.

    volume: on whose grid the mask is. spec: of the model. rois: the boxes that it saw; empty if it saw the whole.
    mask: uint8 [I, J, K] on the volume's grid, values as `segments` say. confidence: 255 times the probability of each
        voxel's class, uint8 [I, J, K]; None where the server sent labels alone.
    seconds: the job's wall time, shared out so that it adds up. locate: finding the boxes, where they were found.
        preprocess and restore: our own work on slices, most of it while requests are under way. inference: waiting for
        answers with nothing else left to do. What the requests took themselves is `exchange.round_trip_s`. turn:
        waiting until another job was done with the server. measure: what the mask holds of each segment.
    trace: what the job's requests are called on the server, `<trace>-<n>`.
    located: how the boxes were found; None if the user drew them, or the model saw the whole.
    """

    volume: Volume
    spec: ModelSpec
    rois: tuple[Roi, ...]
    mask: np.ndarray
    segments: tuple[Segment, ...]
    measurements: tuple[Measurement, ...]
    confidence: np.ndarray | None
    seconds: dict[str, float]
    exchange: Exchange
    trace: str
    located: Located | None = None


def segment_volume(
    study: Volume | Sequence[Volume],
    model: TritonModel,
    rois: tuple[Roi, ...] = (),
    tick: Callable[[int], None] = lambda slices: None,
    restore: Output = "labels",
    control: JobControl | None = None,
    expect: Callable[[int], None] = lambda slices: None,
) -> Segmentation:
    """Segment a study, or only the boxes `rois` of it (as a model trained on crops wants it).

    Without boxes, those of a model whose spec says how they are found are found in a study that is larger than a crop.

    study: one volume, or one for each of the model's modalities, all on one grid; results are on the first one's.
    tick: called with the number of slices done. expect: with the number of slices that will be asked for, once for the
    boxes to find and once for what is in them. restore: how answers come back to the native grid, see
    `imaging.StudySlices`. control: to cancel the job from another thread, and to name it.
    Intensities are normalised within each box.
    Raises GeometryError for boxes that overlap, reach outside or are named after the other side, or slices larger than
    the model's field of view; InputError where no box can be found; ServerError if the server fails or is too slow,
    JobCancelledError if the job was cancelled.
    """
    require_apart(rois)
    control = control or model.new_job()
    volumes = (study,) if isinstance(study, Volume) else tuple(study)
    volume = volumes[0]
    located = None
    if not rois and needs_locator(model.spec, volume):
        located = locate_boxes(volume, model, tick, expect, control)
        rois = located.rois
    require_sides(rois, volume, model.spec.body_part)
    segments = make_segments(model.spec.labels, [roi.side for roi in rois] or [None])
    seconds = {"preprocess": 0.0, "turn": 0.0, "inference": 0.0, "restore": 0.0, "measure": 0.0}
    if located:
        seconds = {"locate": located.seconds, **seconds}
    expect(count_slices(volume, model, rois))
    # Every box is looked at before the first request: a box outside the volume costs no inference.
    ranges = [roi.ranges(volume) for roi in rois]
    parts = [([each.crop(box) for each in volumes], box, roi.side) for box, roi in zip(ranges, rois, strict=True)]
    if not parts:
        mask, confidence = _segment_part(volumes, mask_values(segments), model, seconds, tick, restore, control)
    else:
        mask, confidence = np.zeros_like(volume.voxels, np.uint8), None
    for part, box, side in parts:
        values = mask_values(segments, side)
        mask[box], certainty = _segment_part(part, values, model, seconds, tick, restore, control)
        if certainty is not None:
            confidence = np.zeros_like(mask) if confidence is None else confidence
            confidence[box] = certainty
    began = time.perf_counter()
    measurements = measure(mask, segments, volume.voxel_ml, volume.voxels, confidence)
    seconds["measure"] = time.perf_counter() - began
    return Segmentation(
        volume, model.spec, rois, mask, segments, measurements, confidence, seconds, control.exchange, control.trace,
        located,
    )  # fmt: skip


async def segment_volume_async(
    study: Volume | Sequence[Volume],
    model: TritonModel,
    rois: tuple[Roi, ...] = (),
    tick: Callable[[int], None] = lambda slices: None,
    restore: Output = "labels",
) -> Segmentation:
    """`segment_volume` in a thread of its own; cancelling the task cancels the job, here and on the server.

    tick: called in that thread. Raises what `segment_volume` raises.
    """
    control = model.new_job()
    job = asyncio.ensure_future(asyncio.to_thread(segment_volume, study, model, rois, tick, restore, control))
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        control.cancel()
        with suppress(JobCancelledError):
            await job
        raise


def count_slices(volume: Volume, model: TritonModel, rois: tuple[Roi, ...]) -> int:
    """How many slices of this grid `segment_volume` will ask for, for a progress bar."""
    parts = [volume.crop(roi.ranges(volume)) for roi in rois] or [volume]
    planes = [plane for plane, _ in model.spec.readings]
    return sum(len(plane_view(part.voxels, part.affine, plane)) for part in parts for plane in planes)


def _segment_part(
    study: Sequence[Volume],
    values: np.ndarray,
    model: TritonModel,
    seconds: dict[str, float],
    tick: Callable[[int], None],
    restore: Output,
    control: JobControl,
) -> tuple[np.ndarray, np.ndarray | None]:
    """The mask of a study, or a box of it, on its grid, uint8 [I, J, K], and `StudySlices.confidence`.

    values: of the mask, by network label. Adds each stage to `seconds`.
    """
    began = time.perf_counter()
    sampler = StudySlices(study, model.spec, restore)
    seconds["preprocess"] += time.perf_counter() - began
    batches = _batches(sampler, model.batch_size(sampler.output), seconds)
    began = time.perf_counter()
    with control.turn, closing(model.predict(batches, sampler.output, control)) as answers:
        seconds["turn"] += time.perf_counter() - began
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
    for index in range(mask.shape[2]):  # indexing makes int64 of the labels: a slice at a time
        mask[:, :, index] = values[mask[:, :, index]]
    seconds["restore"] += time.perf_counter() - began
    return mask, sampler.confidence


def _batches(sampler: StudySlices, size: int, seconds: dict[str, float]) -> Iterator[tuple[int, np.ndarray]]:
    batches = sampler.batches(size)
    while True:
        began = time.perf_counter()
        batch = next(batches, None)
        seconds["preprocess"] += time.perf_counter() - began
        if batch is None:
            return
        yield batch
