"""What a user decides about results: which of them, and how they are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from swinunet.client.results.deidentify import Pseudonyms
from swinunet.client.results.formats import FORMATS_BY_NAME, OUTPUT_FORMATS
from swinunet.foundation.errors import InputError
from swinunet.imaging.study_slices import Output

SegType = Literal["binary", "labelmap"]


@dataclass(frozen=True)
class OutputOptions:
    """What the user decides about results.

    formats: names of output formats, None for the default ones that the input allows. seg_type: how a DICOM SEG stores
    its segments. restore: `StudySlices`'s. pseudonyms: with which results are de-identified. identified: whether the
    result page names the patient.
    """

    formats: tuple[str, ...] | None = None
    seg_type: SegType = "binary"
    restore: Output = "labels"
    pseudonyms: Pseudonyms | None = None
    identified: bool = False

    def formats_for(self, is_dicom: bool, phased: bool = False) -> tuple[str, ...]:
        """The formats to write of an input, or of a series in time (phased).

        Raises InputError for one that was asked for and cannot be made.
        """
        if self.formats is None:
            possible = [each for each in OUTPUT_FORMATS if each.default and (is_dicom or not each.needs_dicom)]
            return tuple(each.name for each in possible if each.phased_writer or not phased)
        if unphased := [name for name in self.formats if phased and not FORMATS_BY_NAME[name].phased_writer]:
            raise InputError(
                f"--outputs {unphased[0]}: not made of a series in time; leave it out, or choose one phase with "
                "--series UID#NUMBER"
            )
        if impossible := [name for name in self.formats if FORMATS_BY_NAME[name].needs_dicom and not is_dicom]:
            raise InputError(f"--outputs {impossible[0]}: needs a DICOM input, this is NIfTI; leave it out")
        return self.formats
