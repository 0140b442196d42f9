"""DICOM in: the series in a folder, a verdict on each, and a usable one as a volume.

from client.dicom import read_volume, scan_folder, select_series

dicom = read_volume(select_series(scan_folder(Path("study")), modality="MR"))
dicom.volume.voxels, dicom.volume.affine  # [I, J, K]; index to LPS mm
"""

from client.dicom.files import Frame, ImageFile
from client.dicom.series import Scan, Series, refusal, require_images, scan_folder, select_series
from client.dicom.verdict import Verdict, VerdictKind
from client.dicom.volume import DicomVolume, read_volume, voxel_dtype

__all__ = [
    "DicomVolume",
    "Frame",
    "ImageFile",
    "Scan",
    "Series",
    "Verdict",
    "VerdictKind",
    "read_volume",
    "refusal",
    "require_images",
    "scan_folder",
    "select_series",
    "voxel_dtype",
]
