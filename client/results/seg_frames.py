"""A result mask as the frames of a DICOM Segmentation, one in memory at a time, however many classes there are.

Which frames there are, and in which order, is what the object's Per-frame Functional Groups say (PS3.3 C.7.6.16.1.2).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from swinunet.client.dicom.source_images import SourceImages
from swinunet.client.segments import Segment
from swinunet.foundation.errors import OutputError

# Slice k, None for an empty plane beside a source's only slice; segment number, None in a label map, whose frames hold
# all segments.
Key = tuple[int | None, int | None]


class MaskFrames:
    """The mask [I, J, K] of `segments`, cut into frames [rows, columns].

    voxels: int64 [K, S], how many of slice k belong to segment s + 1.
    Raises OutputError if the mask is not on the source's grid or has values that no segment names.
    """

    def __init__(self, mask: np.ndarray, segments: Sequence[Segment], source: SourceImages) -> None:
        if [segment.number for segment in segments] != list(range(1, len(segments) + 1)):
            raise OutputError("a DICOM SEG's segment numbers must run from 1 upwards without a gap")
        if mask.shape != source.shape:
            raise OutputError(
                f"the mask has {mask.shape} voxels, its source images {source.shape} (columns, rows, slices)"
            )
        values = [segment.mask_value for segment in segments]
        by_value = np.stack([np.bincount(each.ravel(), minlength=256) for each in mask.transpose(2, 1, 0)])
        if by_value.sum() != by_value[:, [0, *values]].sum():
            raise OutputError("the mask has values that no segment names")
        self.segments, self.voxels = segments, by_value[:, values]
        self._slices, self._values = mask.transpose(2, 1, 0), values
        self._numbers = np.zeros(256, np.uint8)
        self._numbers[values] = np.arange(1, len(segments) + 1)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self._slices.shape[1:]

    def frame(self, key: Key) -> np.ndarray:
        """Where a segment is on a slice, bool, or the segment numbers of all, uint8: [rows, columns]."""
        k, number = key
        if k is None:
            return np.zeros(self.shape, np.uint8 if number is None else bool)
        return self._numbers[self._slices[k]] if number is None else self._slices[k] == self._values[number - 1]

    def outline(self) -> np.ndarray:
        """A tiny mask with the same segments on the same slices: uint8 [K, 1, S], filled up to whole bytes of bits."""
        found = np.where(self.voxels > 0, np.arange(1, len(self.segments) + 1, dtype=np.uint8), 0)
        return np.pad(found, [(0, 0), (0, -len(self.segments) % 8)])[:, None]

    def digest(self) -> str:
        """SHA-256 of the segment numbers, in the order of slices, rows and columns."""
        digest = hashlib.sha256()
        for k in range(len(self._slices)):
            digest.update(self.frame((k, None)).tobytes())
        return digest.hexdigest()


def source_items(seg: Dataset) -> list[Dataset | None]:
    """Each frame's reference to its source image (Derivation Image macro, PS3.3 C.7.6.16.2.6), in frame order.

    None for a frame that is derived from no image.
    """
    derived = (frame.DerivationImageSequence for frame in seg.PerFrameFunctionalGroupsSequence)
    return [each[0].SourceImageSequence[0] if each else None for each in derived]


def frame_keys(seg: Dataset, source: SourceImages) -> list[Key]:
    """What each frame of `seg` is of, in their order; slice -1 for an image outside the source, None for none."""
    slice_of = {reference: k for k, reference in enumerate(source.references)}
    shared = seg.SharedFunctionalGroupsSequence[0]
    keys: list[Key] = []
    for frame, item in zip(seg.PerFrameFunctionalGroupsSequence, source_items(seg), strict=True):
        k = None
        if item is not None:
            k = slice_of.get((str(item.ReferencedSOPInstanceUID), item.get("ReferencedFrameNumber")), -1)
        keys.append((k, None if seg.SegmentationType == "LABELMAP" else _segment_number(frame, shared)))
    return keys


def pack_frames(frames: Iterable[np.ndarray], file: IO[bytes]) -> None:
    """Write frames as Pixel Data: uint8 a byte a pixel, bool a bit, frame upon frame without a gap (PS3.5 8.1.1).

    The length is even (PS3.5 7.1.1), with a zero byte at the end where it must be: pydicom (3.0.2) adds one to a
    value that it copies from a file, and leaves the length odd that it writes before it.
    """
    length = 0
    for pixels in _whole_bytes(frames):
        length += file.write((np.packbits(pixels, bitorder="little") if pixels.dtype == bool else pixels).tobytes())
    file.write(bytes(length % 2))


def read_frames(file: IO[bytes]) -> tuple[Dataset, Iterator[np.ndarray]]:
    """A DICOM SEG without its pixels, and its frames: uint8 [rows, columns]; of a binary segmentation 0 and 1.

    file: explicit VR little endian, as `write_seg` writes, and open until the last frame was read. pydicom's own
    iter_pixels (3.0.2) reads a byte too little of frames that begin within one.
    Raises ValueError if the Pixel Data are not as long as the frames.
    """
    seg = pydicom.dcmread(file, stop_before_pixels=True)
    size, count = seg.Rows * seg.Columns * seg.BitsAllocated, seg.NumberOfFrames
    group, element, _, length = struct.unpack("<HH4sI", file.read(12))
    if (group, element) != (0x7FE0, 0x0010) or not 0 <= length - size * count / 8 < 2:
        raise ValueError(f"no Pixel Data of {count} frames")
    return seg, _stored_frames(file, seg, range(0, size * count, size))


def _stored_frames(file: IO[bytes], seg: Dataset, first_bits: range) -> Iterator[np.ndarray]:
    begin, size = file.tell(), seg.Rows * seg.Columns
    for first in first_bits:
        file.seek(begin + first // 8)
        values = np.frombuffer(file.read((first + first_bits.step + 7) // 8 - first // 8), np.uint8)
        if seg.BitsAllocated == 1:
            values = np.unpackbits(values, bitorder="little")[first % 8 :][:size]
        yield values.reshape(seg.Rows, seg.Columns)


def _whole_bytes(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The same pixels in pieces of a multiple of 8, but for the last."""
    rest: np.ndarray | None = None
    for frame in frames:
        pixels = frame.ravel() if rest is None else np.concatenate([rest, frame.ravel()])
        whole = len(pixels) // 8 * 8
        yield pixels[:whole]
        rest = pixels[whole:]
    if rest is not None:
        yield rest


def _segment_number(frame: Dataset, shared: Dataset) -> int:
    group = frame if "SegmentIdentificationSequence" in frame else shared
    return int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
