"""Whether one compressed frame is whole and of the size that its header states, before a decoder sees it.

Decoders make up what is missing. Each check is by the markers of the format: JPEG (ITU-T T.81 annex B), JPEG-LS
(T.87 annex C), JPEG 2000 (T.800 annex A), RLE (PS3.5 annex G).
"""

from __future__ import annotations

import itertools
import re
import struct

from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from swinunet.client.dicom.files import ImageFile
from swinunet.client.dicom.sources import FaultError

# The strictest decoder of each: pyjpegls and openjpeg refuse what gdcm and Pillow make up.
DECODERS = {
    JPEGBaseline8Bit: "gdcm",
    JPEGExtended12Bit: "gdcm",
    JPEGLossless: "gdcm",
    JPEGLosslessSV1: "gdcm",
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    JPEG2000Lossless: "pylibjpeg",
    JPEG2000: "pylibjpeg",
    HTJ2KLossless: "pylibjpeg",
    HTJ2KLosslessRPCL: "pylibjpeg",
    HTJ2K: "pylibjpeg",
    RLELossless: "pydicom",
}
_RLE_HEADER_BYTES = 64
_RLE_MAX_RATIO = 64  # two bytes become 128 at most
_END = b"\xff\xd9"  # EOI of JPEG and JPEG-LS, EOC of JPEG 2000
_J2K_START, _J2K_TILE, _J2K_DATA = b"\xff\x4f\xff\x51", b"\xff\x90", b"\xff\x93"
_J2K_FORBIDDEN = re.compile(rb"\xff[\x90\x93-\xff]")  # T.800 B.10.1: packets hold no marker but SOP and EPH
_NOT_A_FRAME = (0xC4, 0xC8, 0xCC)  # DHT, JPG, DAC lie among the SOF markers
_NO_SEGMENT = range(0xD0, 0xDA)  # RST, SOI and EOI stand alone, and never in a header
_START_OF_SCAN = 0xDA


def check_codestream(codestream: bytes, file: ImageFile) -> None:
    """Raise FaultError unless the frame begins, ends and is as large as `file` says."""
    assert file.layout is not None
    syntax = file.layout.syntax.name
    if "RLE" in syntax:
        _check_rle(codestream, file)
    elif "JPEG 2000" in syntax or "High-Throughput" in syntax:
        _check_j2k(codestream, file, packets_checked="High-Throughput" not in syntax)
    elif "JPEG" in syntax:
        _check_jpeg(codestream, file)


def _check_jpeg(codestream: bytes, file: ImageFile) -> None:
    if not codestream.startswith(b"\xff\xd8"):
        raise FaultError("a compressed frame does not begin as JPEG")
    _require_end(codestream)
    at = 2
    while True:
        if at + 4 > len(codestream) or codestream[at] != 0xFF:
            raise FaultError("a compressed frame has a damaged header")
        marker = codestream[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker < 0xC0 or marker in _NO_SEGMENT:
            raise FaultError("a compressed frame has a marker where there can be none")
        if (0xC0 <= marker <= 0xCF and marker not in _NOT_A_FRAME) or marker == 0xF7:
            _, rows, columns, components = struct.unpack(">BHHB", codestream[at + 4 : at + 10])
            _require_size(rows, columns, components, file)
        if marker == _START_OF_SCAN:
            break
        at += 2 + int.from_bytes(codestream[at + 2 : at + 4], "big")
    if codestream.find(_END, at) + len(_END) != len(_unpadded(codestream)):
        raise FaultError("a compressed frame holds more than one image")


def _check_j2k(codestream: bytes, file: ImageFile, packets_checked: bool) -> None:
    start = codestream.find(_J2K_START)
    if start < 0 or (start > 0 and codestream[4:8] != b"jP  "):
        raise FaultError("a compressed frame does not begin as JPEG 2000")
    if len(codestream) < start + 42:
        raise FaultError("a compressed frame has a damaged header")
    right, bottom, left, top = struct.unpack(">4L", codestream[start + 8 : start + 24])
    (components,) = struct.unpack(">H", codestream[start + 40 : start + 42])
    _require_size(bottom - top, right - left, components, file)
    _require_end(codestream)
    at = codestream.find(_J2K_TILE, start)
    if at < 0:
        raise FaultError("a compressed frame has no tiles")
    while codestream[at : at + 2] == _J2K_TILE:
        (length,) = struct.unpack(">L", codestream[at + 6 : at + 10].rjust(4, b"\0"))
        end = at + length if length else codestream.rfind(_END)
        data = codestream.find(_J2K_DATA, at, end)
        if end > len(codestream) - len(_END) or data < 0:
            raise FaultError("a compressed frame ends within a tile")
        if packets_checked and _J2K_FORBIDDEN.search(codestream, data + 2, end):
            raise FaultError("a compressed frame has a marker where there can be none")
        at = end
    if _unpadded(codestream[at:]) != _END:
        raise FaultError("a compressed frame has a damaged tile")


def _check_rle(codestream: bytes, file: ImageFile) -> None:
    assert file.layout is not None
    header = codestream[:_RLE_HEADER_BYTES]
    if len(header) < _RLE_HEADER_BYTES:
        raise FaultError("a compressed frame has a damaged header")
    count, *offsets = struct.unpack("<16L", header)
    expected = file.samples_per_pixel * file.layout.bits_allocated // 8
    starts = [*offsets[:count], len(codestream)]
    if count != expected or starts[0] != _RLE_HEADER_BYTES or starts != sorted(set(starts)):
        raise FaultError(f"a compressed frame has {count} segments where {expected} are needed, or in no order")
    needed = file.rows * file.columns
    shortest = min(end - begin for begin, end in itertools.pairwise(starts))
    if shortest * _RLE_MAX_RATIO < needed:
        raise FaultError(f"a compressed frame has a segment of {shortest} bytes for {needed} pixels")


def _unpadded(codestream: bytes) -> bytes:
    """Without what makes its length even: zeros (PS3.5 A.4), or the one 0xFF of some scanners."""
    return codestream.rstrip(b"\0").removesuffix(b"\xff")


def _require_end(codestream: bytes) -> None:
    """The last marker, behind which only padding to an even length may follow."""
    if not _unpadded(codestream).endswith(_END):
        raise FaultError("a compressed frame ends without its end marker")


def _require_size(rows: int, columns: int, components: int, file: ImageFile) -> None:
    if (rows, columns, components) != (file.rows, file.columns, file.samples_per_pixel):
        raise FaultError(
            f"a compressed frame holds {columns} x {rows} pixels of {components} samples, the header states "
            f"{file.columns} x {file.rows} of {file.samples_per_pixel}"
        )
