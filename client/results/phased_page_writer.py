"""index.html of a series in time: the page of one volume, with a slider over the phases and the curve of volumes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from swinunet.client.dicom import read_phases
from swinunet.client.results.cardiac_function import cardiac_functions
from swinunet.client.results.page.preview import phased_previews
from swinunet.client.results.page_writer import Phases, place_of, result_page
from swinunet.client.results.phased_segmentation import PhasedSegmentation
from swinunet.client.results.result import Result
from swinunet.foundation.files import written_aside


def write(result: Result, path: Path) -> None:
    """Write the page. Raises OutputError where a de-identified one would show burnt-in text."""
    found = result.phased
    assert found
    result.require_showable()
    masks = [found.stack.phase(at) for at in range(len(found.phases))]
    shown = phased_previews(found.volume, _images(result), masks, found.spec.modality)
    places = {
        each.segment.mask_value: place_of(masks[phase], found.volume, each.segment.mask_value)
        for phase, each in zip(found.largest, found.measurements, strict=True)
        if each.voxels
    }
    with written_aside(path) as aside:
        aside.write_text(result_page(result, shown, places, _phases(found)).render(), encoding="utf-8")


def _images(result: Result) -> Iterator[np.ndarray]:
    """The voxels of each phase, read again one after another: all of them may not fit into the memory."""
    loaded = result.loaded
    yield loaded.volume.voxels
    for dicom in read_phases(loaded.phases[1:], loaded.allow, first=loaded.volume):
        yield dicom.volume.voxels


def _phases(found: PhasedSegmentation) -> Phases:
    curves = tuple(tuple(measured[at].volume_ml for measured in found.by_phase) for at, _ in enumerate(found.segments))
    sentences = tuple(
        f"{each.structure}: end-diastolic volume {each.ed_ml:.1f} ml (phase {each.ed_phase}), end-systolic "
        f"{each.es_ml:.1f} ml (phase {each.es_phase}), stroke volume {each.stroke_ml:.1f} ml, ejection fraction "
        f"{each.ejection_fraction:.1f} %."
        for each in cardiac_functions(found)
    )
    return Phases(tuple(phase.text for phase in found.phases), curves, sentences)
