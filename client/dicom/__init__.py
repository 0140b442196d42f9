"""DICOM in: the series in a folder, a verdict on each, and a usable one as a volume.

from swinunet.client.dicom import read_volume, scan_folder, select_series

dicom = read_volume(select_series(scan_folder(Path("study")), modality="MR"))
dicom.volume.voxels, dicom.volume.affine  # [I, J, K]; index to LPS mm
"""

from swinunet.client.dicom.files import Frame, ImageFile
from swinunet.client.dicom.phases import Phase
from swinunet.client.dicom.series import Scan, Series, require_images, scan_folder
from swinunet.client.dicom.series_selector import (
    Choice,
    choose,
    refusal,
    select_series,
    select_volumes,
    selector_of,
    siblings,
    volumes_of,
)
from swinunet.client.dicom.verdict import ALLOWANCES, Verdict, VerdictKind
from swinunet.client.dicom.volume import DicomVolume, Slice, iter_slices, read_phases, read_volume, voxel_dtype

__all__ = [
    "ALLOWANCES",
    "Choice",
    "DicomVolume",
    "Frame",
    "ImageFile",
    "Phase",
    "Scan",
    "Series",
    "Slice",
    "Verdict",
    "VerdictKind",
    "choose",
    "iter_slices",
    "read_phases",
    "read_volume",
    "refusal",
    "require_images",
    "scan_folder",
    "select_series",
    "select_volumes",
    "selector_of",
    "siblings",
    "volumes_of",
    "voxel_dtype",
]
