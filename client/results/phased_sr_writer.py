"""Measurements of a series in time as a DICOM Structured Report: of each phase, and of a heart what they say together.

A measurement group (TID 1411, PS3.16) for each structure and phase, with its time point (TID 1502), whose order is the
Temporal Position Index of the segment's frames; a reference holds a segment or frames, never both (PS3.3 10.3). And one
for each ventricle, with end-diastolic and end-systolic volume, stroke volume and ejection fraction (CID 3467 to 3469,
CID 12200).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import highdicom as hd
from highdicom.seg import Segmentation
from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes

from swinunet.client.results.cardiac_function import VENTRICLES, CardiacFunction, cardiac_functions
from swinunet.client.results.dicom_seg_writer import tracking
from swinunet.client.results.dicom_sr_writer import (
    MILLILITRE,
    Group,
    Value,
    Values,
    measurement_group,
    save_sr,
    sr_errors_named,
    values_of,
)
from swinunet.client.results.phased_segmentation import PhasedSegmentation
from swinunet.client.results.result import Result

_PERCENT: Final = CodedConcept("%", "UCUM", "Percent")
_STROKE_VOLUME: Final = CodedConcept.from_code(codes.SCT.StrokeVolume)
_VOLUMES: Final = {
    "left": (codes.LN.LeftVentricularEDVolume, codes.LN.LeftVentricularESVolume),
    "right": (codes.LN.RightVentricularEDVolume, codes.LN.RightVentricularESVolume),
}
_FRACTIONS: Final = {
    ("left", "MR"): codes.LN.LeftVentricularEjectionFractionByMR,
    ("left", "CT"): codes.LN.LeftVentricularEjectionFractionByCT,
    ("right", "MR"): codes.LN.RightVentricularEjectionFractionByMR,
    ("right", "CT"): codes.LN.RightVentricularEjectionFractionByCT,
}


def write(result: Result, path: Path) -> None:
    """Write the measurements of a series in time, of which the SEG was written before. Raises OutputError."""
    found, seg, source, identity = result.phased, result.objects["seg"], result.source, result.identity
    assert found
    assert source
    assert isinstance(seg, Segmentation)
    functions = cardiac_functions(found)
    meant: Values = []
    groups: list[Group] = []
    with sr_errors_named(path, source):
        for number, (phase, measured) in enumerate(zip(found.phases, found.by_phase, strict=True)):
            time_point = hd.sr.TimePointContext(time_point=phase.text, time_point_order=phase.number)
            for measurement, quality in zip(measured, found.quality_by_phase[number], strict=True):
                values = values_of(measurement, source)
                groups.append(
                    measurement_group(measurement, quality, seg, source, identity, values, time_point=time_point)
                )
                meant += _as_read(values, tracking(measurement.segment, identity)[1])
        for function in functions:
            at = function.segment_number - 1
            values = _function_values(found, function, str(source.headers[0].get("Modality", "")))
            groups.append(measurement_group(found.measurements[at], found.qualities[at], seg, source, identity, values))
            meant += _as_read(values, tracking(found.segments[at], identity)[1])
    content = repr((found.by_phase, found.quality_by_phase, found.phases, functions))
    spec = found.spec
    save_sr(path, groups, meant, content, seg, source, identity, f"{spec.name} {spec.version} measurements")


def _function_values(found: PhasedSegmentation, function: CardiacFunction, modality: str) -> list[Value]:
    side = VENTRICLES[found.segments[function.segment_number - 1].label.type.value]
    diastolic, systolic = _VOLUMES[side]
    values: list[Value] = [
        (CodedConcept.from_code(diastolic), function.ed_ml, MILLILITRE, None),
        (CodedConcept.from_code(systolic), function.es_ml, MILLILITRE, None),
        (_STROKE_VOLUME, function.stroke_ml, MILLILITRE, None),
    ]
    if fraction := _FRACTIONS.get((side, modality)):
        values.append((CodedConcept.from_code(fraction), function.ejection_fraction, _PERCENT, None))
    return values


def _as_read(values: list[Value], tracking_uid: str) -> Values:
    return [(tracking_uid, str(what.value), value) for what, value, *_ in values]
