"""Measurements as a DICOM Structured Report (Imaging Measurement Report, TID 1500, PS3.16), read back before it counts.

write_sr(path, measurements, qualities, seg, source, identity, series_description="Hippocampus (AI)")
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import highdicom as hd
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.seg import Segmentation
from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes

from swinunet.client.dicom.quiet import quiet
from swinunet.client.dicom.source_images import SourceImages
from swinunet.client.results.concepts import (
    CHECKS,
    CONFIDENCE,
    FLAGS,
    LATERALITY,
    NO_FLAG,
    NOT_JUDGED,
    PRIVATE_SCHEME,
    QUALITY,
    concept,
    intensity,
)
from swinunet.client.results.dicom_seg_writer import tracking
from swinunet.client.results.identity import MANUFACTURER, MODEL_NAME, Identity, date_from_source
from swinunet.client.results.plain_errors import plain_reason
from swinunet.client.results.quality import Quality
from swinunet.client.results.result import Result
from swinunet.client.results.stand_ins import evidence, write_in_character_set_of_source
from swinunet.client.segments import Measurement
from swinunet.foundation.errors import OutputError
from swinunet.foundation.files import written_aside

MILLILITRE = CodedConcept("ml", "UCUM", "milliliter")
_ENGLISH = CodedConcept("en", "RFC5646", "English")
_DECIMALS = 4
Values = list[tuple[str, str, float]]  # tracking UID, code of what was measured, value
Group = hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations
Value = tuple[CodedConcept, float, CodedConcept, CodedConcept | None]  # what, value, unit, derivation


def write(result: Result, path: Path) -> None:
    """Write the measurements of a result of a DICOM input, of which the SEG was written before."""
    seg, spec = result.objects["seg"], result.found.spec
    assert result.source
    assert isinstance(seg, Segmentation)
    write_sr(
        path, result.found.measurements, result.qualities, seg, result.source, result.identity,
        series_description=f"{spec.name} {spec.version} measurements",
    )  # fmt: skip


def write_sr(
    path: Path,
    measurements: Sequence[Measurement],
    qualities: Sequence[Quality],
    seg: Segmentation,
    source: SourceImages,
    identity: Identity,
    *,
    series_description: str,
) -> None:
    """Write the volume (ml), mean intensity, mean probability and quality flags of each segment of `seg`.

    Each structure is one measurement group (TID 1411) that refers to its segment and the source series, with the
    segment's tracking UID. The same measurements of the same job give the same object, to the byte.
    Raises OutputError if the object cannot be made or written, or does not read back as these measurements.
    """
    with sr_errors_named(path, source):
        groups = [
            measurement_group(measurement, quality, seg, source, identity, values_of(measurement, source))
            for measurement, quality in zip(measurements, qualities, strict=True)
        ]
    meant = [
        (tracking(measurement.segment, identity)[1], str(what.value), value)
        for measurement in measurements
        for what, value, *_ in values_of(measurement, source)
    ]
    content = repr((measurements, qualities))
    save_sr(path, groups, meant, content, seg, source, identity, series_description)


def save_sr(
    path: Path,
    groups: Sequence[Group],
    meant: Values,
    content: str,
    seg: Segmentation,
    source: SourceImages,
    identity: Identity,
    series_description: str,
) -> None:
    """Write measurement groups that refer to `seg`, and read them back.

    meant: their measurements, as `read_values` finds them. content: from which the object's UID follows.
    Raises OutputError if the object cannot be made or written, or does not read back as what was meant.
    """
    with sr_errors_named(path, source):
        report = _build(groups, content, seg, source, identity, series_description)
    with quiet(), written_aside(path) as aside:
        report.save_as(aside)
        try:
            found = read_values(aside)
        except Exception as error:  # readers raise anything on a broken file
            raise OutputError(
                f"{path.name}: the DICOM SR cannot be read back ({plain_reason(error, source.headers)})"
            ) from None
        if found != meant:
            raise OutputError(f"{path.name}: the DICOM SR does not read back as what was measured; do not use it")


@contextmanager
def sr_errors_named(path: Path, source: SourceImages) -> Iterator[None]:
    """What highdicom raises for a source of which no SR can be made, as an OutputError; and no library speaks."""
    with quiet():
        try:
            yield
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            reason = plain_reason(error, source.headers)
            raise OutputError(f"{path.name}: no DICOM SR can be made of this source ({reason})") from None


def read_values(path: Path) -> Values:
    """Each measurement of each group of an SR, in their order."""
    report = hd.sr.srread(path)
    return [
        (str(group.tracking_uid), str(measurement.name.value), float(measurement.value))
        for group in hd.sr.MeasurementReport.from_sequence(report.content).get_volumetric_roi_measurement_groups()
        for measurement in group.get_measurements()
        if measurement.name != codes.DCM.TimePointOrder  # highdicom takes any number for a measurement
    ]


def _build(
    groups: Sequence[Group],
    content_key: str,
    seg: Segmentation,
    source: SourceImages,
    identity: Identity,
    series_description: str,
) -> hd.sr.ComprehensiveSR:
    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=identity.uid("device"),
        name=MODEL_NAME,
        manufacturer_name=MANUFACTURER,
        model_name=identity.spec.name,
        serial_number=identity.device_serial_number,
    )
    observer = hd.sr.ObserverContext(codes.DCM.Device, device)
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=CodedConcept("363679005", "SCT", "Imaging procedure"),
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
        language_of_content_item_and_descendants=hd.sr.LanguageOfContentItemAndDescendants(_ENGLISH),
    )
    instances = evidence(source)
    content_sha256 = hashlib.sha256(content_key.encode()).hexdigest()
    report = hd.sr.ComprehensiveSR(
        evidence=[*instances, seg],
        content=content[0],
        series_instance_uid=identity.uid("sr series"),
        series_number=int(seg.SeriesNumber) + 1,
        sop_instance_uid=identity.uid("sr instance", seg.SOPInstanceUID, content_sha256, series_description),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        software_versions=identity.software,
        device_serial_number=identity.device_serial_number,
        series_description=series_description[:64],
        is_complete=True,
        coding_schemes=[
            CodingSchemeIdentificationItem(
                PRIVATE_SCHEME, name=f"{MODEL_NAME} quality flags", responsible_organization=MANUFACTURER
            )
        ],
    )
    date_from_source(report, instances[0])
    write_in_character_set_of_source(report, source)
    return report


def measurement_group(
    measurement: Measurement,
    quality: Quality,
    seg: Segmentation,
    source: SourceImages,
    identity: Identity,
    values: Sequence[Value],
    *,
    time_point: hd.sr.TimePointContext | None = None,
) -> Group:
    """A measurement group (TID 1411) of a segment. time_point: of the phase that was measured, of a series in time."""
    segment = measurement.segment
    name, uid = tracking(segment, identity)
    parameters = [
        *(f"{key}={value}" for key, value in identity.parameters().items()),
        f"spec={identity.spec.to_json()}",
    ]
    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=uid, identifier=name),
        referenced_segment=hd.sr.ReferencedSegment(
            sop_class_uid=seg.SOPClassUID,
            sop_instance_uid=seg.SOPInstanceUID,
            segment_number=segment.number,
            source_series=hd.sr.SourceSeriesForSegmentation(str(source.headers[0].SeriesInstanceUID)),
        ),
        finding_category=codes.cid7150.AnatomicalStructure,
        finding_type=concept(segment.label.type),
        algorithm_id=hd.sr.AlgorithmIdentification(
            name=identity.spec.name,
            version=str(identity.spec.version),
            parameters=parameters,
            manufacturer=MANUFACTURER,
        ),
        finding_sites=[
            hd.sr.FindingSite(
                concept(segment.label.type),
                LATERALITY[segment.laterality] if segment.laterality else None,
                concept(segment.label.modifier) if segment.label.modifier else None,
            )
        ],
        measurements=[
            hd.sr.Measurement(name=what, value=value, unit=unit, derivation=derivation)
            for what, value, unit, derivation in values
        ],
        time_point_context=time_point,
        qualitative_evaluations=_evaluations(quality),
    )


def values_of(measurement: Measurement, source: SourceImages) -> list[Value]:
    """What is known of a segment."""
    mean = CodedConcept.from_code(codes.SCT.Mean)
    name, unit = intensity(str(source.headers[0].get("Modality", "")))
    no_units = CodedConcept.from_code(codes.UCUM.NoUnits)
    volume = CodedConcept.from_code(codes.SCT.Volume)
    values: list[Value] = [(volume, measurement.volume_ml, MILLILITRE, None)]
    if measurement.mean_intensity is not None:
        values.append((name, measurement.mean_intensity, unit, mean))
    if measurement.confidence is not None:
        values.append((CONFIDENCE, measurement.confidence, no_units, mean))
    return [(what, round(value, _DECIMALS), unit, derivation) for what, value, unit, derivation in values]


def _evaluations(quality: Quality) -> list[hd.sr.QualitativeEvaluation]:
    flags = [hd.sr.QualitativeEvaluation(QUALITY, FLAGS[flag.kind]) for flag in quality.flags]
    unknown = [hd.sr.QualitativeEvaluation(NOT_JUDGED, CHECKS[check]) for check in quality.not_judged]
    return (flags or [hd.sr.QualitativeEvaluation(QUALITY, NO_FLAG)]) + unknown
