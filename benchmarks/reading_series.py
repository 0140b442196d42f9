"""DICOM files to be read: CT slices of a noisy cylinder, nobody's, written to a folder that is thrown away."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, JPEGLSLossless, generate_uid

_DISTINCT = 8  # images, taken in turn: encoding a thousand would take longer than reading them
_INTERCEPT = -1024
_NOISE = 12.0  # HU, of an ordinary dose: what lossless codecs cannot pack


@dataclass(frozen=True)
class ReadingCase:
    """A folder of `series` series of `slices` files of `pixels` x `pixels` pixels; one of the series is decoded."""

    name: str
    title: str
    slices: int
    pixels: int = 512
    series: int = 1
    syntax: UID = ExplicitVRLittleEndian

    @property
    def files(self) -> int:
        """In the folder."""
        return self.series * self.slices


CASES = (
    ReadingCase("ct", "CT of 1,000 slices, 512 x 512, uncompressed", 1000),
    ReadingCase("ct-jpegls", "CT of 1,000 slices, 512 x 512, JPEG-LS lossless", 1000, syntax=JPEGLSLossless),
    ReadingCase("many", "10,000 files, 20 series of 500, 64 x 64, one of them decoded", 500, pixels=64, series=20),
)
QUICK_CASES = (
    ReadingCase("ct", "CT of 8 slices, 64 x 64, uncompressed", 8, pixels=64),
    ReadingCase("ct-jpegls", "CT of 48 slices, 64 x 64, JPEG-LS lossless", 48, pixels=64, syntax=JPEGLSLossless),
    ReadingCase("many", "64 files, 4 series of 16, 16 x 16, one of them decoded", 16, pixels=16, series=4),
)


def write_case(case: ReadingCase, folder: Path) -> Path:
    """Write the files of a case and return their folder, which is made."""
    folder.mkdir()
    images = _images(case)
    for series in range(case.series):
        dataset = _header(case, series)
        for index in range(case.slices):
            _place(dataset, series, index)
            _put_pixels(dataset, images[index % len(images)], case.syntax)
            dataset.save_as(folder / f"{series:02d}_{index:04d}", enforce_file_format=True)
    return folder


def _images(case: ReadingCase) -> list[bytes]:
    """Stored values of the distinct slices, uint16 [rows, columns] of 12 bits, packed as the syntax has it."""
    generator = np.random.default_rng(0)
    side = np.linspace(-1, 1, case.pixels)
    inside = np.hypot(*np.meshgrid(side, side)) < 0.8
    values = [
        np.where(inside, 40, -1000) + generator.normal(0, _NOISE, inside.shape)
        for _ in range(min(_DISTINCT, case.slices))
    ]
    stored = [np.clip(np.rint(each) - _INTERCEPT, 0, 4095).astype("<u2") for each in values]
    if not case.syntax.is_encapsulated:
        return [each.tobytes() for each in stored]
    from jpeg_ls import encode_array

    return [bytes(encode_array(each)) for each in stored]


def _header(case: ReadingCase, series: int) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = case.syntax
    dataset.SOPClassUID = CTImageStorage
    dataset.PatientName, dataset.PatientID, dataset.Modality = "Benchmark^Phantom", "benchmark", "CT"
    dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = _uid("study"), _uid("frame of reference")
    dataset.SeriesInstanceUID, dataset.SeriesNumber = _uid("series", series), series + 1
    dataset.SeriesDescription, dataset.ImageType = "phantom", ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.ImageOrientationPatient, dataset.PixelSpacing = [1, 0, 0, 0, 1, 0], [0.7, 0.7]
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, _INTERCEPT, "HU"
    dataset.Rows = dataset.Columns = case.pixels
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    return dataset


def _place(dataset: Dataset, series: int, index: int) -> None:
    dataset.SOPInstanceUID, dataset.InstanceNumber = _uid("instance", series, index), index + 1
    dataset.ImagePositionPatient = [0, 0, 0.5 * index]


def _put_pixels(dataset: Dataset, packed: bytes, syntax: UID) -> None:
    from pydicom.encaps import encapsulate

    dataset.PixelData = encapsulate([packed]) if syntax.is_encapsulated else packed
    dataset["PixelData"].VR = "OB" if syntax.is_encapsulated else "OW"
    dataset["PixelData"].is_undefined_length = syntax.is_encapsulated


def _uid(*what: object) -> str:
    return generate_uid(entropy_srcs=["swinunet benchmark reading", *map(str, what)])
