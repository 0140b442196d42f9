"""Pixels: every transfer syntax, bit depth and sign; padding, lookup tables, polarity; and damage that is found."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_series import encode, make_enhanced, make_series, read, rebuilt, save, verdict_of
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    RLELossless,
)

from swinunet.client.dicom import VerdictKind, iter_slices, read_volume, scan_folder, select_series
from swinunet.client.dicom.quiet import with_complaints
from swinunet.foundation.errors import InputError


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless], ids=lambda uid: uid.name)
def test_frames_of_one_file_are_decoded_one_by_one(syntax: UID, tmp_path: Path) -> None:
    ds = make_enhanced([1, 0, 2])
    expected = read(save(tmp_path / "plain", [make_enhanced([1, 0, 2])])).volume.voxels
    voxels = read(save(tmp_path / "coded", [encode(ds, syntax)])).volume.voxels
    np.testing.assert_array_equal(voxels, expected)


def test_values_packed_to_twelve_bits(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(0, 4096, (2, 4, 6), np.uint16)
    slices = make_series(stored, bits_stored=12)
    for ds, values in zip(slices, stored, strict=True):
        a, b = values.reshape(-1, 2).astype(np.uint32).T
        packed = a | b << 12
        ds.BitsAllocated = 12
        ds.PixelData = np.stack([packed & 255, packed >> 8 & 255, packed >> 16], axis=1).astype(np.uint8).tobytes()
    np.testing.assert_array_equal(read(save(tmp_path, slices)).volume.voxels, stored.transpose(2, 1, 0))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless], ids=lambda uid: uid.name)
@pytest.mark.parametrize("dtype", [np.uint16, np.int16], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("high_bit", [9, 12, 15])
def test_bits_around_the_value_are_overlays(syntax: UID, dtype: type, high_bit: int, tmp_path: Path) -> None:
    stored = np.arange(-512, 512) if dtype is np.int16 else np.arange(1024)
    shift = high_bit - 9
    overlay = np.random.default_rng(0).integers(0, 2**16, 1024, np.int64) & ~(1023 << shift)
    cells = ((stored & 1023) << shift | overlay).astype(np.uint16).reshape(1, 32, 32)
    slices = make_series(cells.view(dtype), bits_stored=10)
    for ds in slices:
        ds.HighBit = high_bit
    voxels = read(save(tmp_path, [encode(ds, syntax) for ds in slices])).volume.voxels
    np.testing.assert_array_equal(voxels[:, :, 0].T.reshape(-1), stored)


PADDINGS: dict[str, tuple[type, int, dict[str, int], list[int]]] = {
    "value": (np.int16, 16, {"PixelPaddingValue": -2000}, [-2000]),
    "range": (np.int16, 16, {"PixelPaddingValue": -2000, "PixelPaddingRangeLimit": -1990}, [-2000, -1995, -1990]),
    "range backwards": (np.int16, 16, {"PixelPaddingValue": 9000, "PixelPaddingRangeLimit": 8000}, [8000, 9000]),
    "above the stored bits": (np.uint16, 12, {"PixelPaddingValue": 63536}, [63536]),
    "without sign extension": (np.int16, 12, {"PixelPaddingValue": -2000}, [0x0830]),
}


@pytest.mark.parametrize("name", PADDINGS)
def test_padding_becomes_the_lowest_value_of_the_rest(name: str, tmp_path: Path) -> None:
    dtype, bits, attributes, padding = PADDINGS[name]
    stored = np.random.default_rng(0).integers(100, 1000, (3, 8, 8)).astype(dtype)
    stored[0, 0], stored[:, 1] = 50, 60
    where = np.zeros(stored.shape, bool)
    where[:, 5:] = where[2] = True
    stored[where] = np.resize(padding, where.sum())
    slices = make_series(stored, bits_stored=bits, RescaleSlope="1", RescaleIntercept="-1024", **attributes)
    voxels = read(save(tmp_path, slices)).volume.voxels.transpose(2, 1, 0)
    assert (voxels[where] == 50 - 1024).all()
    np.testing.assert_array_equal(voxels[~where], stored[~where].astype(int) - 1024)


def test_an_image_of_nothing_but_padding_is_flat(tmp_path: Path) -> None:
    slices = make_series(np.full((2, 3, 3), -2000, np.int16), PixelPaddingValue=-2000)
    assert np.ptp(read(save(tmp_path, slices)).volume.voxels) == 0


@pytest.mark.parametrize(
    ("modality", "dtype", "bits", "expected"),
    [("MR", np.uint16, 12, [4095, 4094, 0]), ("MR", np.int16, 12, [-1, -2, 2047]), ("CT", np.uint16, 12, [0, 1, 4095])],
)
def test_monochrome1_is_turned_where_values_have_no_unit(
    modality: str, dtype: type, bits: int, expected: list[int], tmp_path: Path
) -> None:
    last = 4095 if dtype is np.uint16 else -2048
    stored = np.array([[[0, 1, last]]] * 2, dtype)
    slices = make_series(stored, bits_stored=bits, PhotometricInterpretation="MONOCHROME1", Modality=modality)
    assert read(save(tmp_path, slices)).volume.voxels[:, 0, 0].tolist() == expected
    assert ("MONOCHROME1" in verdict_of(tmp_path)[1]) is (modality == "MR")


def test_the_modality_lookup_table_is_applied(tmp_path: Path) -> None:
    table = Dataset()
    table.LUTDescriptor, table.LUTData, table.ModalityLUTType = (
        [4, 10, 16],
        np.uint16([5, 500, 50000, 7]).tobytes(),
        "US",
    )
    stored = np.array([[[0, 10, 11], [12, 13, 99]]] * 2, np.uint16)
    voxels = read(save(tmp_path, make_series(stored, ModalityLUTSequence=[table]))).volume.voxels
    assert voxels.dtype == np.uint16
    np.testing.assert_array_equal(voxels[:, :, 0].T, [[5, 5, 500], [50000, 7, 7]])


def test_palette_is_refused_by_name(tmp_path: Path) -> None:
    save(tmp_path, make_series(PhotometricInterpretation="PALETTE COLOR"))
    assert scan_folder(tmp_path).series[0].verdict.kind is VerdictKind.COLOUR
    with pytest.raises(InputError, match=r"colour: .*PALETTE COLOR, 1 samples per pixel"):
        read(tmp_path)


def test_a_mosaic_is_refused_by_name(tmp_path: Path) -> None:
    save(tmp_path, make_series(ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]))
    with pytest.raises(InputError, match="mosaic: Siemens mosaic"):
        read(tmp_path)


def test_slices_come_one_at_a_time(tmp_path: Path) -> None:
    series = select_series(scan_folder(save(tmp_path, make_series())))
    slices = iter_slices(series)
    first = next(slices)
    (tmp_path / "IM0004").unlink()
    assert (first.k, first.values.shape) == (0, (4, 3))
    with pytest.raises(InputError, match="IM0004"):
        list(slices)


def test_many_compressed_slices_are_decoded_in_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1})
    stored = np.random.default_rng(0).integers(0, 4096, (60, 8, 8), np.uint16)
    slices = [encode(ds, RLELossless) for ds in make_series(stored, bits_stored=12)]
    rebuilt(slices[41], b"nothing")
    decoded = iter_slices(select_series(scan_folder(save(tmp_path, slices))))
    for k in range(32):
        one = next(decoded)
        np.testing.assert_array_equal(one.values, stored[k])
        assert one.header is not None
        assert one.header.SOPInstanceUID == slices[k].SOPInstanceUID
    with pytest.raises(InputError, match="IM0041: its pixels cannot be decoded"):
        list(decoded)


def test_what_a_decoder_says_is_a_complaint_and_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    assert with_complaints(lambda: os.write(2, b"oh\n")) == (3, [b"oh"])
    assert with_complaints(lambda: 7) == (7, [])
    assert capfd.readouterr().err == ""


def test_no_library_warns_of_patients(tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: Any) -> None:
    slices = make_series()
    for ds in slices:
        ds.add(pydicom.DataElement(0x00100030, "LO", "SECRET^BIRTH"))
        ds.PatientSex = "SECRETSEX TOO LONG FOR A CODE STRING"
    save(tmp_path, slices)
    recwarn.clear()
    read_volume(select_series(scan_folder(tmp_path)))
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")
