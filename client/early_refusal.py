"""What `segment` refuses for its geometry alone, said from headers, before a server is started or a voxel is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from swinunet.client.dicom import Series, scan_folder, select_volumes
from swinunet.client.dicom.geometry import affine_of
from swinunet.client.inputs import has_nifti_name
from swinunet.client.study_list import Study
from swinunet.foundation.errors import GeometryError
from swinunet.imaging import ModelSpec
from swinunet.imaging.nifti import read_nifti_grid
from swinunet.imaging.slices import require_in_view


def refuse_too_large(study: Study, spec: ModelSpec, allow: Collection[str] = (), *, assume_ras: bool = False) -> Study:
    """The study, with the headers that were read for it, if its slices fit the model's field of view.

    Raises GeometryError for one that is larger, InputError for one that cannot be read.
    """
    if spec.modalities or not study.path.exists():
        return study  # what is wrong with it is said when it is read
    try:
        if study.path.is_file() and has_nifti_name(study.path):
            require_in_view(*read_nifti_grid(study.path, assume_ras=assume_ras), spec)
            return study
        scan = study.scan or scan_folder(study.path)
        if fault := series_fault(select_volumes(scan, uid=study.series_uid, spec=spec, allow=allow)[0], spec):
            raise GeometryError(fault)
    except GeometryError as error:
        raise GeometryError(f"{study.path}: {error}") from None
    return dataclasses.replace(study, scan=scan)


def series_fault(series: Series, spec: ModelSpec) -> str:
    """Why a series that is read would be refused for its size; empty if it would not be."""
    if series.shape is None:
        return ""
    try:
        require_in_view(series.shape, affine_of(series.frames), spec)
    except GeometryError as error:
        return str(error)
    return ""
