"""What a DICOM image file is, and where its frames lie: facts of the header, without pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydicom.uid import UID

from swinunet.client.dicom.sources import Source

Vector = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """How pixels are stored (PS3.3 C.7.6.3.1).

    high_bit: of the cell of bits_allocated bits, the one that holds the value's highest. padding: lowest and highest
    stored value that means "no pixel here" (PS3.3 C.7.5.1.1.2), as numbers of bits_allocated bits without sign.
    table: lowest and highest value the modality lookup table gives, None without one (PS3.3 C.11.1).
    """

    syntax: UID
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    padding: tuple[int, int] | None = None
    table: tuple[int, int] | None = None

    @property
    def stored_range(self) -> tuple[int, int]:
        """Lowest and highest value that BitsStored and PixelRepresentation allow."""
        bits = self.bits_stored
        return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if self.signed else (0, 2**bits - 1)


@dataclass(frozen=True, slots=True)
class ImageFile:
    """What holds for every frame of one DICOM image file.

    fault: why it cannot be used, empty if it can; series_uid is empty if even that could not be read, layout None.
    pixels_at: offset of the pixel data element, 0 in a deflated file.
    sheet: what the header calls an image that is a sheet of many small slices, empty if it calls it none.
    sheet_slices: how many, None where it does not say.
    lacks: the UIDs that the header does not give, by keyword; those of the series and the instance are made up then.
    """

    source: Source
    fault: str = ""
    series_uid: str = ""
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    modality: str = ""
    body_part: str = ""
    description: str = ""
    frame_of_reference_uid: str = ""
    image_type: tuple[str, ...] = ()
    rows: int = 0
    columns: int = 0
    samples_per_pixel: int = 1
    photometric: str = ""
    layout: PixelLayout | None = None
    multi_frame: bool = False
    pixels_at: int = 0
    sheet: str = ""
    sheet_slices: int | None = None
    lacks: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """The file, or archive/member."""
        return self.source.path

    @property
    def name(self) -> str:
        """What messages call it: the last part of the path, with "?" for what would steer a terminal."""
        return "".join(letter if letter.isprintable() else "?" for letter in self.path.name)

    @property
    def is_colour(self) -> bool:
        """Whether a pixel is anything but one grey value (PS3.3 C.7.6.3.1.2)."""
        return self.samples_per_pixel != 1 or not self.photometric.startswith("MONOCHROME")

    @property
    def is_inverted(self) -> bool:
        """Whether low values mean bright: MONOCHROME1 without a unit, in which values mean something by themselves.

        CT (HU) and PT (Bq/ml) keep their values: there MONOCHROME1 says how to display them, not what they are.
        """
        return self.photometric == "MONOCHROME1" and self.modality not in ("CT", "PT")


@dataclass(frozen=True, slots=True)
class Frame:
    """One image plane and where it lies in the patient (PS3.3 C.7.6.2.1.1); None where the header does not say.

    number: 1-based frame number in a multi-frame file, None in a single-frame one.
    position_mm: LPS [3] of the first pixel's centre. orientation: direction cosines [6] of a row, then of a column.
    pixel_spacing_mm: distance between rows, then between columns. slope, intercept: stored value to real value.
    distinguishing: the values of `distinguishing_attributes.ATTRIBUTES`, by which volumes of one series are told apart.
    """

    file: ImageFile
    number: int | None
    position_mm: Vector | None
    orientation: Vector | None
    pixel_spacing_mm: Vector | None
    thickness_mm: float | None
    slice_spacing_mm: float | None
    slope: float
    intercept: float
    distinguishing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ignored:
    """A file that is no part of any series. kind: the name of its SOP class, empty if it is no DICOM file."""

    kind: str = ""
