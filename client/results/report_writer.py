"""The JSON report of a result, as far as its outputs are written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from swinunet.client.dicom.source_images import SourceImages
from swinunet.client.locating import Located
from swinunet.client.results.cardiac_function import cardiac_functions
from swinunet.client.results.phased_segmentation import PhasedSegmentation
from swinunet.client.results.report import (
    Box,
    Input,
    LocatedSide,
    Location,
    MeasuredPhase,
    Report,
    Settings,
    Structure,
    make_report,
    write_report,
)
from swinunet.client.results.result import Result
from swinunet.client.rois import Roi


def write(result: Result, path: Path) -> None:
    """Write the report of what is known by now. Raises OutputError if it cannot be written."""
    write_report(path, describe(result))


def describe(result: Result) -> Report:
    """The report of what is known by now."""
    found, options, source, phased = result.found, result.options, result.source, result.phased
    measured_in = [phase + 1 for phase in phased.largest] if phased else [None] * len(found.measurements)
    return make_report(
        Input(
            name=result.input_name,
            kind="dicom" if source else "nifti",
            shape=found.volume.shape,
            spacing_mm=found.volume.spacing_mm,
            series_instance_uid=str(source.headers[0].get("SeriesInstanceUID") or "") or None if source else None,
            source_instances=_instances(source) if source else (),
            verdict=_verdict(result),
            fingerprint=result.input_digest,
        ),
        found.spec,
        [Structure.of(*judged, phase) for judged, phase in zip(result.judged(), measured_in, strict=True)],
        settings=Settings(
            restore=options.restore,
            seg_type=options.seg_type,
            outputs=options.formats_for(source is not None, phased is not None),
            deidentified=options.pseudonyms is not None,
        ),
        boxes=boxes_of(found.rois),
        timings_s=result.timings,
        outputs=result.outputs,
        failed=result.failed,
        left_out=result.left_out,
        location=location_of(found.located) if found.located else None,
        phases=_phases(phased) if phased else (),
        cardiac=cardiac_functions(phased) if phased else (),
        trace=found.trace,
    )


def _phases(found: PhasedSegmentation) -> list[MeasuredPhase]:
    measured = zip(found.phases, found.by_phase, found.quality_by_phase, strict=True)
    return [
        MeasuredPhase(
            phase.number,
            phase.time_ms,
            tuple(Structure.of(*each, phase.number) for each in zip(measurements, qualities, strict=True)),
        )
        for phase, measurements, qualities in measured
    ]


def boxes_of(rois: Sequence[Roi]) -> tuple[Box, ...]:
    """Boxes as a report names them."""
    corners = [(roi.bounds_mm[0::2], roi.bounds_mm[1::2], roi.side) for roi in rois]
    return tuple(Box((x0, y0, z0), (x1, y1, z1), side) for (x0, y0, z0), (x1, y1, z1), side in corners)


def location_of(located: Located) -> Location:
    """How boxes were found, as a report says it."""
    spec = located.locator
    assert spec.locating is not None
    return Location(
        locator=spec.name,
        version=spec.version,
        checkpoint_sha256=spec.provenance.checkpoint_sha256,
        margin_mm=located.margin_mm,
        whole=spec.locating.whole,
        whole_ml=round(located.whole_ml, 1),
        sides=tuple(
            LocatedSide(each.label, each.side, round(each.probability, 4), round(each.ml, 3), each.fault or None)
            for each in located.parts
        ),
    )


def _instances(source: SourceImages) -> tuple[str, ...]:
    """The UIDs of the source's instances; none where they have none of their own."""
    made_up = "SOPInstanceUID" in source.lacks
    return () if made_up else tuple(dict.fromkeys(uid for uid, _ in source.references))


def _verdict(result: Result) -> str | None:
    """The sentence on a series that is no plain stack."""
    verdict = result.loaded.dicom.series.verdict if result.loaded.dicom else None
    return None if verdict is None or verdict.usable else verdict.sentence
