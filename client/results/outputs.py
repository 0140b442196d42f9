"""Everything a job writes: which outputs, each whole or not at all, the others kept if one fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from highdicom.seg import Segmentation as SegObject

from swinunet.client.dicom import DicomVolume
from swinunet.client.results.deidentify import Pseudonyms
from swinunet.client.results.identity import Identity
from swinunet.client.results.overlay import write_overlay
from swinunet.client.results.quality import Quality, judge_quality
from swinunet.client.results.report import Box, Input, Report, Settings, make_report, write_report
from swinunet.client.results.seg import SegType, write_seg
from swinunet.client.results.seg_source import SourceImages
from swinunet.client.results.segments import Measurement
from swinunet.client.results.sr import write_sr
from swinunet.client.rois import Roi
from swinunet.client.segmentation import Segmentation
from swinunet.foundation.errors import InputError, OutputError
from swinunet.imaging import ModelSpec, Volume, Window, write_nifti
from swinunet.imaging.study_slices import Output

Kind = Literal["nifti", "seg", "sr", "png", "json"]  # in the order they are written
KINDS: tuple[Kind, ...] = get_args(Kind)
FILE_NAMES: dict[Kind, str] = {
    "nifti": "mask.nii.gz",
    "seg": "segmentation.dcm",
    "sr": "measurements.dcm",
    "png": "overlay.png",
    "json": "report.json",
}
_DICOM_ONLY: tuple[Kind, ...] = ("seg", "sr")


@dataclass(frozen=True)
class OutputOptions:
    """What the user decides about results. kinds: None for all that the input allows. restore: `StudySlices`'s."""

    kinds: tuple[Kind, ...] | None = None
    seg_type: SegType = "binary"
    restore: Output = "labels"
    pseudonyms: Pseudonyms | None = None

    def kinds_of(self, is_dicom: bool) -> tuple[Kind, ...]:
        """The outputs of an input. Raises InputError for one that was asked for and cannot be made."""
        possible = tuple(kind for kind in KINDS if is_dicom or kind not in _DICOM_ONLY)
        if self.kinds is None:
            return possible
        if impossible := [kind for kind in self.kinds if kind not in possible]:
            raise InputError(f"--outputs {impossible[0]}: needs a DICOM input, this is NIfTI; leave it away")
        return self.kinds


def parse_outputs(text: str) -> tuple[Kind, ...]:
    """Outputs as written on the command line: "seg,json". Raises InputError."""
    asked = [word.strip() for word in text.split(",")]
    if unknown := [word for word in asked if word not in KINDS]:
        raise InputError(f"--outputs {unknown[0]!r}: expected some of {','.join(KINDS)}")
    if "sr" in asked and "seg" not in asked:
        raise InputError("--outputs sr: the measurements refer to the segmentation; add seg")
    return tuple(kind for kind in KINDS if kind in asked)


def write_outputs(
    folder: Path,
    name: str,
    found: Segmentation,
    dicom: DicomVolume | None,
    spec: ModelSpec,
    rois: tuple[Roi, ...],
    options: OutputOptions,
    timings: dict[str, float],
    fingerprint: str = "",
) -> Report:
    """Write what `options` ask for into `folder` and return the report, which says what failed and why.

    name, fingerprint: of the input, as results call it. dicom: None for NIfTI. timings: seconds by stage; those of each
    output, and of judging the mask's quality, are added.
    Raises OutputError if not one output could be written.
    """
    kinds = options.kinds_of(dicom is not None)
    began = time.perf_counter()
    work = _Outputs(found, dicom, spec, rois, options, name, fingerprint)
    timings["judge"] = time.perf_counter() - began
    writers: dict[Kind, Callable[[Path], None]] = {
        "nifti": work.nifti, "seg": work.seg, "sr": work.sr, "png": work.png, "json": work.json,
    }  # fmt: skip
    written: dict[str, str] = {}
    failed: dict[str, str] = {}
    for kind in kinds:
        began = time.perf_counter()
        if kind == "json":
            written[kind] = FILE_NAMES[kind]
            work.report = work.describe(kinds, timings, written, failed)
        try:
            writers[kind](folder / FILE_NAMES[kind])
            written[kind] = FILE_NAMES[kind]
        except Exception as error:  # whatever a library raises, the other outputs are kept; its words may quote values
            known = isinstance(error, OutputError)
            written.pop(kind, None)
            failed[kind] = str(error).replace(f"{folder}/", "") if known else f"unexpected {type(error).__name__}"
        timings[kind] = time.perf_counter() - began
    if not written:
        raise OutputError("; ".join(f"{kind}: {reason}" for kind, reason in failed.items()))
    return work.describe(kinds, timings, written, failed)


