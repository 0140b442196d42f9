"""Hostile archives, DICOMDIRs, headers and links: refused by name, within bounds, with no patient data in a message."""

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

import pytest
from dicom_series import make_series, read, save, verdict_of
from fuzz_mutations import mutated
from fuzz_reading import write_input
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    generate_uid,
)

from swinunet.client.dicom import VerdictKind, scan_folder
from swinunet.client.dicom.elements import text_of
from swinunet.foundation.errors import InputError


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
        timeout=600,
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
    monkeypatch.setattr("swinunet.client.dicom.pixel_element._MAX_INFLATED_BYTES", 1 << 20)
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


def test_a_pipe_in_a_dicomdir_is_no_trap(tmp_path: Path) -> None:
    seed, content = mutated("dicomdir/truncate/100")
    directory = write_input(seed, content, tmp_path)
    read(directory)
    image = sorted(tmp_path.rglob("IM*"))[0]
    image.unlink()
    os.mkfifo(image)
    with pytest.raises(InputError, match=r"IM000000: it cannot be opened \(no regular file\)"):
        read(directory)


LOST: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "truncated": (lambda content: content[:-200], "is truncated"),
    "nameless": (
        lambda content: content.replace(b"PT000000\\ST000000\\SE000000\\IM000001", b" " * 35),
        "without a file's name",
    ),
}


@pytest.mark.parametrize("name", LOST)
def test_a_dicomdir_that_lost_a_file_is_refused(name: str, tmp_path: Path) -> None:
    change, said = LOST[name]
    seed, content = mutated("dicomdir/truncate/100")
    with pytest.raises(InputError, match=f"the DICOMDIR .*{said}"):
        read(write_input(seed, change(content), tmp_path))


@pytest.mark.parametrize("vr", ["PN", "OB", "UN"])
def test_a_damaged_vr_shows_no_patient(vr: str) -> None:
    ds = Dataset()
    ds.add_new("SeriesDescription", vr, b"SECRET" if vr != "PN" else "SECRET^ANNA")
    assert text_of(ds, "SeriesDescription") == ""


def test_a_damaged_length_shows_no_patient() -> None:
    ds = Dataset()
    ds.add_new("SeriesDescription", "LO", "t1\x10\0\x10\0PN\x06\0SECRET")
    assert text_of(ds, "SeriesDescription") == "t1"


def test_a_file_name_steers_no_terminal(tmp_path: Path) -> None:
    (tmp_path / "\x1b[2J\n.dcm").write_bytes(b"no DICOM")
    with pytest.raises(InputError, match=r"^\?\[2J\?\.dcm: it is named \.dcm"):
        read(tmp_path)
