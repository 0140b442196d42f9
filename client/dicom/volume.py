"""One series as a volume: decoded slice by slice, with the way back to the source instances."""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from swinunet.client.dicom.files import Frame
from swinunet.client.dicom.frames import OpenFile
from swinunet.client.dicom.geometry import affine_of
from swinunet.client.dicom.quiet import quiet
from swinunet.client.dicom.series import Series
from swinunet.client.dicom.series_selector import refusal
from swinunet.client.dicom.source_images import SourceImages
from swinunet.client.dicom.workers import WorkerError, map_in_processes
from swinunet.foundation.errors import GeometryError, InputError
from swinunet.imaging import Volume

_INTEGERS = (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32)  # smallest first
_FRAMES_A_TASK = 8  # that a process decodes at once
_MULTI_FRAMES_A_TASK = 64  # of a multi-frame file, whose header is long
_FEWEST_COMPRESSED = 48  # frames from which decoding in several processes pays


@dataclass(frozen=True, eq=False)
class DicomVolume:
    """A volume and where each of its slices came from.

    volume: voxels [I, J, K] (i: column, j: row, k: along the normal), rescaled to real values; affine to LPS mm.
    series: `series.frames[k]` is the frame of slice k: its file and exact position.
    source: the headers without pixels and private elements, as a DICOM SEG needs them, and each slice's reference.
    """

    volume: Volume
    series: Series
    source: SourceImages


@dataclass(frozen=True, eq=False)
class Slice:
    """One decoded slice. k: its place in the volume. values: real ones [rows, columns].

    padding: bool [rows, columns], true where the file says that there is no pixel; None if nowhere.
    header: of the slice's file, without pixels and private elements, with one of the file's slices at least.
    """

    k: int
    values: np.ndarray
    padding: np.ndarray | None
    header: Dataset | None


def read_volume(series: Series, allow: Collection[str] = ()) -> DicomVolume:
    """Decode a series into one volume; at any time it holds the volume and a few slices.

    Stored values become real ones by each frame's RescaleSlope and RescaleIntercept (PS3.3 C.11.1.1.2, C.7.6.16.2.9)
    or by the modality lookup table (C.11.1.1.1). Padding becomes the lowest real value elsewhere in the volume, so that
    it reads as air; in statistics it counts as air does, as in training data, which no converter gives a mask.
    voxels: `voxel_dtype`. allow: verdicts to overrule, "tilted" (the affine is sheared then) and "gap" (slices are
    placed evenly then). Raises the series' refusal if its verdict is not usable, and InputError, naming the file,
    or the series if a process dies of it, if one cannot be decoded or is not what it was when the folder was scanned.
    """
    if not series.verdict.readable(allow):
        raise refusal(series)
    first = series.frames[0].file
    slices = _empty(series, (len(series.frames), first.rows, first.columns))
    headers: dict[str, Dataset] = {}
    paddings: dict[int, np.ndarray] = {}
    lowest: list[float] = []
    for one in iter_slices(series, allow):
        slices[one.k] = one.values
        if one.header is not None:
            headers.setdefault(series.frames[one.k].file.sop_instance_uid, one.header)
        if one.padding is not None:
            paddings[one.k] = np.packbits(one.padding)
        lowest += [] if one.padding is not None and one.padding.all() else [_lowest(one)]
    for k, packed in paddings.items():
        padding = np.unpackbits(packed, count=slices[k].size).reshape(slices[k].shape).astype(bool)
        slices[k][padding] = min(lowest, default=0)
    volume = Volume(slices.transpose(2, 1, 0), affine_of(series.frames))
    return DicomVolume(volume, series, _source_images(series, headers))


def read_phases(
    phases: Sequence[Series], allow: Collection[str] = (), first: Volume | None = None
) -> Iterator[DicomVolume]:
    """Each phase of a series in time, in order; one is in memory at a time.

    first: of the series, where it was read already and `phases` are the others.
    Raises what `read_volume` raises, and GeometryError, naming the phase, for one on another grid than the first.
    """
    for series in phases:
        found = read_volume(series, allow)
        first = first or found.volume.with_voxels(np.broadcast_to(found.volume.voxels[:1, :1, :1], found.volume.shape))
        if not found.volume.same_grid(first):
            assert series.phase
            raise GeometryError(
                f"series {series.selector}: {series.phase.text}: its grid is {found.volume.shape}, that of the first "
                f"phase {first.shape}, or they lie apart; choose one phase with --series UID#NUMBER"
            )
        yield found


