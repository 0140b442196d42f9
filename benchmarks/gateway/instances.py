"""Studies to send: MR slices of noise, nobody's, in files that are thrown away."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

_MEAN, _NOISE = 600.0, 150.0


def write_study(folder: Path, name: str, slices: int, pixels: int) -> list[Path]:
    """Write a study of one axial series of `slices` slices, uint16 [pixels, pixels]; its UIDs follow from `name`."""
    folder.mkdir(parents=True, exist_ok=True)
    dataset, generator = _series(name, pixels), np.random.default_rng(0)
    stored = np.clip(generator.normal(_MEAN, _NOISE, (pixels, pixels)), 0, 4095).astype("<u2")
    files = []
    for index in range(slices):
        dataset.SOPInstanceUID, dataset.InstanceNumber = _uid(name, "instance", index), index + 1
        dataset.ImagePositionPatient = [0, 0, index]
        dataset.PixelData = np.roll(stored, index, axis=1).tobytes()
        files.append(folder / f"{name}_{index:05d}.dcm")
        dataset.save_as(files[-1], enforce_file_format=True)
    return files


def _series(name: str, pixels: int) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.Modality = MRImageStorage, "MR"
    dataset.PatientName, dataset.PatientID = "Benchmark^Phantom", "benchmark"
    dataset.PatientBirthDate = dataset.PatientSex = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = _uid(name, "study"), _uid(name, "series")
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20260101", "120000", "1"
    dataset.SeriesNumber, dataset.SeriesDescription = 1, "phantom"
    dataset.Manufacturer, dataset.ImageType = "swinunet benchmark", ["ORIGINAL", "PRIMARY"]
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = _uid(name, "frame of reference"), ""
    dataset.ImageOrientationPatient, dataset.PixelSpacing, dataset.SliceThickness = [1, 0, 0, 0, 1, 0], [1, 1], 1
    dataset.Rows = dataset.Columns = pixels
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    return dataset


def _uid(*what: object) -> str:
    return generate_uid(entropy_srcs=["swinunet benchmark gateway", *map(str, what)])
