"""One series as a volume: decoded slice by slice, with the way back to the source instances."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels import iter_pixels, pixel_array

from client.dicom.files import Frame
from client.dicom.geometry import affine_of
from client.dicom.series import Series, refusal
from imaging import Volume
from swinunet.errors import InputError

_INTEGERS = (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32)  # smallest first
_PIXEL_GROUP = 0x7FE0


@dataclass(frozen=True, eq=False)
class DicomVolume:
    """A volume and where each of its slices came from.

    volume: voxels [I, J, K] (i: column, j: row, k: along the normal), rescaled to real values; affine to LPS mm.
    series: `series.frames[k]` is the source of slice k: its file, SOPInstanceUID, frame number and exact position.
    headers: the source data sets without pixels and private elements, as a DICOM SEG needs them: one a slice, in
        the order of k, or for multi-frame files one a file.
    """

    volume: Volume
    series: Series
    headers: tuple[Dataset, ...]

    def source(self, k: int) -> tuple[str, int | None]:
        """SOPInstanceUID of slice k, and its 1-based frame number if the source is multi-frame."""
        frame = self.series.frames[k]
        return frame.file.sop_instance_uid, frame.number


def read_volume(series: Series) -> DicomVolume:
    """Decode a series into one volume; at any time it holds the volume and one file's slice.

    Stored values become real ones by each frame's RescaleSlope and RescaleIntercept (PS3.3 C.11.1.1.2, C.7.6.16.2.9).
    voxels: the smallest integer type that holds every possible value if all slopes and intercepts are whole numbers,
    else float32. Raises the series' refusal if its verdict is not usable, and InputError, naming the file, if one
    cannot be decoded or is not what its header was when the folder was scanned.
    """
    if not series.verdict.usable:
        raise refusal(series)
    first = series.frames[0].file
    dtype = voxel_dtype(series.frames)
    try:
        slices = np.empty((len(series.frames), first.rows, first.columns), dtype)
    except MemoryError:
        raise InputError(
            f"series {series.uid}: {len(series.frames)} slices of {first.columns} x {first.rows} pixels do not fit "
            "into memory; use a machine with more"
        ) from None
    by_file: dict[Path, list[tuple[int, Frame]]] = {}
    for k, frame in enumerate(series.frames):
        by_file.setdefault(frame.file.path, []).append((k, frame))
    headers: list[Dataset] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom quotes values in its warnings
        for path, items in by_file.items():
            with _errors_named(path):
                multi_frame = items[0][1].file.multi_frame
                header = pydicom.dcmread(path, stop_before_pixels=multi_frame)
                numbers = [frame.number for _, frame in items]
                for (k, frame), stored in zip(items, _stored(path, header, numbers), strict=True):
                    slices[k] = _real_values(frame, stored, dtype)
            headers.append(_bare(header))
    return DicomVolume(Volume(slices.transpose(2, 1, 0), affine_of(series.frames)), series, tuple(headers))


def voxel_dtype(frames: Sequence[Frame]) -> np.dtype:
    """The smallest integer type for whole-number rescaling of what the frames can store, else float32."""
    if not all(float(number).is_integer() for frame in frames for number in (frame.slope, frame.intercept)):
        return np.dtype(np.float32)
    ends = [end * frame.slope + frame.intercept for frame in frames for end in _stored_range(frame)]
    low, high = min(ends), max(ends)
    fitting = (t for t in _INTEGERS if np.iinfo(t).min <= low and high <= np.iinfo(t).max)
    return np.dtype(next(fitting, np.float32))


def _stored_range(frame: Frame) -> tuple[int, int]:
    """Lowest and highest value that BitsStored and PixelRepresentation allow (PS3.3 C.7.6.3.1)."""
    bits = frame.file.bits_stored
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if frame.file.signed else (0, 2**bits - 1)


def _stored(path: Path, header: Dataset, numbers: Sequence[int | None]) -> Iterator[np.ndarray]:
    """Stored values [rows, columns] of a file's frames, one at a time; number None is the file's only frame."""
    indices = [number - 1 for number in numbers if number is not None]
    if indices:
        yield from iter_pixels(path, indices=indices)  # reads no more of the file than a frame
    else:
        yield pixel_array(header)


def _real_values(frame: Frame, stored: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Rescaled values of one frame [rows, columns] as `dtype`."""
    if stored.shape != (frame.file.rows, frame.file.columns):
        raise InputError(
            f"{frame.file.path.name}: decoded to shape {stored.shape}, expected {frame.file.rows} rows and "
            f"{frame.file.columns} columns; fetch the file again"
        )
    low, high = _stored_range(frame)
    if stored.min() < low or stored.max() > high:
        raise InputError(
            f"{frame.file.path.name}: values from {stored.min()} to {stored.max()}, but its BitsStored "
            f"({frame.file.bits_stored}) allows {low} to {high}; the file is inconsistent"
        )
    if dtype.kind == "f":
        return (stored.astype(np.float64) * frame.slope + frame.intercept).astype(dtype)
    if (frame.slope, frame.intercept) == (1, 0):
        return stored.astype(dtype, copy=False)
    return (stored.astype(np.int64) * int(frame.slope) + int(frame.intercept)).astype(dtype)


def _bare(header: Dataset) -> Dataset:
    """The data set without pixel data and private elements."""
    for tag in [tag for tag in header.keys() if tag.is_private or tag.group == _PIXEL_GROUP]:  # noqa: SIM118
        del header[tag]
    return header


@contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises into an InputError that names the file."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{path.name}: its pixels cannot be decoded ({type(error).__name__}): the file is damaged, has changed "
            "since the folder was read, or is compressed in a way this software does not know; fetch it again"
        ) from None
