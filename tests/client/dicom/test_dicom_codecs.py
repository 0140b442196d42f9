"""Transfer syntaxes: every depth in each lossless one, the lossy ones by an oracle, and damage that is found."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK
from dicom_series import encode, make_series, read, rebuilt, save, waves
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    MPEG2MPML,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from swinunet.foundation.errors import InputError

NATIVE = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
COMPRESSED = [RLELossless, JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless]
DEPTHS = [
    (np.uint8, 8), (np.uint16, 12), (np.uint16, 16), (np.int16, 12), (np.int16, 16), (np.uint32, 32), (np.int32, 32),
]  # fmt: skip


# No encoder at hand holds more than 16 bits.
LOSSLESS = [
    pytest.param(syntax, dtype, bits, id=f"{syntax.name}-{dtype.__name__}-{bits}")
    for syntax in NATIVE + COMPRESSED
    for dtype, bits in DEPTHS
    if bits <= 16 or not syntax.is_encapsulated
]


@pytest.mark.parametrize(("syntax", "dtype", "bits"), LOSSLESS)
def test_every_depth_in_every_lossless_syntax(syntax: UID, dtype: type, bits: int, tmp_path: Path) -> None:
    signed = np.dtype(dtype).kind == "i"
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    stored = np.random.default_rng(0).integers(low, high, (2, 34, 33), np.int64, endpoint=True).astype(dtype)
    stored[0, 0, :2] = low, high
    slices = [encode(ds, syntax) for ds in make_series(stored, bits_stored=bits)]
    voxels = read(save(tmp_path, slices)).volume.voxels
    np.testing.assert_array_equal(voxels, stored.transpose(2, 1, 0))
    assert voxels.dtype == dtype


# Transfer syntax, bits stored, what the encoder is told, and how far a value may stray.
LOSSY: list[tuple[UID, int, dict[str, Any], int]] = [
    (JPEGBaseline8Bit, 8, {}, 16),
    (JPEGExtended12Bit, 8, {}, 16),
    (JPEGExtended12Bit, 12, {}, 256),
    (JPEGLSNearLossless, 12, {"jls_error": 3}, 3),
    (JPEG2000, 12, {"j2k_cr": [8]}, 256),
]


@pytest.mark.parametrize(("syntax", "bits", "options", "stray"), LOSSY, ids=str)
def test_every_lossy_syntax_is_what_gdcm_decodes(
    syntax: UID, bits: int, options: dict[str, Any], stray: int, tmp_path: Path
) -> None:
    stored = waves(depth=2**bits - 1).astype(f"u{-(-bits // 8)}")
    save(tmp_path, [encode(ds, syntax, **options) for ds in make_series(stored, bits_stored=bits)])
    voxels = read(tmp_path).volume.voxels
    oracle = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "IM0001")))
    np.testing.assert_array_equal(voxels[:, :, 1].T, oracle[0])
    assert 0 < np.abs(voxels.astype(int) - stored.transpose(2, 1, 0)).max() <= stray


def test_a_scanners_twelve_bit_lossy_jpeg(tmp_path: Path) -> None:
    """pydicom's sample of process 4; its mean and maximum are those that libjpeg-turbo 3 gives."""
    sample = pydicom.dcmread(get_testdata_file("JPGExtended.dcm", download=False))
    (codestream,) = generate_frames(sample.PixelData, number_of_frames=1)
    slices = make_series(np.zeros((2, 1024, 256), np.uint16), bits_stored=12)
    for ds in slices:
        ds.file_meta.TransferSyntaxUID = JPEGExtended12Bit
        rebuilt(ds, codestream)
    voxels = read(save(tmp_path, slices)).volume.voxels
    assert (voxels.max(), round(float(voxels[:, :, 0].mean()), 6)) == (264, 14.369991)


# 16 x 16 pixels of value row^2 + 20 * column, by OpenJPH: no encoder at hand writes high throughput.
HIGH_THROUGHPUT = base64.b64decode(
    "/0//UQApQAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQkJCQkJCQ"
    "kJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAJMAAf+TwAAm/34FB3QAAMAAEsAAEoBsAYd0ALYBB3QAwAATQAAVADTaAQJ0"
    "AB/fh+8AhrQAwAAVEAAFohiGYapwgnUA/38/6IM+6IP+QAAADHoxuADAACtgABdCxhhjjDHnynp6cAJ4AP9//3//fw844IADDjjggAP+AAAAggAA"
    "DHAGgBoqVK2wAf/Z"
)


