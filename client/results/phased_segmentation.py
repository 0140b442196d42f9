"""A series in time in, a mask of each phase out: one phase after another through `segment_volume`, one in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from swinunet.client.dicom import DicomVolume, Phase, read_phases
from swinunet.client.dicom.source_images import SourceImages
from swinunet.client.inputs import LoadedInput
from swinunet.client.results.quality import Quality, judge_quality
from swinunet.client.rois import Roi
from swinunet.client.segmentation import Segmentation, segment_volume
from swinunet.client.segments import Measurement
from swinunet.client.triton import JobControl, TritonModel
from swinunet.foundation.errors import InputError
from swinunet.imaging import PhaseStack
from swinunet.imaging.study_slices import Output


@dataclass(frozen=True, eq=False, kw_only=True)
class PhasedSegmentation(Segmentation):
    """What the model found in each phase of a series in time.

    volume: the first phase. mask: uint8 [I, J, T * K], the slices of one phase after those of the one before.
    measurements: of each segment where it is largest, `largest` says in which phase, counted from 0. confidence: None.
    phases: which they are. by_phase, quality_by_phase: of each segment in each phase. stack: the masks.
    source: the images of all phases, in the order of `mask`.
    """

    phases: tuple[Phase, ...]
    by_phase: tuple[tuple[Measurement, ...], ...]
    quality_by_phase: tuple[tuple[Quality, ...], ...]
    stack: PhaseStack
    source: SourceImages

    @property
    def largest(self) -> tuple[int, ...]:
        """For each segment the phase, counted from 0, that holds most of it; the first of several."""
        return tuple(int(np.argmax([found[at].voxels for found in self.by_phase])) for at in range(len(self.segments)))

    @property
    def qualities(self) -> list[Quality]:
        """Of each segment where it is largest."""
        return [self.quality_by_phase[phase][at] for at, phase in enumerate(self.largest)]


def segment_phases(
    loaded: LoadedInput,
    model: TritonModel,
    rois: tuple[Roi, ...] = (),
    tick: Callable[[int], None] = lambda slices: None,
    restore: Output = "labels",
    control: JobControl | None = None,
    expect: Callable[[int], None] = lambda slices: None,
) -> PhasedSegmentation:
    """Segment every phase of an input that has several. tick, restore, control, expect: as `segment_volume` has them.

    All of it is one job of the server's. Boxes that are found are found in the first phase.
    Raises what `segment_volume` and `read_phases` raise, naming the phase.
    """
    assert loaded.dicom
    control = control or model.new_job()
    phases = tuple(series.phase for series in loaded.phases if series.phase)
    stack = PhaseStack(len(phases), loaded.volume.shape, np.dtype(np.uint8))
    seconds: dict[str, float] = {"read": loaded.read_seconds}
    by_phase, qualities, sources, located = [], [], [], None
    began = time.perf_counter()
    for number, (phase, dicom) in enumerate(zip(phases, _volumes(loaded), strict=True)):
        seconds["read"] += time.perf_counter() - began
        try:
            found = segment_volume(dicom.volume, model, rois, tick, restore, control, expect)
        except InputError as error:
            raise type(error)(f"{phase.text}: {error}") from None
        stack.phase(number)[:] = found.mask
        for stage, took in found.seconds.items():
            seconds[stage] = seconds.get(stage, 0.0) + took
        began = time.perf_counter()
        rois, located = found.rois, located or found.located
        boxes = [roi.ranges(found.volume) for roi in rois]
        plausible_ml = model.spec.boxes.volume_ml if model.spec.boxes and boxes else None
        by_phase.append(found.measurements)
        qualities.append(tuple(judge_quality(found.mask, found.measurements, boxes, plausible_ml)))
        sources.append(dicom.source)
        seconds["judge"] = seconds.get("judge", 0.0) + time.perf_counter() - began
        began = time.perf_counter()
    largest = [max(each, key=lambda one: one.voxels) for each in zip(*by_phase, strict=True)]
    return PhasedSegmentation(
        loaded.volume, model.spec, rois, stack.in_one_stack, found.segments, tuple(largest), None, seconds,
        control.exchange, control.trace, located, phases=phases, by_phase=tuple(by_phase),
        quality_by_phase=tuple(qualities), stack=stack, source=_joined(sources),
    )  # fmt: skip


def _volumes(loaded: LoadedInput) -> Iterator[DicomVolume]:
    """The phases: the first was read already."""
    assert loaded.dicom
    yield loaded.dicom
    yield from read_phases(loaded.phases[1:], loaded.allow, first=loaded.volume)


def _joined(sources: list[SourceImages]) -> SourceImages:
    """The images of all phases, one after another."""
    headers = {str(header.SOPInstanceUID): header for source in sources for header in source.headers}
    references = tuple(reference for source in sources for reference in source.references)
    lacks = tuple(dict.fromkeys(name for source in sources for name in source.lacks))
    return SourceImages(tuple(headers.values()), references, lacks, phases=len(sources))
