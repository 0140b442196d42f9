"""The JSON report of one segmentation: what was found in what, by which model, in how many seconds.

It names the source by its UIDs and never the patient. Its JSON schema is `report.schema.json` beside this file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import pydantic
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from swinunet.client.results.cardiac_function import CardiacFunction
from swinunet.client.results.quality import Check, Flag, Quality
from swinunet.client.segments import Measurement, Side
from swinunet.foundation.errors import InputError
from swinunet.foundation.files import written_aside
from swinunet.imaging import Code, ModelSpec

SCHEMA_VERSION = 5
_STRICT = pydantic.ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class Input:
    """What was segmented. name: of the folder or file, without its path. shape: voxels [I, J, K].

    source_instances: SOP Instance UIDs, in the order of the slices. Names and UIDs are pseudonyms where the job was
    de-identified. verdict: on a DICOM series that is no plain stack and was read all the same (--allow).
    fingerprint: the input's digest, the same for the same volume only; its pseudonym where the job was de-identified.
    """

    name: str
    kind: Literal["dicom", "nifti"]
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    series_instance_uid: str | None = None  # DICOM only
    source_instances: tuple[str, ...] = ()
    verdict: str | None = None
    fingerprint: str = ""


@dataclass(frozen=True, config=_STRICT)
class Box:
    """The part of the volume that the model saw, in LPS mm."""

    low_mm: tuple[float, float, float]
    high_mm: tuple[float, float, float]
    laterality: Side | None = None


@dataclass(frozen=True, config=_STRICT)
class LocatedSide:
    """What the locator says of one box. label: as the locator calls it. volume_ml: of what it found there.

    probability: mean over that; where nothing was found, the highest anywhere. fault: why there is no box.
    """

    label: str
    laterality: Side | None
    probability: float
    volume_ml: float
    fault: str | None = None


@dataclass(frozen=True, config=_STRICT)
class Location:
    """How the boxes were found. whole, whole_ml: what the locator looks in, and how much of it the image shows."""

    locator: str
    version: int
    checkpoint_sha256: str
    margin_mm: float
    whole: str
    whole_ml: float
    sides: tuple[LocatedSide, ...]


@dataclass(frozen=True, config=_STRICT)
class Settings:
    """What the user chose. restore: how the answer came back to the native grid."""

    restore: Literal["labels", "probabilities"]
    seg_type: Literal["binary", "labelmap"]
    outputs: tuple[str, ...]
    deidentified: bool


@dataclass(frozen=True, config=_STRICT)
class Structure:
    """One structure on one side. mask_value: in the NIfTI mask. segment_number: in the DICOM SEG.

    mean_intensity: of the image, in its own units. confidence: mean probability of the assigned class. Either is None
    where it is not known. flags, not_judged: see client/results/quality.py. phase: of a series in time the one that was
    measured, from 1; else None.
    """

    name: str
    label: str
    laterality: Side | None
    type: Code
    modifier: Code | None
    mask_value: int
    segment_number: int
    voxels: int
    volume_ml: float
    mean_intensity: float | None
    confidence: float | None
    flags: tuple[Flag, ...]
    not_judged: tuple[Check, ...]
    phase: int | None = None

    @staticmethod
    def of(measurement: Measurement, quality: Quality, phase: int | None = None) -> Structure:
        """A report's line for a measured segment."""
        segment = measurement.segment
        return Structure(
            name=segment.text,
            label=segment.label.name,
            laterality=segment.laterality,
            type=segment.label.type,
            modifier=segment.label.modifier,
            mask_value=segment.mask_value,
            segment_number=segment.number,
            voxels=measurement.voxels,
            volume_ml=round(measurement.volume_ml, 4),
            mean_intensity=_rounded(measurement.mean_intensity),
            confidence=_rounded(measurement.confidence),
            flags=quality.flags,
            not_judged=quality.not_judged,
            phase=phase,
        )


@dataclass(frozen=True, config=_STRICT)
class MeasuredPhase:
    """One phase of a series in time, from 1. time_ms: after the beat's trigger, None where only the order is known."""

    number: int
    time_ms: float | None
    structures: tuple[Structure, ...]


@dataclass(frozen=True, config=_STRICT)
class Model:
    """The model that served the job, as its server described it."""

    name: str
    version: int
    checkpoint_sha256: str
    spec: ModelSpec


@dataclass(frozen=True, config=_STRICT)
class Report:
    """One job. boxes: empty if the model saw the whole volume. location: how they were found, if nobody drew them.

    outputs: kind of result to file name. failed: kind of result that could not be written, and why.
    phases: of a series in time, each with its structures: the curve of volumes; `structures` has each where it is
    largest. cardiac: of each ventricle among them.
    left_out: attributes of the source's patient and study that SEG and SR do not repeat, since their values break the
    format that the standard sets; by keyword.
    """

    input: Input
    model: Model
    settings: Settings
    structures: tuple[Structure, ...]
    boxes: tuple[Box, ...]
    timings_s: dict[str, float]  # by stage, in the order they ran
    outputs: dict[str, str]
    failed: dict[str, str]
    created: str  # UTC, ISO 8601
    software: str
    left_out: tuple[str, ...] = ()
    location: Location | None = None
    phases: tuple[MeasuredPhase, ...] = ()
    cardiac: tuple[CardiacFunction, ...] = ()
    trace: str = ""  # the job's requests are called <trace>-<n> in the server's traces and log
    schema_version: int = Field(default=SCHEMA_VERSION)

    def to_json(self) -> str:
        """The report as indented JSON."""
        return _ADAPTER.dump_json(self, indent=2).decode()


_ADAPTER: TypeAdapter[Report] = TypeAdapter(Report)


def make_report(
    source: Input,
    spec: ModelSpec,
    structures: Sequence[Structure],
    *,
    settings: Settings,
    boxes: Sequence[Box] = (),
    timings_s: dict[str, float],
    outputs: dict[str, str],
    failed: dict[str, str] | None = None,
    left_out: Sequence[str] = (),
    location: Location | None = None,
    phases: Sequence[MeasuredPhase] = (),
    cardiac: Sequence[CardiacFunction] = (),
    trace: str = "",
) -> Report:
    """The report of a job that ends now, with this software."""
    return Report(
        input=source,
        model=Model(spec.name, spec.version, spec.provenance.checkpoint_sha256, spec),
        settings=settings,
        structures=tuple(structures),
        boxes=tuple(boxes),
        timings_s={stage: round(seconds, 4) for stage, seconds in timings_s.items()},
        outputs=dict(outputs),
        failed=dict(failed or {}),
        left_out=tuple(left_out),
        phases=tuple(phases),
        cardiac=tuple(cardiac),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        software=f"swinunet {version('swinunet')}",
        location=location,
        trace=trace,
    )


def report_schema() -> str:
    """The report's JSON schema, as published in `report.schema.json`."""
    return json.dumps(_ADAPTER.json_schema(), indent=1, sort_keys=True) + "\n"


def write_report(path: Path, report: Report) -> None:
    """Write the report as JSON, whole or not at all. Raises OutputError if it cannot be written."""
    with written_aside(path) as aside:
        aside.write_text(report.to_json() + "\n", encoding="utf-8")


def read_report(path: Path) -> Report:
    """Read a report that `write_report` wrote. Raises InputError if it is missing or not of this schema."""
    try:
        return _ADAPTER.validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot read ({error.strerror})") from None
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(str(part) for part in detail["loc"])
        raise InputError(
            f"{path}: not a report of schema version {SCHEMA_VERSION} ({where}: {detail['msg']})"
        ) from None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
