"""The MNI152 T1 brain (1 mm) from nilearn's wheel, as the DICOM MR series a scanner would send.

    python -m swinunet.samples.mni152 FOLDER

The template is the ICBM 152 nonlinear symmetric 2009a average of 152 brains, skull stripped (V. S. Fonov et al., 2011):
no person's brain.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from swinunet.foundation.errors import InputError, MissingExtraError, OutputError
from swinunet.imaging import Volume
from swinunet.imaging.volume import as_lps

# Boxes around the hippocampi of MNI152, LPS mm: (x_min, x_max, y_min, y_max, z_min, z_max), voxel centres included.
# 37 x 50 x 40 mm: where the crops that the network learned from (MSD Task04) lie when they are registered to the
# template, widened by 1 to 2 mm because the template's brain is larger than most.
HIPPOCAMPUS_BOXES: dict[str, tuple[float, float, float, float, float, float]] = {
    "left": (7.0, 43.0, -2.0, 47.0, -31.0, 8.0),
    "right": (-43.0, -7.0, -2.0, 47.0, -31.0, 8.0),
}

_TEMPLATE = "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
_COPYRIGHT = (
    "MNI152 template (ICBM 2009a nonlinear symmetric). Copyright (C) 1993-2009 Louis Collins, McConnell Brain Imaging "
    "Centre, Montreal Neurological Institute, McGill University. Not a patient."
)


def read_mni152() -> Volume:
    """The template: uint8 voxels [L, P, S] of 1 mm, axes along LPS.

    Reads nilearn's file without importing nilearn, which takes seconds and scikit-learn. Raises MissingExtraError if
    nilearn is not installed, InputError if this release keeps the template elsewhere.
    """
    package = importlib.util.find_spec("nilearn")
    if package is None or package.origin is None:
        raise MissingExtraError("the demo's brain comes with nilearn, which is not installed; pip install nilearn")
    path = Path(package.origin).parent / _TEMPLATE
    if not path.is_file():
        raise InputError(f"nilearn has no {_TEMPLATE}; install the release that this demo was written for (0.14)")
    image = nib.Nifti1Image.from_filename(str(path))
    volume = Volume(np.asarray(image.dataobj, dtype=np.uint8), np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine)
    return Volume(as_lps(volume.voxels, volume.affine), volume.lps_view().affine)


def write_mni152_series(folder: Path) -> Path:
    """Write the template into `folder` as a classic MR series (PS3.3 A.4), one file for each of 189 axial slices.

    Explicit VR little endian, 16 bits allocated, 12 stored, values 0..255, UIDs the same on every run: writing again
    gives the same files. Returns `folder`. Raises OutputError if it cannot be written.
    """
    return write_series(read_mni152(), folder)


def write_series(volume: Volume, folder: Path) -> Path:
    """The same of the template on another grid: values 0..255, axes along LPS."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(volume.shape[2]):
            _slice(volume, index).save_as(folder / f"MR{index + 1:04d}.dcm", enforce_file_format=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot write ({error.strerror}); choose a folder that can be written") from None
    return folder


def _slice(volume: Volume, index: int) -> Dataset:
    """Axial slice `index` (0: lowest) as an MR Image (PS3.3 C.8.3.1)."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    _patient_and_study(dataset)
    _series(dataset)
    dataset.SOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = _uid("instance", str(index))
    dataset.InstanceNumber = index + 1
    dataset.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    dataset.DerivationDescription = "Average of 152 registered T1 images, skull stripped"
    dataset.ImageComments = _COPYRIGHT
    _geometry(dataset, volume, index)
    pixels = volume.voxels[:, :, index].T.astype("<u2")
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.WindowCenter, dataset.WindowWidth = "140", "230"
    dataset.PixelData = pixels.tobytes()
    return dataset


def _patient_and_study(dataset: Dataset) -> None:
    """Patient, General Study (PS3.3 C.7.1.1, C.7.2.1): nobody, and obviously so."""
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.PatientName, dataset.PatientID = "MNI152^TEMPLATE", "MNI152-TEMPLATE"
    dataset.PatientBirthDate, dataset.PatientSex = "", "O"
    dataset.PatientIdentityRemoved, dataset.DeidentificationMethod = "YES", "Average of 152 volunteers"
    dataset.StudyInstanceUID, dataset.StudyID = _uid("study"), "1"
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = "20090901"
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = "120000"
    dataset.StudyDescription, dataset.AccessionNumber, dataset.ReferringPhysicianName = "MNI152 template", "", ""


def _series(dataset: Dataset) -> None:
    """General Series, General Equipment, MR Image acquisition (PS3.3 C.7.3.1, C.7.5.1, C.8.3.1)."""
    dataset.Modality, dataset.BodyPartExamined, dataset.PatientPosition = "MR", "BRAIN", "HFS"
    dataset.SeriesInstanceUID, dataset.SeriesNumber = _uid("series"), 2
    dataset.SeriesDescription, dataset.ProtocolName = "T1 1 mm MNI152", "T1 template"
    dataset.Manufacturer, dataset.ManufacturerModelName = "McConnell Brain Imaging Centre", "ICBM 2009a"
    dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "RM", "NONE", ""
    dataset.MRAcquisitionType, dataset.MagneticFieldStrength = "3D", "1.5"
    dataset.RepetitionTime, dataset.EchoTime, dataset.EchoTrainLength = "22", "9.2", 1


def _geometry(dataset: Dataset, volume: Volume, index: int) -> None:
    """Frame of Reference, Image Plane (PS3.3 C.7.4.1, C.7.6.2): columns run to the left, rows to the back."""
    column_mm, row_mm, slice_mm = volume.spacing_mm
    position = volume.affine @ [0, 0, index, 1]
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = _uid("frame of reference"), ""
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [f"{value:g}" for value in position[:3]]
    dataset.SliceLocation = f"{position[2]:g}"
    dataset.PixelSpacing = [f"{row_mm:g}", f"{column_mm:g}"]
    dataset.SliceThickness = dataset.SpacingBetweenSlices = f"{slice_mm:g}"


def _uid(*what: str) -> str:
    return generate_uid(entropy_srcs=["swinunet demo", "MNI152", *what])


if __name__ == "__main__":
    print(write_mni152_series(Path(sys.argv[1])))
