"""NIfTI files as Volumes. NIfTI's world is RAS mm, ours is LPS mm: x and y change sign here and nowhere else."""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np

from swinunet.foundation.errors import GeometryError, InputError
from swinunet.foundation.files import written_aside
from swinunet.imaging.volume import VOXEL_MM, Volume

_RAS_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_DEFLATE_RATIO = 1032  # more than this zlib cannot unpack from a byte
nib.imageglobals.logger.setLevel(logging.CRITICAL)  # it would print what it mends in headers


def read_nifti(path: Path) -> Volume:
    """Read a three-dimensional NIfTI-1 file, scaled (scl_slope, scl_inter): float32 voxels [I, J, K].

    Trailing axes of length 1 are dropped; a file of two axes is a volume of one slice. Raises InputError if the file
    is missing, broken, or not one volume.
    """
    voxels, affine = _read(path)
    while voxels.ndim > 3 and voxels.shape[-1] == 1:
        voxels = voxels[..., 0]
    if voxels.ndim != 3:
        raise InputError(
            f"{path}: found {voxels.ndim} axes {voxels.shape}, expected one volume of three axes; split the file"
        )
    return _volume(voxels, affine, path)


def read_nifti_modalities(path: Path) -> tuple[Volume, ...]:
    """Read a NIfTI-1 file whose fourth axis, if it has one, is the modality: a float32 Volume [I, J, K] for each.

    Raises InputError if the file is missing, broken, or has more axes than that.
    """
    voxels, affine = _read(path)
    if voxels.ndim == 5 and voxels.shape[3] == 1:  # NIfTI's vectors: the fourth axis is time
        voxels = voxels[:, :, :, 0]
    if voxels.ndim == 3:
        voxels = voxels[..., None]
    if voxels.ndim != 4:
        raise InputError(
            f"{path}: found {voxels.ndim} axes {voxels.shape}, expected three, or four with the modality as the last"
        )
    return tuple(_volume(voxels[..., index], affine, path) for index in range(voxels.shape[3]))


def read_nifti_labels(path: Path) -> Volume:
    """Read a label map: uint8 voxels [I, J, K]. Raises InputError if a value is not a whole number in 0..255."""
    volume = read_nifti(path)
    whole = np.rint(volume.voxels)
    if not np.array_equal(whole, volume.voxels) or whole.min() < 0 or whole.max() > 255:
        raise InputError(f"{path}: labels must be whole numbers from 0 to 255")
    return Volume(whole.astype(np.uint8), volume.affine)


def read_nifti_grid(path: Path) -> tuple[tuple[int, int, int], np.ndarray]:
    """Shape of the first three axes and affine to LPS mm, from the header alone. Raises InputError as `read_nifti`."""
    image = _open(path)
    first, second, third, *_ = (*image.shape, 1, 1, 1)
    return (first, second, third), _RAS_LPS @ image.affine


def write_nifti(volume: Volume, path: Path) -> None:
    """Write a volume (.nii or .nii.gz) with sform and qform in scanner coordinates; written aside, then renamed.

    A sheared affine (of tilted slices) is in the sform alone: a qform cannot hold it, and is marked as unknown.
    Raises OutputError if the file cannot be written.
    """
    image = nib.Nifti1Image(volume.voxels, _RAS_LPS @ volume.affine)
    image.set_sform(image.affine, code=1)
    image.set_qform(image.affine, code=0 if _is_sheared(volume.affine) else 1)
    image.header.set_xyzt_units("mm")
    with written_aside(path) as aside:
        nib.save(image, str(aside))


def _is_sheared(affine: np.ndarray) -> bool:
    """Whether the axes depart from right angles by more than rounding: a cosine above 1e-3, a twentieth of a degree."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() > 1e-3)


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels of three axes or more, float32, and the affine to LPS mm."""
    image = _open(path)
    with _one_line(path):
        voxels = np.asarray(image.dataobj, dtype=np.float32)
        affine = _RAS_LPS @ image.affine
    return voxels[..., None] if voxels.ndim == 2 else voxels, affine


def _open(path: Path) -> nib.Nifti1Image:
    with _one_line(path):
        image = nib.Nifti1Image.from_filename(str(path))
        _check_size(image, path)
        return image


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """Whatever nibabel raises or warns of, as one InputError."""
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except InputError:
        raise
    except Exception as error:  # nibabel, gzip and zlib each raise their own
        raise InputError(f"{path}: not a readable NIfTI file ({type(error).__name__}); is it complete?") from None


def _check_size(image: nib.Nifti1Image, path: Path) -> None:
    """Raise InputError if the header claims what the file cannot hold, or memory; and for values that are no reals."""
    dtype, shape = image.get_data_dtype(), image.shape
    if dtype.kind not in "iuf":
        raise InputError(f"{path}: its voxels are {dtype}, expected one real number each; convert the file")
    count = math.prod(shape)
    held = path.stat().st_size * (_DEFLATE_RATIO if path.name.lower().endswith(".gz") else 1)
    if count * dtype.itemsize > held:
        raise InputError(f"{path}: its header claims {shape} voxels of {dtype}, for which the file is too short")
    if count * (dtype.itemsize + 4) > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
        raise InputError(f"{path}: {shape} voxels do not fit into memory; use a machine with more")


def _volume(voxels: np.ndarray, affine: np.ndarray, path: Path) -> Volume:
    """The Volume. Raises GeometryError, naming the file, for what `Volume` refuses and for absurd voxels."""
    try:
        volume = Volume(voxels, affine)
    except GeometryError as error:
        raise GeometryError(f"{path}: {error}") from None
    for mm in volume.spacing_mm:
        if not VOXEL_MM[0] <= mm <= VOXEL_MM[1]:
            raise GeometryError(
                f"{path}: a voxel of {mm:g} mm, expected {VOXEL_MM[0]:g} to {VOXEL_MM[1]:g} mm; correct the header"
            )
    return volume
