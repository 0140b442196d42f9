"""Where the voxels of a NIfTI file lie: its qform, its sform and its unit of length.

NIfTI's world is RAS mm, ours is LPS mm: x and y change sign here and nowhere else.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np

from swinunet.foundation.errors import GeometryError
from swinunet.imaging.volume import Space

RAS_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
SPACES: dict[int, Space] = {1: "scanner", 2: "aligned", 3: "talairach", 4: "mni"}  # qform_code, sform_code
_UNIT_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # the spatial bits of xyzt_units; a file that names none means mm
_LARGEST_MM = 1e4  # of a volume whose header counts in metres
_FORMS_APART = 2e-3  # of the volume's diagonal: a float32 quaternion near half a turn is off by up to 7e-4 rad
_SAME_DIRECTION = 0.8  # cosine: 37 degrees, more than any gantry tilts


def affine_of(image: nib.Nifti1Image, path: Path, assume_ras: bool) -> tuple[np.ndarray, Space]:
    """The affine, voxel index to LPS mm [4, 4], and what the millimetres count from.

    assume_ras: of a file with neither form, take the axes as Right, Anterior, Superior (method 1 of nifti1.h).
    Raises GeometryError if there is neither form and nothing may be assumed, if the two contradict each other, or the
    unit of length is none.
    """
    space = _space(image, path, assume_ras)
    _require_one_place(image, path)
    affine = RAS_LPS @ (np.diag([*_zooms(image), 1.0]) if space == "unknown" else image.affine)
    affine[:3] *= _unit_mm(image, affine, path)
    return affine, space


def is_sheared(affine: np.ndarray) -> bool:
    """Whether the axes depart from right angles by more than rounding: a cosine above 1e-3, a twentieth of a degree."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() > 1e-3)


def _space(image: nib.Nifti1Image, path: Path, assume_ras: bool) -> Space:
    """What the affine that nibabel takes counts from: the sform's code, else the qform's.

    Raises GeometryError if neither is set and nothing may be assumed: nibabel would put the file's first axis to the
    patient's left, nifti1.h to the right.
    """
    code = int(image.header["sform_code"]) or int(image.header["qform_code"])
    if code > 0:
        return SPACES.get(code, "aligned")
    if not assume_ras:
        raise GeometryError(
            f"{path}: its header has neither qform nor sform, so that left and right are unknown; convert it from "
            "DICOM again, or say --assume-ras if its axes run to the patient's right, front and head"
        )
    return "unknown"


def _zooms(image: nib.Nifti1Image) -> list[float]:
    """The voxel's three sides, 1 for an axis that a file of two axes lacks."""
    return [float(side) for side in (*image.header.get_zooms(), 1.0)[:3]]


def _unit_mm(image: nib.Nifti1Image, affine: np.ndarray, path: Path) -> float:
    """Millimetres in the header's unit of length. Raises GeometryError if it names none of the three there are."""
    code = int(image.header["xyzt_units"]) % 8
    if code not in _UNIT_MM:
        raise GeometryError(f"{path}: its xyzt_units name no unit of length ({code}), expected m, mm or micrometres")
    extent_mm = np.linalg.norm(affine[:3, :3], axis=0) * (*image.shape, 1)[:3] * _UNIT_MM[code]
    if code == 1 and extent_mm.max() > _LARGEST_MM:
        raise GeometryError(
            f"{path}: by its header (xyzt_units: metres) it is {extent_mm.max() / 1000:.0f} m long; correct the unit"
        )
    return _UNIT_MM[code]


def _require_one_place(image: nib.Nifti1Image, path: Path) -> None:
    """Raise GeometryError if qform and sform put the voxels into different places of one space.

    Forms of different codes count from different origins, as of the scanner and of a template, and may differ; but
    not in what is left and what is right, for no alignment mirrors a patient.
    """
    codes = int(image.header["qform_code"]), int(image.header["sform_code"])
    qform, sform = _qform(image), image.header.get_sform()
    if min(codes) <= 0 or qform is None:
        return
    if np.linalg.det(qform[:3, :3]) * np.linalg.det(sform[:3, :3]) < 0:
        apart = "are mirror images of each other, so that left and right are unknown"
    elif codes[0] == codes[1] and (mm := _apart_mm(image, qform, sform)) > 0:
        apart = f"put voxels up to {mm * _unit_mm(image, sform, path):.1f} mm apart"
    else:
        return
    raise GeometryError(
        f"{path}: its qform ({_in_words(qform, codes[0])}) and sform ({_in_words(sform, codes[1])}) {apart}; "
        "convert it from DICOM again, or copy the right one over the other (fslorient -copysform2qform)"
    )


def _qform(image: nib.Nifti1Image) -> np.ndarray | None:
    """The affine of the qform, to RAS, in the header's unit; None if its quaternion is no rotation."""
    try:
        return image.header.get_qform()
    except ValueError:
        return None


def _apart_mm(image: nib.Nifti1Image, qform: np.ndarray, sform: np.ndarray) -> float:
    """How far apart the two put the outermost voxels, in the header's unit; 0 where rounding explains it.

    Of a sheared sform, as of a tilted gantry, the qform can hold no more than a near rotation: then only the first
    voxel's place and the axes' directions count.
    """
    last = np.array((*image.shape, 1)[:3]) - 1
    indices = np.array([(*corner, 1) for corner in itertools.product(*((0, each) for each in last))])
    if is_sheared(sform) and _least_cosine(qform, sform) > _SAME_DIRECTION:
        indices = indices[:1]
    apart = float(np.linalg.norm(indices @ (qform - sform).T, axis=1).max())
    sides = np.linalg.norm(sform[:3, :3], axis=0)
    explained = sides.min() / 2 + _FORMS_APART * float(np.linalg.norm(sides * last))
    return apart if apart > explained else 0.0


def _least_cosine(qform: np.ndarray, sform: np.ndarray) -> float:
    """The cosine of the largest angle between an axis of one and the same axis of the other."""
    first, second = (form[:3, :3] / np.linalg.norm(form[:3, :3], axis=0) for form in (qform, sform))
    return float((first * second).sum(axis=0).min())


def _in_words(affine: np.ndarray, code: int) -> str:
    """The axes as letters, where the first voxel lies, and the code: `RAS from -90, -126, -72, code 1`."""
    axes = "".join(letter or "?" for letter in nib.aff2axcodes(affine))
    return f"{axes} from {', '.join(f'{each:.4g}' for each in affine[:3, 3])}, code {code}"
