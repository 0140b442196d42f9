"""NIfTI files as Volumes."""

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
from swinunet.imaging.nifti_affine import RAS_LPS, SPACES, affine_of, is_sheared
from swinunet.imaging.phase_stack import PhaseStack
from swinunet.imaging.volume import VOXEL_MM, Space, Volume

_DEFLATE_RATIO = 1032  # more than this zlib cannot unpack from a byte
nib.imageglobals.logger.setLevel(logging.CRITICAL)  # it would print what it mends in headers


def read_nifti(path: Path, *, assume_ras: bool = False) -> Volume:
    """Read a three-dimensional NIfTI-1 file, scaled (scl_slope, scl_inter): float32 voxels [I, J, K].

    Trailing axes of length 1 are dropped; a file of two axes is a volume of one slice. Lengths are converted to mm from
    the header's unit (xyzt_units). assume_ras: of a file with neither qform nor sform, which says nothing of the
    patient, take the axes as Right, Anterior, Superior (method 1 of nifti1.h); `Volume.space` is "unknown" then.
    Raises InputError if the file is missing, broken, or not one volume, GeometryError if it says of no axis where in
    the patient it points and nothing may be assumed, or its qform and sform contradict each other.
    """
    voxels, affine, space = _read(path, assume_ras)
    while voxels.ndim > 3 and voxels.shape[-1] == 1:
        voxels = voxels[..., 0]
    if voxels.ndim != 3:
        raise InputError(
            f"{path}: found {voxels.ndim} axes {voxels.shape}, expected one volume of three axes; split the file, or "
            "give a series in time as DICOM, whose phases are segmented together"
        )
    return _volume(voxels, affine, space, path)


def read_nifti_modalities(path: Path, *, assume_ras: bool = False) -> tuple[Volume, ...]:
    """Read a NIfTI-1 file whose fourth axis, if it has one, is the modality: a float32 Volume [I, J, K] for each.

    assume_ras: as in `read_nifti`. Raises InputError if the file is missing, broken, or has more axes than that, and
    GeometryError as `read_nifti`.
    """
    voxels, affine, space = _read(path, assume_ras)
    if voxels.ndim == 5 and voxels.shape[3] == 1:  # NIfTI's vectors: the fourth axis is time
        voxels = voxels[:, :, :, 0]
    if voxels.ndim == 3:
        voxels = voxels[..., None]
    if voxels.ndim != 4:
        raise InputError(
            f"{path}: found {voxels.ndim} axes {voxels.shape}, expected three, or four with the modality as the last"
        )
    return tuple(_volume(voxels[..., index], affine, space, path) for index in range(voxels.shape[3]))


def read_nifti_labels(path: Path, *, assume_ras: bool = False) -> Volume:
    """Read a label map: uint8 voxels [I, J, K]. Raises InputError if a value is not a whole number in 0..255."""
    volume = read_nifti(path, assume_ras=assume_ras)
    whole = np.rint(volume.voxels)
    if not np.array_equal(whole, volume.voxels) or whole.min() < 0 or whole.max() > 255:
        raise InputError(f"{path}: labels must be whole numbers from 0 to 255")
    return volume.with_voxels(whole.astype(np.uint8))


def read_nifti_grid(path: Path, *, assume_ras: bool = False) -> tuple[tuple[int, int, int], np.ndarray]:
    """Shape of the first three axes and affine to LPS mm, from the header alone. Raises as `read_nifti`."""
    image = _open(path)
    first, second, third, *_ = (*image.shape, 1, 1, 1)
    with _one_line(path):
        return (first, second, third), affine_of(image, path, assume_ras)[0]


def write_nifti(volume: Volume, path: Path) -> None:
    """Write a volume (.nii or .nii.gz), sform and qform in the volume's own space; written aside, then renamed.

    A sheared affine (of tilted slices) is in the sform alone: a qform cannot hold it, and is marked as unknown. Of a
    volume whose space is unknown both are: where a file does not say what is left, neither does what is made of it.
    Raises OutputError if the file cannot be written.
    """
    _write(volume.voxels, volume, path)


def write_nifti_phases(phases: PhaseStack, volume: Volume, step_ms: float | None, path: Path) -> None:
    """Write a series in time as one file of four axes, the phase as the last, placed as `write_nifti` places `volume`.

    step_ms: from one phase to the next, None where it is not known. Raises OutputError if it cannot be written.
    """
    _write(phases.in_time, volume, path, step_ms)


def _write(voxels: np.ndarray, volume: Volume, path: Path, step_ms: float | None = None) -> None:
    """Write voxels [I, J, K] or [I, J, K, T] that lie where those of `volume` do."""
    affine = RAS_LPS @ volume.affine
    image = nib.Nifti1Image(voxels, affine)
    code = next((code for code, space in SPACES.items() if space == volume.space), 0)
    image.set_sform(affine, code=code)
    image.set_qform(affine, code=0 if is_sheared(volume.affine) else code)
    image.header.set_xyzt_units("mm", "msec" if step_ms else "unknown")
    if step_ms:
        image.header["pixdim"][4] = step_ms
    with written_aside(path) as aside:
        nib.save(image, str(aside))


def _read(path: Path, assume_ras: bool) -> tuple[np.ndarray, np.ndarray, Space]:
    """Voxels of three axes or more, float32, the affine to LPS mm, and what the millimetres count from."""
    image = _open(path)
    with _one_line(path):
        affine, space = affine_of(image, path, assume_ras)
        voxels = np.asarray(image.dataobj, dtype=np.float32)
    return voxels[..., None] if voxels.ndim == 2 else voxels, affine, space


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
    except (InputError, GeometryError):
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


def _volume(voxels: np.ndarray, affine: np.ndarray, space: Space, path: Path) -> Volume:
    """The Volume. Raises GeometryError, naming the file, for what `Volume` refuses and for absurd voxels."""
    try:
        volume = Volume(voxels, affine, space)
    except GeometryError as error:
        raise GeometryError(f"{path}: {error}") from None
    for mm in volume.spacing_mm:
        if not VOXEL_MM[0] <= mm <= VOXEL_MM[1]:
            raise GeometryError(
                f"{path}: a voxel of {mm:g} mm, expected {VOXEL_MM[0]:g} to {VOXEL_MM[1]:g} mm; correct the header"
            )
    return volume
