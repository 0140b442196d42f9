"""What every output is made from."""

from __future__ import annotations

import time
from collections.abc import Iterator

from swinunet.client.inputs import LoadedInput, readable_name
from swinunet.client.results.formats import FORMATS_BY_NAME
from swinunet.client.results.identity import Identity
from swinunet.client.results.options import OutputOptions
from swinunet.client.results.phased_segmentation import PhasedSegmentation
from swinunet.client.results.quality import Quality, judge_quality
from swinunet.client.results.source_header import usable_part
from swinunet.client.segmentation import Segmentation
from swinunet.client.segments import Measurement
from swinunet.foundation.errors import OutputError


class Result:
    """A segmentation of an input, judged, and which of its outputs are written by now.

    loaded, found, options: what the result is of, what was found, and what the user decided about its outputs.
    phased: what was found, of a series in time; else None.
    input_name, input_digest: what outputs call the input. source: its images, None for NIfTI. These three, and nothing
        else of the input, may be named in an output: they are pseudonyms where results are de-identified.
    identity: from which the UIDs of the outputs follow. qualities: of each measurement.
    timings: seconds by stage, in the order they ran. outputs: file name by format, of what is written or being written.
    failed: the reason by format. left_out: attributes of the source that DICOM outputs do not repeat, by keyword.
    objects: by format, what its writer returned, for formats that refer to it.
    """

    def __init__(self, loaded: LoadedInput, found: Segmentation, options: OutputOptions, name: str) -> None:
        """name: of the folder of results, which is what a de-identified input is called."""
        self.loaded, self.found, self.options = loaded, found, options
        self.timings = {"read": loaded.read_seconds, **found.seconds}
        self.outputs: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self.objects: dict[str, object] = {}
        began = time.perf_counter()
        volume, dicom, pseudonyms = found.volume, loaded.dicom, options.pseudonyms
        self.phased = found if isinstance(found, PhasedSegmentation) else None
        boxes = [roi.ranges(volume) for roi in found.rois]
        plausible_ml = found.spec.boxes.volume_ml if found.spec.boxes and boxes else None
        self.qualities = (
            self.phased.qualities if self.phased else judge_quality(found.mask, found.measurements, boxes, plausible_ml)
        )
        self.source = self.phased.source if self.phased else dicom.source if dicom else None
        self.input_name, self.input_digest = readable_name(loaded.path.resolve()), loaded.digest
        if pseudonyms:
            self.source = pseudonyms.source(self.source) if self.source else None
            self.input_name, self.input_digest = name, pseudonyms.name(loaded.digest, "input")
        formats = options.formats_for(dicom is not None, self.phased is not None)
        dicom_formats = [FORMATS_BY_NAME[name].needs_dicom for name in formats]
        self.left_out: tuple[str, ...] = ()
        if self.source and any(dicom_formats):
            self.left_out = usable_part(self.source.headers[0]).left_out
        references = self.source.references if self.source else ()
        sources = tuple(f"{uid}#{frame}" for uid, frame in references)
        self.identity = Identity(sources, found.spec, _settings(found, options))
        self.timings["judge"] = self.timings.get("judge", 0.0) + time.perf_counter() - began

    def require_showable(self) -> None:
        """Raise OutputError where the result is de-identified and a picture would show text that names the patient."""
        dicom = self.loaded.dicom
        if self.options.pseudonyms and dicom and dicom.source.headers[0].get("BurnedInAnnotation") == "YES":
            raise OutputError("the source says that text is burnt into its pixels; a de-identified result shows none")

    def patient(self) -> str:
        """The patient's name and ID and the study's date, where the user wants them shown and the source has them."""
        if not (self.options.identified and self.source):
            return ""
        header = self.source.headers[0]
        known = (header.get("PatientName"), header.get("PatientID"), header.get("StudyDate"))
        return ", ".join(str(each) for each in known if each)

    def judged(self) -> Iterator[tuple[Measurement, Quality]]:
        """Each measurement with its quality."""
        return zip(self.found.measurements, self.qualities, strict=True)


def _settings(found: Segmentation, options: OutputOptions) -> tuple[tuple[str, str], ...]:
    """What the user chose and the mask depends on, as SEG and SR say it."""
    rois, located = found.rois, found.located
    boxes = "; ".join(f"{f'{roi.side}=' if roi.side else ''}{','.join(map(str, roi.bounds_mm))}" for roi in rois)
    locator = f"{located.locator.name} {located.locator.version}" if located else ""
    settings = (("restore", options.restore), ("roi", boxes), ("locator", locator))
    return tuple((name, value) for name, value in settings if value)