@pytest.mark.parametrize("syntax", [HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL], ids=lambda uid: uid.name)
def test_high_throughput_jpeg_2000(syntax: UID, tmp_path: Path) -> None:
    expected = np.add.outer(np.arange(16) ** 2, 20 * np.arange(16))
    (ds,) = make_series(np.zeros((1, 16, 16), np.uint16), bits_stored=12)
    ds.file_meta.TransferSyntaxUID = syntax
    voxels = read(save(tmp_path, [rebuilt(ds, HIGH_THROUGHPUT)])).volume.voxels
    np.testing.assert_array_equal(voxels[:, :, 0].T, expected)


def test_a_transfer_syntax_of_no_images_is_refused_by_name(tmp_path: Path) -> None:
    slices = make_series(waves(), bits_stored=12)
    for ds in slices:
        ds.file_meta.TransferSyntaxUID = MPEG2MPML
        rebuilt(ds, b"\0\0\1\xb3")
    with pytest.raises(InputError, match=r"transfer syntax, MPEG2 Main Profile / Main Level, is not read"):
        read(save(tmp_path, slices))


Damage = Callable[[bytes], bytes]
DAMAGES: dict[str, Damage] = {
    "halved": lambda stream: stream[: len(stream) // 2],
    "end marker lost": lambda stream: stream.rstrip(b"\0")[:-2],
    "piece cut out": lambda stream: stream[: len(stream) // 2] + stream[len(stream) // 2 + 300 :],
    "two images": lambda stream: stream.rstrip(b"\0") + stream,
    "header lost": lambda stream: stream[40:],
    "nothing": lambda stream: bytes(64),
}


DAMAGED = [
    pytest.param(syntax, damage, id=f"{syntax.name}-{damage}")
    for syntax in [*COMPRESSED, JPEGBaseline8Bit, JPEGExtended12Bit]
    for damage in DAMAGES
    if (syntax, damage) != (RLELossless, "end marker lost")  # RLE has none
]


@pytest.mark.parametrize(("syntax", "damage"), DAMAGED)
def test_a_damaged_codestream_is_never_made_up(
    syntax: UID, damage: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stored = (waves() >> 4).astype(np.uint8) if syntax == JPEGBaseline8Bit else waves()
    slices = [encode(ds, syntax) for ds in make_series(stored, bits_stored=8 if stored.itemsize == 1 else 12)]
    read(save(tmp_path, slices))
    (codestream,) = generate_frames(slices[1].PixelData, number_of_frames=1)
    save(tmp_path, [slices[0], rebuilt(slices[1], DAMAGES[damage](codestream))])
    with pytest.raises(InputError, match="IM0001: its pixels cannot be decoded"):
        read(tmp_path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda uid: uid.name)
def test_a_codestream_of_another_size_is_refused(syntax: UID, tmp_path: Path) -> None:
    slices = [encode(ds, syntax) for ds in make_series(waves(), bits_stored=12)]
    for ds in slices:
        ds.Rows = 8192
    with pytest.raises(InputError, match="its pixels cannot be decoded: a compressed frame"):
        read(save(tmp_path, slices))


@pytest.mark.parametrize(("syntax", "bits"), [(JPEGExtended12Bit, 12), (JPEGBaseline8Bit, 8)])
@pytest.mark.parametrize("fields", [b"\0\0\0", b"\0\1\0", b"\1\x3f\0"])
def test_a_scan_header_with_fields_that_a_sequential_scan_does_not_use(
    syntax: UID, bits: int, fields: bytes, tmp_path: Path
) -> None:
    """Ss, Se, Ah and Al are 0, 63, 0 and 0 there (T.81 B.2.3); WG04's MR1 to MR4 have Se = 0, and are whole."""
    stored = waves(depth=2**bits - 1).astype(np.uint16 if bits > 8 else np.uint8)
    slices = [encode(ds, syntax) for ds in make_series(stored, bits_stored=bits)]
    expected = read(save(tmp_path / "plain", slices)).volume.voxels
    for ds in slices:
        codestream = bytearray(next(generate_frames(ds.PixelData, number_of_frames=1)))
        scan = codestream.index(b"\xff\xda")
        last = scan + 2 + int.from_bytes(codestream[scan + 2 : scan + 4], "big")
        assert codestream[last - 3 : last] == b"\x00\x3f\x00"
        codestream[last - 3 : last] = fields
        rebuilt(ds, bytes(codestream))
    np.testing.assert_array_equal(read(save(tmp_path / "odd", slices)).volume.voxels, expected)
