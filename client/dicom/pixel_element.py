"""The pixel data element of a file: that it is as long as the header needs it to be, before anything is allocated."""

from __future__ import annotations

import struct
import zlib

from pydicom.dataset import FileDataset
from pydicom.uid import UID

from swinunet.client.dicom.sources import MAX_RATIO, SMALL_BYTES, ClampedStream, FaultError

UNDEFINED_LENGTH = 0xFFFFFFFF
_ITEM, _SEQUENCE_DELIMITER = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
_PIXEL_DATA, _PIXEL_DATA_BIG = b"\xe0\x7f\x10\0", b"\x7f\xe0\0\x10"
_DEFLATED = b"\x02\0\x10\0UI\x16\x001.2.840.10008.1.2.1.99"  # the transfer syntax element with that value
_GROUP_LENGTH = b"\x02\0\0\0"  # the tag that follows preamble and prefix (PS3.10 7.1); its value is in bytes 140 to 143
_META_HEAD_BYTES = 4096  # in which a deflated file names its transfer syntax
_MAX_INFLATED_BYTES = 1 << 30  # and, of a data set larger than SMALL_BYTES, MAX_RATIO times the deflated ones
_MAX_FRAMES = 1 << 16


def check_pixel_element(stream: ClampedStream, dataset: FileDataset) -> None:
    """Compare the stated length of the pixel data element, at which `stream` stands, with what the file holds.

    Raises FaultError: no pixel data, cut short, fewer bytes or fragments than the frames need.
    """
    frames = int(dataset.get("NumberOfFrames") or 1)
    if not 1 <= frames <= _MAX_FRAMES:
        raise FaultError(f"it has {frames} frames, expected 1 to {_MAX_FRAMES}")
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_deflated:
        return  # the decoder compares lengths; inflating is bounded
    _, length = read_element_head(stream, syntax)
    if length == UNDEFINED_LENGTH:
        _check_fragments(stream, frames)
        return
    held = stream.size_bytes - stream.tell()
    if held < length:
        raise FaultError(f"its pixel data ends after {held} of {length} bytes; the file is truncated")
    bits = dataset.Rows * dataset.Columns * int(dataset.get("SamplesPerPixel") or 1) * dataset.BitsAllocated * frames
    if length * 8 < bits and "422" not in dataset.PhotometricInterpretation:
        raise FaultError(f"its pixel data has {length} bytes where {-(-bits // 8)} are needed")
    if length * 8 >= bits + bits // frames:
        raise FaultError(f"its pixel data has {length} bytes, more than its {frames} frames fill ({-(-bits // 8)})")


def read_element_head(stream: ClampedStream, syntax: UID) -> tuple[str, int]:
    """VR and stated length of the pixel data (PS3.5 7.1.2 and 7.1.3); the stream stands at its value then."""
    head = stream.read(8 if syntax.is_implicit_VR else 12)
    if len(head) < (8 if syntax.is_implicit_VR else 12):
        raise FaultError("it has no pixel data; the file is truncated")
    if head[:4] != (_PIXEL_DATA if syntax.is_little_endian else _PIXEL_DATA_BIG):
        raise FaultError("its pixels are floating-point numbers, which this software does not read")
    (length,) = struct.unpack("<L" if syntax.is_little_endian else ">L", head[-4:])
    return "OW" if syntax.is_implicit_VR else head[4:6].decode("latin-1"), int(length)


def check_inflated_size(stream: ClampedStream) -> None:
    """Raise FaultError if a deflated data set (PS3.5 A.5) inflates beyond bounds; pydicom would inflate all of it."""
    try:
        head = stream.read(_META_HEAD_BYTES)
        if _DEFLATED not in head:
            return
        if head[132:136] != _GROUP_LENGTH:
            raise FaultError("its meta information does not begin with its length")
        stream.seek(144 + int.from_bytes(head[140:144], "little"))
        inflater, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
        most = min(_MAX_INFLATED_BYTES, max(SMALL_BYTES, MAX_RATIO * stream.size_bytes))
        data = stream.read(1 << 16)
        while data and not inflater.eof:
            total += len(inflater.decompress(data, 1 << 20))
            if total > most:
                raise FaultError(f"it inflates from {stream.size_bytes} to more than {most} bytes")
            data = inflater.unconsumed_tail or stream.read(1 << 16)
        if not inflater.eof:
            raise FaultError("its compressed data set ends early; the file is truncated")
    except zlib.error:
        raise FaultError("its compressed data set is damaged") from None
    finally:
        stream.seek(0)


def _check_fragments(stream: ClampedStream, frames: int) -> None:
    """Step over the fragments of encapsulated pixel data (PS3.5 A.4): decoders accept some that end too early."""
    items = 0
    while True:
        head = stream.read(8)
        if len(head) < 8:
            raise FaultError(f"its compressed pixel data ends after {items} fragments; the file is truncated")
        group, element, length = struct.unpack("<HHL", head)
        if (group, element) == _SEQUENCE_DELIMITER:
            break
        if (group, element) != _ITEM:
            raise FaultError("its compressed pixel data is damaged")
        if stream.tell() + length > stream.size_bytes:
            raise FaultError(f"its compressed pixel data ends within fragment {items}; the file is truncated")
        stream.seek(length, 1)
        items += 1
    if items - 1 < frames:  # the first item is the basic offset table
        raise FaultError(f"its compressed pixel data has {items - 1} fragments for {frames} frames")