class _Outputs:
    """One method for each output; `seg` comes before `sr`, which refers to it."""

    report: Report

    def __init__(
        self,
        found: Segmentation,
        dicom: DicomVolume | None,
        spec: ModelSpec,
        rois: tuple[Roi, ...],
        options: OutputOptions,
        name: str,
        fingerprint: str,
    ) -> None:
        self._found, self._dicom, self._spec, self._rois, self._options = found, dicom, spec, rois, options
        self._name, self._fingerprint = name, fingerprint
        self._seg: SegObject | None = None
        volume = found.volume
        boxes = [volume.box_slices(roi.low_mm, roi.high_mm) for roi in rois]
        self._qualities = judge_quality(found.mask, found.measurements, boxes)
        self._source = _source_images(dicom, options.pseudonyms) if dicom else None
        sources = tuple(f"{uid}#{frame}" for uid, frame in self._source.references) if self._source else ()
        self._identity = Identity(sources, spec, _settings(rois, options))

    def nifti(self, path: Path) -> None:
        """The mask on the input's grid."""
        write_nifti(Volume(self._found.mask, self._found.volume.affine), path)

    def seg(self, path: Path) -> None:
        """DICOM SEG."""
        assert self._source
        found = self._found
        self._seg = write_seg(
            path, found.mask, found.segments, self._source, self._identity,
            series_description=f"{self._spec.name} {self._spec.version} segmentation", seg_type=self._options.seg_type,
        )  # fmt: skip

    def sr(self, path: Path) -> None:
        """DICOM SR. Raises OutputError if there is no SEG."""
        if self._seg is None:
            raise OutputError("the segmentation it refers to was not written")
        assert self._source
        write_sr(
            path, self._found.measurements, self._qualities, self._seg, self._source, self._identity,
            series_description=f"{self._spec.name} {self._spec.version} measurements",
        )  # fmt: skip

    def png(self, path: Path) -> None:
        """Overlay. Raises OutputError where it would show burnt-in text of a de-identified result."""
        burnt_in = self._dicom is not None and self._dicom.headers[0].get("BurnedInAnnotation") == "YES"
        if self._options.pseudonyms and burnt_in:
            raise OutputError("the source says that text is burnt into its pixels; a de-identified result shows none")
        spec, rule = self._spec, self._spec.intensity
        window = (rule.low, rule.high) if isinstance(rule, Window) else None
        title = f"{spec.name}, version {spec.version}"
        flags = [f"{m.segment.text}: {flag.detail}" for m, q in self._judged() for flag in q.flags]
        write_overlay(
            path, self._found.volume, self._found.mask, self._found.measurements, title=title, caption="\n".join(flags),
            window=window,
        )  # fmt: skip

    def json(self, path: Path) -> None:
        """The report, as `describe` last made it."""
        write_report(path, self.report)

    def describe(
        self, kinds: tuple[Kind, ...], timings: dict[str, float], written: dict[str, str], failed: dict[str, str]
    ) -> Report:
        """The report of what is known by now."""
        volume, source = self._found.volume, self._source
        series = str(source.headers[0].SeriesInstanceUID) if source else None
        instances = tuple(dict.fromkeys(uid for uid, _ in source.references)) if source else ()
        kind: Literal["dicom", "nifti"] = "dicom" if source else "nifti"
        settings = Settings(
            self._options.restore, self._options.seg_type, tuple(kinds), self._options.pseudonyms is not None
        )
        return make_report(
            Input(
                self._name, kind, volume.shape, volume.spacing_mm, series, instances, self._verdict(), self._fingerprint
            ),
            self._spec,
            list(self._judged()),
            settings=settings,
            boxes=boxes_of(self._rois),
            timings_s=timings,
            outputs=written,
            failed=failed,
            trace=self._found.trace,
        )

    def _verdict(self) -> str | None:
        """What is said of a series that is no plain stack."""
        verdict = self._dicom.series.verdict if self._dicom else None
        return None if verdict is None or verdict.usable else verdict.sentence

    def _judged(self) -> Iterator[tuple[Measurement, Quality]]:
        return zip(self._found.measurements, self._qualities, strict=True)


def _source_images(dicom: DicomVolume, pseudonyms: Pseudonyms | None) -> SourceImages:
    source = SourceImages(dicom.headers, tuple(dicom.source(k) for k in range(dicom.volume.shape[2])))
    return pseudonyms.source(source) if pseudonyms else source


def _settings(rois: tuple[Roi, ...], options: OutputOptions) -> tuple[tuple[str, str], ...]:
    """What the user chose and the mask depends on, as SEG and SR say it."""
    boxes = "; ".join(f"{f'{roi.side}=' if roi.side else ''}{','.join(map(str, roi.bounds_mm))}" for roi in rois)
    return ("restore", options.restore), *((("roi", boxes),) if rois else ())


def boxes_of(rois: Sequence[Roi]) -> tuple[Box, ...]:
    """Boxes as a report names them."""
    corners = [(roi.bounds_mm[0::2], roi.bounds_mm[1::2], roi.side) for roi in rois]
    return tuple(Box((x0, y0, z0), (x1, y1, z1), side) for (x0, y0, z0), (x1, y1, z1), side in corners)
