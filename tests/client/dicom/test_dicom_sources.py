"""Where files come from: archives, DICOMDIR, files without preamble, copies and strangers; and hostile ones."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_series import make_enhanced, make_series, read, save, verdict_of
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.fileset import FileSet
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from swinunet.client.dicom import VerdictKind, read_volume, scan_folder, select_series
from swinunet.client.dicom.sources import Source
from swinunet.foundation.errors import InputError


def zipped(folder: Path, path: Path, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("multi_frame", [False, True])
def test_an_archive_is_read_where_it_lies(method: int, multi_frame: bool, tmp_path: Path) -> None:
    slices = [make_enhanced([1, 0, 2])] if multi_frame else make_series()
    folder = save(tmp_path / "study" / "deep", slices)
    (folder / "notes.txt").write_text("hello " * 100)
    archive = zipped(tmp_path / "study", tmp_path / "study.zip", method)
    before = sorted(tmp_path.rglob("*"))
    scan = scan_folder(archive)
    assert scan.not_dicom == 1
    packed = read_volume(select_series(scan))
    np.testing.assert_array_equal(packed.volume.voxels, read(folder).volume.voxels)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_damaged_member_is_named(tmp_path: Path) -> None:
    archive = zipped(save(tmp_path / "study", make_series()), tmp_path / "study.zip", zipfile.ZIP_STORED)
    content = bytearray(archive.read_bytes())
    content[content.index(b"SECRETNAME") + 3] ^= 1
    archive.write_bytes(content)
    with pytest.raises(InputError, match="IM0000") as caught:
        read(archive)
    assert "SECRET" not in str(caught.value)


def write_directory(folder: Path, slices: list[Dataset]) -> Path:
    files = FileSet()
    for ds in slices:
        ds.StudyDate, ds.StudyTime, ds.StudyID, ds.SeriesNumber = "20200101", "120000", "1", 1
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        files.add(ds)
    files.write(folder)
    return folder / "DICOMDIR"


def test_a_dicomdir_names_its_files(tmp_path: Path) -> None:
    slices = make_series()
    directory = write_directory(tmp_path / "disc", slices)
    save(tmp_path / "disc", make_series(), [f"stranger{k}" for k in range(5)])
    scan = scan_folder(directory)
    assert [one.uid for one in scan.series] == [slices[0].SeriesInstanceUID]
    assert scan.series[0].verdict.kind is VerdictKind.OK
    assert len(scan_folder(tmp_path / "disc").series) == 2
    named = sorted(path for path in (tmp_path / "disc").rglob("*") if path.is_file() and path.name.isdigit())
    (named or sorted((tmp_path / "disc").rglob("IM*")))[-1].unlink()
    with pytest.raises(InputError, match="it cannot be opened"):
        select_series(scan_folder(directory))


def test_a_dicomdir_that_points_outside_is_refused(tmp_path: Path) -> None:
    directory = write_directory(tmp_path / "disc", make_series())
    content = directory.read_bytes()
    first = next((tmp_path / "disc").rglob("*IM*")).relative_to(tmp_path / "disc")
    name = "\\".join(first.parts).encode()
    assert name in content
    directory.write_bytes(content.replace(name, b"..\\" + b"A" * (len(name) - 3)))
    with pytest.raises(InputError, match="DICOMDIR: the DICOMDIR names a file outside its folder"):
        scan_folder(directory)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_files_without_preamble(syntax: str, tmp_path: Path) -> None:
    slices = make_series()
    for k, ds in enumerate(slices):
        if syntax == ExplicitVRBigEndian:
            ds.PixelData = np.frombuffer(ds.PixelData, np.uint16).byteswap().tobytes()
        del ds.file_meta
        buffer = DicomBytesIO()
        implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
        ds.save_as(buffer, implicit_vr=implicit, little_endian=little)
        (tmp_path / f"{k}").write_bytes(buffer.getvalue())
    expected = np.arange(60, dtype=np.uint16).reshape(5, 4, 3).transpose(2, 1, 0)
    np.testing.assert_array_equal(read(tmp_path).volume.voxels, expected)


def test_missing_optional_attributes(tmp_path: Path) -> None:
    slices = make_series()
    for ds in slices:
        for keyword in ("Modality", "SeriesDescription", "InstanceNumber", "FrameOfReferenceUID", "SamplesPerPixel"):
            delattr(ds, keyword)
        del ds.HighBit
    assert verdict_of(save(tmp_path, slices))[0] is VerdictKind.OK
    assert read(tmp_path).volume.shape == (3, 4, 5)


def test_what_is_no_image_is_listed_by_its_class(tmp_path: Path) -> None:
    save(tmp_path, make_series())
    for number, (uid, _) in enumerate(OBJECTS):
        save(tmp_path / str(number), make_series(SOPClassUID=uid)[:2])
    assert scan_folder(tmp_path).objects == {name: 2 for _, name in OBJECTS}
    assert len(scan_folder(tmp_path).series) == 1


OBJECTS = [
    ("1.2.840.10008.5.1.4.1.1.88.33", "Comprehensive SR Storage"),
    ("1.2.840.10008.5.1.4.1.1.11.1", "Grayscale Softcopy Presentation State Storage"),
    ("1.2.840.10008.5.1.4.1.1.66.4", "Segmentation Storage"),
    ("1.2.840.10008.5.1.4.1.1.481.3", "RT Structure Set Storage"),
    ("1.2.840.10008.5.1.4.1.1.104.1", "Encapsulated PDF Storage"),
]


def test_a_stream_asks_for_no_more_than_there_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(10))
    with Source(tmp_path / "file").open() as stream:
        assert stream.read(4) == bytes(4)
        assert stream.read(1 << 40) == bytes(6)
        assert stream.read(1) == b""
        assert stream.seek(-2, 2) == 8
        assert stream.read() == bytes(2)


def test_progress_counts_every_file(tmp_path: Path) -> None:
    (save(tmp_path, make_series()) / "notes.txt").touch()
    ticks: list[tuple[int, int]] = []
    scan_folder(tmp_path, lambda done, total: ticks.append((done, total)))
    assert ticks == [(k, 6) for k in range(1, 7)]


RENAMED = {
    "small letters": lambda name: name.lower(),
    "a version": lambda name: f"{name};1",
    "a full stop": lambda name: f"{name}.",
    "all of it": lambda name: f"{name.lower()}.;1",
}


@pytest.mark.parametrize("renamed", RENAMED.values(), ids=list(RENAMED))
def test_a_dicomdir_finds_files_that_a_copy_has_spelled_otherwise(
    renamed: Callable[[str], str], tmp_path: Path
) -> None:
    directory = write_directory(tmp_path / "disc", make_series())
    files = [path for path in directory.parent.rglob("*") if path.is_file() and path != directory]
    assert len(files) == 5
    for path in files:
        path.rename(path.with_name(renamed(path.name)))
    for folder in sorted((path for path in directory.parent.rglob("*") if path.is_dir()), reverse=True):
        folder.rename(folder.with_name(folder.name.lower()))
    assert scan_folder(directory).series[0].verdict.kind is VerdictKind.OK
    expected = np.arange(60, dtype=np.uint16).reshape(5, 4, 3).transpose(2, 1, 0)
    np.testing.assert_array_equal(read(directory).volume.voxels, expected)


def test_a_dicomdir_takes_the_file_of_its_own_spelling_and_guesses_between_no_two(tmp_path: Path) -> None:
    directory = write_directory(tmp_path / "disc", make_series())
    file = next(path for path in directory.parent.rglob("*") if path.is_file() and path != directory)
    file.with_name(file.name.lower()).write_bytes(b"another file")
    assert scan_folder(directory).series[0].verdict.kind is VerdictKind.OK
    file.rename(file.with_name(f"{file.name};1"))
    with pytest.raises(InputError, match="names a file of which there are several, in capitals and small letters"):
        scan_folder(directory)
