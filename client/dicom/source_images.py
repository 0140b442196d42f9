"""The source images of a volume: which instance or frame each of its slices came from, and where that lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pydicom.dataset import Dataset

from swinunet.client.dicom.geometry import ASSUMED_THICKNESS_MM
from swinunet.foundation.errors import OutputError

Reference = tuple[str, int | None]  # SOP Instance UID; frame number counted from 1, None in a single-frame image
_MACROS = {  # the attribute without which a functional group macro says nothing
    "PlanePositionSequence": "ImagePositionPatient",
    "PlaneOrientationSequence": "ImageOrientationPatient",
    "PixelMeasuresSequence": "PixelSpacing",
}
SHARED, PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"


@dataclass(frozen=True, eq=False)
class SourceImages:
    """The images of a volume [I, J, K], and of every result on its grid.

    headers: pydicom headers of one series, without pixels: one a slice in the order of k, or one a multi-frame file.
    references: for each slice k, the instance and frame it came from.
    lacks: keywords of the UIDs that some header does not give; what stands for one in `references` is made up then.
    phases: of a series in time; as many stacks of slices follow each other in `references`.
    """

    headers: tuple[Dataset, ...]
    references: tuple[Reference, ...]
    lacks: tuple[str, ...] = ()
    phases: int = 1

    def __post_init__(self) -> None:
        missing = {uid for uid, _ in self.references} - set(self._by_uid)
        if missing or not self.references:
            raise ValueError(f"{len(missing)} of {len(self.references)} slices refer to an instance without a header")

    @staticmethod
    def of_slices(headers: Sequence[Dataset]) -> SourceImages:
        """Single-frame images, one a slice, in the order of k."""
        return SourceImages(tuple(headers), tuple((str(header.SOPInstanceUID), None) for header in headers))

    def require_uids(self) -> None:
        """Raise OutputError, naming it, if a UID is missing by which a DICOM object says which images it is about."""
        if self.lacks:
            raise OutputError(
                f"the source images have no {' and no '.join(self.lacks)}, to which a DICOM object must refer; "
                "fetch the series again"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows, slices: the mask's I, J, K."""
        return int(self.headers[0].Columns), int(self.headers[0].Rows), len(self.references)

    @cached_property
    def positions_mm(self) -> np.ndarray:
        """Centre of each slice's first pixel (Image Position (Patient), PS3.3 C.7.6.2.1.1): float64 [K, 3], LPS mm."""
        planes = [self.macro(k, "PlanePositionSequence") for k in range(len(self.references))]
        return np.array([[float(value) for value in plane.ImagePositionPatient] for plane in planes])

    @property
    def orientation(self) -> list[float]:
        """Image Orientation (Patient) of the first slice: direction cosines [6] of a row, then of a column."""
        return [float(value) for value in self.macro(0, "PlaneOrientationSequence").ImageOrientationPatient]

    @property
    def pixel_spacing_mm(self) -> list[float]:
        """Pixel Spacing of the first slice: between rows, then between columns."""
        return [float(value) for value in self.macro(0, "PixelMeasuresSequence").PixelSpacing]

    @property
    def thickness_mm(self) -> float:
        """Slice Thickness, else the mean distance between slices along the normal, else 1 mm as in `client/dicom`."""
        if thickness_mm := self.macro(0, "PixelMeasuresSequence").get("SliceThickness"):
            return float(thickness_mm)
        normal = np.cross(*np.reshape(self.orientation, (2, 3)))
        along = self.positions_mm[: len(self.references) // self.phases] @ normal
        return float(np.ptp(along) / (len(along) - 1)) if len(along) > 1 else ASSUMED_THICKNESS_MM

    def phase_of(self, k: int) -> int:
        """Which phase slice k belongs to, from 1."""
        return k // (len(self.references) // self.phases) + 1

    def header(self, k: int) -> Dataset:
        """The header of the file that holds slice k."""
        return self._by_uid[self.references[k][0]]

    def macro(self, k: int, name: str) -> Dataset:
        """The functional group macro `name` of slice k (PS3.3 C.7.6.16.2), or a header that holds its attributes.

        What a group lacks is looked for at the top level, as `header.read_header` does.
        Raises OutputError if it is in neither.
        """
        header, (_, frame) = self.header(k), self.references[k]
        if frame is None and _MACROS[name] in header:
            return header
        groups = header.get(PER_FRAME, [])
        own = groups[(frame or 1) - 1 :][:1]
        for item in (*own, *header.get(SHARED, [])):
            if item.get(name) and _MACROS[name] in item[name].value[0]:
                return item[name].value[0]
        if frame is None or _MACROS[name] in header:
            return header
        raise OutputError(f"frame {frame} of the source has no {name}: a DICOM SEG cannot say where its frames lie")

    @cached_property
    def _by_uid(self) -> dict[str, Dataset]:
        return {str(header.SOPInstanceUID): header for header in self.headers}
