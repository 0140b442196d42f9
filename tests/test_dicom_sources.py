"""Where files come from: archives, DICOMDIR, files without preamble, copies and strangers; and hostile ones."""

from __future__ import annotations

import json
import os
import resource
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_series import make_enhanced, make_series, read, save, verdict_of
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.fileset import FileSet
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

from client.dicom import VerdictKind, read_volume, scan_folder, select_series
from client.dicom.header import read_header
from client.dicom.sources import Source, find_sources
from client.dicom.workers import map_in_processes
from swinunet.errors import InputError


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


def slip(archive: zipfile.ZipFile) -> None:
    archive.writestr("../../slipped.dcm", b"evil")


def absolute(archive: zipfile.ZipFile) -> None:
    archive.writestr("/tmp/slipped.dcm", b"evil")


def backslash(archive: zipfile.ZipFile) -> None:
    archive.writestr("..\\slipped.dcm", b"evil")


def link(archive: zipfile.ZipFile) -> None:
    member = zipfile.ZipInfo("link")
    member.external_attr = 0o120777 << 16
    archive.writestr(member, "/etc/passwd")


def bomb(archive: zipfile.ZipFile) -> None:
    with archive.open("bomb", "w") as member:
        for _ in range(80):
            member.write(bytes(1 << 20))


HOSTILE_ARCHIVES: dict[str, tuple[Callable[[zipfile.ZipFile], object], str]] = {
    "parent": (slip, "member 1 has no name, or one that leads out of the archive"),
    "absolute": (absolute, "member 1 has no name, or one that leads out"),
    "backslash": (backslash, "member 1 has no name, or one that leads out"),
    "link": (link, "member 1 is a link"),
    "bomb": (bomb, "member 1 unpacks from [0-9]+ to 83886080 bytes, more than 200 times"),
}


@pytest.mark.parametrize("name", HOSTILE_ARCHIVES)
def test_a_hostile_archive_is_refused(name: str, tmp_path: Path) -> None:
    fill, said = HOSTILE_ARCHIVES[name]
    with zipfile.ZipFile(tmp_path / "evil.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        fill(archive)
    with pytest.raises(InputError, match=f"evil.zip: {said}"):
        scan_folder(tmp_path / "evil.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["evil.zip"]


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


def element(group: int, number: int, vr: bytes, length: int, value: bytes = b"") -> bytes:
    return struct.pack("<HH", group, number) + vr + b"\0\0" + struct.pack("<L", length) + value


def claimed_length(ds: bytes) -> bytes:
    return ds + element(0x0040, 0x0275, b"OB", 1 << 30)


def nested_sequences(ds: bytes) -> bytes:
    return ds + (element(0x0040, 0x0275, b"SQ", 0xFFFFFFFF) + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)) * 50_000


HOSTILE_FILES = {"1 GB claimed": claimed_length, "50,000 nested sequences": nested_sequences}


def part_10(ds: Dataset, tail: Callable[[bytes], bytes]) -> bytes:
    """The data set's header with something hostile instead of the pixel data."""
    ds = Dataset(ds)
    meta = make_series()[0].file_meta
    buffer = DicomBytesIO()
    del ds.PixelData
    ds.file_meta = meta
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    ds.save_as(buffer, enforce_file_format=True)
    return tail(buffer.getvalue())


@pytest.mark.parametrize("name", HOSTILE_FILES)
def test_a_hostile_header_is_a_fault_within_bounds(name: str, tmp_path: Path) -> None:
    save(tmp_path, make_series())
    (tmp_path / "evil").write_bytes(part_10(make_series()[0], HOSTILE_FILES[name]))
    program = (
        "import sys; from swinunet.cli import main; sys.argv = ['swinunet', 'inspect', sys.argv[1], '--json']; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30)),
    )
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    kinds = [one["verdict"] for one in report["series"]] + ["unreadable" for _ in report["unreadable"]]
    assert sorted(kinds) == ["ok", "unreadable"]


HEADERS: dict[str, dict[str, object]] = {
    "absurd rows": {"Rows": 65535, "Columns": 65535},
    "no rows": {"Rows": 0},
    "absurd frames": {"NumberOfFrames": 2**31 - 1},
    "negative frames": {"NumberOfFrames": -3},
    "NaN spacing": {"PixelSpacing": "nan\\1"},
    "infinite position": {"ImagePositionPatient": "inf\\0\\0"},
    "position beyond the stars": {"ImagePositionPatient": "1e300\\0\\0"},
    "slope of 0": {"RescaleSlope": "0"},
    "infinite slope": {"RescaleSlope": "inf"},
    "more bits than the cell": {"BitsStored": 17},
    "high bit below the value": {"HighBit": 3},
    "cells of 64 bits": {"BitsAllocated": 64},
}


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("deflated", [False, True])
def test_an_absurd_header_is_a_fault(name: str, deflated: bool, tmp_path: Path) -> None:
    slices = make_series()
    for keyword, value in HEADERS[name].items():
        if isinstance(value, str):
            slices[2].add_new(keyword, "LO", value.split("\\"))  # a wrong VR, through which pydicom lets anything pass
        else:
            setattr(slices[2], keyword, value)
    for ds in slices:
        ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian if deflated else ExplicitVRLittleEndian
    save(tmp_path, slices)
    with pytest.raises(InputError, match=r"IM0002: "):
        read(tmp_path)


def test_a_deflated_bomb_is_not_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.dicom.pixel_element._MAX_INFLATED_BYTES", 1 << 20)
    slices = make_series()
    for ds in slices:
        ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = save(tmp_path, slices) / "IM0001"
    assert verdict_of(tmp_path)[0] is VerdictKind.OK
    content = path.read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")
    deflater = zlib.compressobj(wbits=-15)
    data = zlib.decompress(content[start:], -15) + bytes(2 << 20)
    path.write_bytes(content[:start] + deflater.compress(data) + deflater.flush())
    assert [file.fault for file in scan_folder(tmp_path).unreadable] == [
        f"it inflates from {path.stat().st_size} to more than 1048576 bytes"
    ]


def test_links_to_files_are_read_and_others_are_no_trap(tmp_path: Path) -> None:
    folder = save(tmp_path / "real", make_series())
    linked = tmp_path / "linked"
    linked.mkdir()
    for file in folder.iterdir():
        (linked / file.name).symlink_to(file)
    (linked / "around").symlink_to(linked)
    os.mkfifo(linked / "pipe")
    assert read(linked).volume.shape == (3, 4, 5)
    (linked / "dead").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="dead: it cannot be opened"):
        read(linked)


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


def test_headers_are_read_in_processes_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1})
    sources = find_sources(save(tmp_path, make_series(np.zeros((40, 2, 2), np.uint16))))
    assert list(map_in_processes(read_header, sources, fewest=2, chunk=4)) == [read_header(one) for one in sources]


def die(item: int) -> None:
    os._exit(3)


def test_a_process_that_dies_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1})
    with pytest.raises(InputError, match="a process that reads DICOM files died"):
        list(map_in_processes(die, [1, 2, 3, 4], fewest=2, chunk=1))
