"""The pixels of a file's frames: read one at a time, checked, decoded, as stored values and as real ones."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import apply_modality_lut, get_decoder
from pydicom.uid import UID, JPEGExtended12Bit, JPEGLossless, RLELossless

from swinunet.client.dicom.codestream import DECODERS, check_codestream
from swinunet.client.dicom.files import Frame, ImageFile, PixelLayout
from swinunet.client.dicom.header import parse
from swinunet.client.dicom.pixel_element import read_element_head
from swinunet.client.dicom.quiet import quiet, with_complaints
from swinunet.client.dicom.sources import FaultError
from swinunet.client.dicom.workers import WorkerError, call_in_process
from swinunet.foundation.errors import InputError

_PIXEL_GROUP = 0x7FE0
_TRIES_8_BITS = b"Unsupported JPEG data precision 12"  # its complaint before it takes its reader of 12 bits
_SCAN_HEADER = b"Invalid SOS parameters for sequential JPEG"  # of Ss, Se, Ah and Al, which such a scan does not use
_Task = tuple[UID, bytes, dict[str, Any]]  # transfer syntax, codestream, options of pydicom's decoder


class OpenFile:
    """A DICOM image file whose frames are decoded one at a time, on demand; a context manager.

    header: the data set without pixels and private elements. Every method raises InputError, naming the file, if it
    cannot be decoded or is not what it was when it was scanned: here, and in `header.read_header`, is where every
    exception of pydicom and the codecs becomes ours.
    """

    def __init__(self, file: ImageFile) -> None:
        assert file.layout is not None
        self._file, self._layout = file, file.layout
        with _errors_named(file):
            self._stream = file.source.open()
            dataset = parse(self._stream, whole=self._layout.syntax.is_deflated)
            self._inflated = dataset.PixelData if self._layout.syntax.is_deflated else b""
            self._vr = "OW" if self._inflated else self._vr_of_pixels()
            self._value_at = self._stream.tell()
            self.header: Dataset = _bare(dataset)

    def __enter__(self) -> OpenFile:
        return self

    def __exit__(self, *raised: object) -> None:
        self._stream.close()

    def read(self, frame: Frame, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray | None]:
        """Real values [rows, columns] of one frame as `dtype`, and where padding lies: bool [rows, columns], or None.

        Padding has the lowest value that can be stored. MONOCHROME1 without a unit is turned to MONOCHROME2.
        """
        with _errors_named(self._file):
            stored, padding = self._stored((frame.number or 1) - 1)
            low, high = self._layout.stored_range
            if padding is not None:
                stored[padding] = low
            if stored.min() < low or stored.max() > high:
                raise FaultError(
                    f"values from {stored.min()} to {stored.max()}, but its BitsStored ({self._layout.bits_stored}) "
                    f"allows {low} to {high}; the file is inconsistent"
                )
            if self._file.is_inverted:
                stored = low + high - stored
            if self._layout.table:
                stored = apply_modality_lut(stored, self.header)
            return _rescaled(stored, frame, dtype), padding

    def _vr_of_pixels(self) -> str:
        if self._stream.tell() != self._file.pixels_at:
            raise FaultError("its header has changed since it was scanned")
        return read_element_head(self._stream, self._layout.syntax)[0]

    def _stored(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Stored values of frame `index` from 0, an array that may be written to, and where padding lies."""
        if self._layout.syntax.is_encapsulated and self._layout.syntax != RLELossless:
            stored = self._decoded(index)
            stored = stored if stored.flags.writeable else stored.copy()
            return stored, _within(stored, self._layout.padding)
        cells = self._decoded(index) if self._layout.syntax == RLELossless else self._native(index)
        stored = _values_of(cells, self._layout)
        padding = _within(stored, self._layout.padding)
        whole = _within(cells.view(stored.dtype), self._layout.padding)
        return stored, padding if whole is None else whole if padding is None else padding | whole

    def _native(self, index: int) -> np.ndarray:
        """Cells [rows, columns] of uncompressed pixel data (PS3.5 8.1.1), unsigned."""
        layout, count = self._layout, self._file.rows * self._file.columns
        start, odd_bits = divmod(index * count * layout.bits_allocated, 8)
        end = start + -(-count * layout.bits_allocated // 8)
        swapped = not layout.syntax.is_little_endian and self._vr == "OW" and layout.bits_allocated == 8
        if odd_bits or (swapped and start % 2):
            raise FaultError("its frames do not begin at whole words")
        if self._inflated:
            data = self._inflated[start:end]
        else:
            self._stream.seek(self._value_at + start)
            data = self._stream.read(end - start + (end - start) % 2)
        if swapped:
            data = np.frombuffer(data, np.uint16).byteswap().tobytes()
        data = data[: end - start]
        if len(data) < end - start:
            raise FaultError(f"its pixel data ends after {len(data)} of {end - start} bytes; the file is truncated")
        if layout.bits_allocated == 12:
            cells = _unpacked_12_bits(data, count)
        else:
            order = "<" if layout.syntax.is_little_endian else ">"
            cells = np.frombuffer(data, f"{order}u{layout.bits_allocated // 8}")
        in_order = cells.astype(cells.dtype.newbyteorder("="), copy=False)
        return in_order.reshape(self._file.rows, self._file.columns)

    def _decoded(self, index: int) -> np.ndarray:
        """Samples [rows, columns] of a compressed frame; of RLE, its cells."""
        layout = self._layout
        self._stream.seek(self._value_at)
        codestream = get_frame(self._stream, index, number_of_frames=self._frames())
        check_codestream(codestream, self._file)
        task = layout.syntax, codestream, self._options()
        if layout.syntax == RLELossless:  # pydicom decodes it in Python, in one pass: no C that could crash
            return _decode_frame(task)
        try:
            decoded, damaged = call_in_process(_decode_in_c, task)
        except WorkerError as failed:
            raise FaultError(f"the process that decodes its compressed pixel data {failed.what}") from None
        if damaged:
            raise FaultError("its decoder found its compressed pixel data damaged")
        return decoded

    def _options(self) -> dict[str, Any]:
        """What pydicom's decoders need to know of one frame."""
        return {
            "rows": self._file.rows,
            "columns": self._file.columns,
            "number_of_frames": 1,
            "samples_per_pixel": 1,
            "photometric_interpretation": "MONOCHROME2",
            "bits_allocated": self._layout.bits_allocated,
            "bits_stored": self._layout.bits_stored,
            "pixel_representation": int(self._layout.signed),
            "pixel_keyword": "PixelData",
            "correct_unused_bits": False,
            "decoding_plugin": DECODERS[self._layout.syntax],
        }

    def _frames(self) -> int:
        return int(self.header.get("NumberOfFrames") or 1)


def _decode_frame(task: _Task) -> np.ndarray:
    syntax, codestream, options = task
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # pydicom's, of RLE segments that are too long
        return get_decoder(syntax).as_array(encapsulate([codestream]), **options)[0]


def _decode_in_c(task: _Task) -> tuple[np.ndarray, bool]:
    """The samples, and whether libjpeg, in GDCM, made up some of them: it says so on standard error alone."""
    if DECODERS[task[0]] != "gdcm":
        return _decode_frame(task), False
    if task[0] == JPEGExtended12Bit and task[2]["bits_stored"] > 8:
        # pydicom asks GDCM for 8 bits only; as JPEG Lossless, of any depth, the codestream itself says what it is.
        decoded, complaints = with_complaints(lambda: _decode_frame((JPEGLossless, *task[1:])))
        return decoded, not set(complaints) <= {_TRIES_8_BITS, _SCAN_HEADER}
    decoded, complaints = with_complaints(lambda: _decode_frame(task))
    return decoded, not set(complaints) <= {_SCAN_HEADER}


def _values_of(cells: np.ndarray, layout: PixelLayout) -> np.ndarray:
    """Stored values out of their cells: the bits up to HighBit; what lies around them is none of ours (overlays)."""
    bits = cells.dtype.itemsize * 8
    values = cells.astype(f"u{cells.dtype.itemsize}")
    values <<= bits - 1 - layout.high_bit
    values = values.view(f"{'i' if layout.signed else 'u'}{cells.dtype.itemsize}")
    values >>= bits - layout.bits_stored
    return values


def _within(numbers: np.ndarray, ends: tuple[int, int] | None) -> np.ndarray | None:
    if ends is None:
        return None
    found = (numbers >= ends[0]) & (numbers <= ends[1])
    return found if found.any() else None


def _unpacked_12_bits(data: bytes, count: int) -> np.ndarray:
    """Two values in three bytes (PS3.5 of 1993, annex D): uint16 [count]."""
    triplets = np.frombuffer(data + bytes(-len(data) % 3), np.uint8).reshape(-1, 3).astype(np.uint16)
    first = triplets[:, 0] | (triplets[:, 1] & 0x0F) << 8
    second = triplets[:, 1] >> 4 | triplets[:, 2] << 4
    return np.stack([first, second], axis=1).reshape(-1)[:count]


def _rescaled(stored: np.ndarray, frame: Frame, dtype: np.dtype) -> np.ndarray:
    if dtype.kind == "f":
        return (stored * frame.slope + frame.intercept).astype(dtype)
    if frame.slope != 1:
        return (stored * np.int64(frame.slope) + np.int64(frame.intercept)).astype(dtype)
    values = stored.astype(dtype, copy=False)
    if frame.intercept:
        values += np.int64(frame.intercept).astype(dtype)  # wraps as `stored` did: the sum fits
    return values


def _bare(dataset: FileDataset) -> Dataset:
    """The data set without pixel data and private elements, and without a hold on its file."""
    for tag in [tag for tag in dataset.keys() if tag.is_private or tag.group == _PIXEL_GROUP]:  # noqa: SIM118
        del dataset[tag]
    dataset.buffer = dataset.filename = None
    return dataset


@contextmanager
def _errors_named(file: ImageFile) -> Iterator[None]:
    """Turn whatever a file or a decoder raises into an InputError that names the file, and let no library speak."""
    try:
        with quiet():
            yield
    except FaultError as found:
        raise InputError(f"{file.name}: its pixels cannot be decoded: {found}; fetch it again") from None
    except Exception as error:
        raise InputError(
            f"{file.name}: its pixels cannot be decoded ({type(error).__name__}): the file is damaged, has "
            "changed since the folder was read, or is compressed in a way this software does not know; fetch it again"
        ) from None