def _source_images(series: Series, headers: Mapping[str, Dataset]) -> SourceImages:
    """The images of a series; headers: of each instance, by UID. An instance is called as when it was scanned."""
    references = tuple((frame.file.sop_instance_uid, frame.number) for frame in series.frames)
    in_order = {uid: headers[uid] for uid, _ in references}
    with quiet():
        for uid, header in in_order.items():
            if header.get("SOPInstanceUID") != uid:  # it was taken from the meta information, or its readable part
                header.SOPInstanceUID = uid
    lacks = dict.fromkeys(name for frame in series.frames for name in frame.file.lacks)
    return SourceImages(tuple(in_order.values()), references, tuple(lacks))


def iter_slices(series: Series, allow: Collection[str] = ()) -> Iterator[Slice]:
    """The slices of a series, decoded when asked for: in the order of k, but for multi-frame files interleaved.

    A caller may work on one slice while the next is read; compressed ones are decoded on all cores. Raises as
    `read_volume` does.
    """
    if not series.verdict.readable(allow):
        raise refusal(series)
    dtype, first = voxel_dtype(series.frames), series.frames[0].file
    assert first.layout is not None
    costly = first.layout.syntax.is_encapsulated and len(series.frames) >= _FEWEST_COMPRESSED
    indexed = _by_file(series.frames)
    if costly and first.source.is_file:
        size = _MULTI_FRAMES_A_TASK if first.multi_frame else _FRAMES_A_TASK
        tasks = [(indexed[start : start + size], dtype) for start in range(0, len(indexed), size)]
        try:
            for decoded in map_in_processes(_decode_all, tasks, fewest=2, chunk=1):
                yield from decoded
        except WorkerError as failed:
            raise InputError(f"series {series.selector}: {failed}") from None
    else:
        yield from _decode(indexed, dtype)


def voxel_dtype(frames: Sequence[Frame]) -> np.dtype:
    """The smallest integer type for whole-number rescaling of what the frames can store, else float32."""
    if not all(float(number).is_integer() for frame in frames for number in (frame.slope, frame.intercept)):
        return np.dtype(np.float32)
    scales = {(frame.slope, frame.intercept, frame.file.layout) for frame in frames}
    ends = [
        end * slope + intercept
        for slope, intercept, layout in scales
        if layout is not None
        for end in layout.table or layout.stored_range
    ]
    low, high = min(ends), max(ends)
    fitting = (t for t in _INTEGERS if np.iinfo(t).min <= low and high <= np.iinfo(t).max)
    return np.dtype(next(fitting, np.float32))


def _by_file(frames: Sequence[Frame]) -> list[tuple[int, Frame]]:
    """The frames with their places, those of one file side by side."""
    by_file: dict[Path, list[tuple[int, Frame]]] = {}
    for k, frame in enumerate(frames):
        by_file.setdefault(frame.file.path, []).append((k, frame))
    return [indexed for group in by_file.values() for indexed in group]


def _decode(indexed: Sequence[tuple[int, Frame]], dtype: np.dtype) -> Iterator[Slice]:
    for _, group in itertools.groupby(indexed, lambda item: item[1].file.path):
        items = list(group)
        with OpenFile(items[0][1].file) as opened:
            header: Dataset | None = opened.header
            for k, frame in items:
                yield Slice(k, *opened.read(frame, dtype), header)
                header = None


def _decode_all(task: tuple[Sequence[tuple[int, Frame]], np.dtype]) -> list[Slice]:
    return list(_decode(*task))


def _empty(series: Series, shape: tuple[int, int, int]) -> np.ndarray:
    """Room for the volume. Raises InputError if the machine has not that much memory."""
    dtype = voxel_dtype(series.frames)
    held = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        if np.prod(shape, dtype=float) * dtype.itemsize > held:
            raise MemoryError
        return np.empty(shape, dtype)
    except MemoryError:
        raise InputError(
            f"series {series.selector}: {shape[0]} slices of {shape[2]} x {shape[1]} pixels do not fit "
            "into memory; use a machine with more"
        ) from None


def _lowest(one: Slice) -> float:
    return float(one.values.min() if one.padding is None else one.values[~one.padding].min())
