"""Where the bytes of DICOM files come from: a folder, one file, the files a DICOMDIR names, or a ZIP archive."""

from __future__ import annotations

import errno
import os
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.uid import MediaStorageDirectoryStorage

from swinunet.client.dicom.quiet import quiet
from swinunet.foundation.errors import InputError
from swinunet.foundation.leftovers import is_work_in_progress

PREAMBLE_BYTES = 128  # PS3.10 7.1
MAX_UNPACKED_BYTES = 64 << 30  # of a whole archive
MAX_RATIO = 200  # of unpacked to packed bytes of a member larger than SMALL_BYTES; CT and MR reach 20
SMALL_BYTES = 64 << 20
MAX_DIRECTORY_BYTES = 64 << 20  # of a DICOMDIR
_PART_10, _ARCHIVE = (PREAMBLE_BYTES, b"DICM"), (0, b"PK\x03\x04")


class FaultError(Exception):
    """What is wrong with a file, as a part of a sentence about it."""


@dataclass(frozen=True, slots=True)
class Source:
    """The bytes of one file. path: the file, or archive/member. archive: held open; nothing of it is ever unpacked."""

    path: Path
    archive: zipfile.ZipFile | None = None
    member: str = ""

    def open(self) -> ClampedStream:
        """The bytes from the beginning. Raises OSError, or what zipfile raises for a broken archive."""
        if self.archive is None:
            if not stat.S_ISREG(self.path.stat().st_mode):  # a pipe or device would block
                raise OSError(errno.EINVAL, "no regular file")
            stream: BinaryIO = self.path.open("rb")
            return ClampedStream(stream, os.fstat(stream.fileno()).st_size)
        info = self.archive.getinfo(self.member)
        return ClampedStream(self.archive.open(info), info.file_size)  # type: ignore[arg-type]

    @property
    def is_file(self) -> bool:
        """Whether another process can open it by its path."""
        return self.archive is None


class ClampedStream:
    """A binary stream that never asks for more bytes than there are, so that a claimed length allocates nothing."""

    def __init__(self, stream: BinaryIO, size_bytes: int) -> None:
        self._stream = stream
        self.size_bytes = size_bytes

    def read(self, count: int = -1) -> bytes:
        """`count` bytes, or what is left if that is less, or all that is left if it is negative."""
        left = max(0, self.size_bytes - self._stream.tell())
        return self._stream.read(left if count < 0 else min(count, left))

    def seek(self, offset: int, whence: int = 0) -> int:
        """As of any stream."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """As of any stream."""
        return self._stream.tell()

    def close(self) -> None:
        """Close the stream beneath."""
        self._stream.close()

    def __enter__(self) -> ClampedStream:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


def find_sources(path: Path) -> tuple[Source, ...]:
    """Every file of a folder and below it, of a ZIP archive, or named by a DICOMDIR; else the one file itself.

    Links to files are read, links to folders are not followed. A file that a DICOMDIR names and that is missing is
    among them: reading it fails. Raises InputError if nothing is there, or an archive is hostile or broken.
    """
    if path.is_dir():
        return tuple(Source(below) for below in _files_below(path))
    if not path.is_file():
        raise InputError(f"{path}: no such file or folder")
    if (zipfile.is_zipfile(path) or _begins_as(path, _ARCHIVE)) and not _begins_as(path, _PART_10):
        return _members(path)
    named = _named_by_directory(path)
    return (Source(path),) if named is None else named


def _files_below(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_work_in_progress(name))
        for name in sorted(names):
            path = Path(parent, name)
            if not path.exists() or stat.S_ISREG(
                path.stat().st_mode
            ):  # a pipe or device would block; a dead link fails
                yield path


def _members(path: Path) -> tuple[Source, ...]:
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # zipfile and struct raise their own
        raise InputError(f"{path}: the archive cannot be read ({type(error).__name__}); fetch it again") from None
    members = [info for info in archive.infolist() if not info.filename.endswith("/")]
    if len({info.filename for info in members}) < len(members):
        raise InputError(f"{path}: the archive holds members of one name; unpack it by hand and give the folder")
    total = sum(info.file_size for info in members)
    if total > MAX_UNPACKED_BYTES:
        raise InputError(
            f"{path}: the archive unpacks to {total} bytes, at most {MAX_UNPACKED_BYTES} are read; give a folder"
        )
    for number, info in enumerate(members, start=1):
        _check_member(path, number, info)
    return tuple(Source(path / info.filename, archive, info.filename) for info in members)


def _check_member(path: Path, number: int, info: zipfile.ZipInfo) -> None:
    name = PurePosixPath(info.filename.replace("\\", "/"))
    if not info.filename or name.is_absolute() or ".." in name.parts or ":" in info.filename:
        raise InputError(
            f"{path}: member {number} has no name, or one that leads out of the archive; do not trust this file"
        )
    if stat.S_ISLNK(info.external_attr >> 16):
        raise InputError(f"{path}: member {number} is a link; do not trust this file")
    if info.flag_bits & 1:
        raise InputError(f"{path}: member {number} is encrypted; unpack the archive and give the folder")
    if info.file_size > max(SMALL_BYTES, MAX_RATIO * info.compress_size):
        raise InputError(
            f"{path}: member {number} unpacks from {info.compress_size} to {info.file_size} bytes, more than "
            f"{MAX_RATIO} times; this is no image archive"
        )


def _begins_as(path: Path, mark: tuple[int, bytes]) -> bool:
    """Whether the file has these bytes there; a DICOM file with an encapsulated document may end like an archive."""
    with path.open("rb") as stream:
        stream.seek(mark[0])
        return stream.read(len(mark[1])) == mark[1]


@quiet()
def _named_by_directory(path: Path) -> tuple[Source, ...] | None:
    """The files that a DICOMDIR names (PS3.3 F.3), None if the file is no DICOMDIR."""
    if not _begins_as(path, _PART_10):
        return None
    try:
        meta = pydicom.filereader.read_file_meta_info(path)
        if meta.get("MediaStorageSOPClassUID") != MediaStorageDirectoryStorage:
            return None
        if path.stat().st_size > MAX_DIRECTORY_BYTES:
            raise FaultError(f"has more than {MAX_DIRECTORY_BYTES} bytes")
        listed: dict[Path, dict[str, list[str]]] = {}
        return tuple(Source(_as_on_disk(path.parent, parts, listed)) for parts in _names_in(path))
    except FaultError as found:
        raise InputError(f"{path}: the DICOMDIR {found}; give the folder instead") from None
    except Exception as error:  # pydicom raises whatever the bytes provoke
        raise InputError(
            f"{path}: the DICOMDIR cannot be read ({type(error).__name__}); give the folder instead"
        ) from None


def _as_on_disk(folder: Path, parts: list[str], listed: dict[Path, dict[str, list[str]]]) -> Path:
    """The file of that name; of another spelling where there is none, as copied media have it, if there is just one.

    DICOMDIRs name files in capitals (PS3.10 8.5). ISO 9660 shows them in lower case, or with a version and a full stop
    behind the name (`IM1.;1`). A name that nothing answers to is kept: reading it fails. listed: names in the folders
    seen so far, by how they are compared.
    """
    for number, part in enumerate(parts):
        if not (folder / part).exists():
            if folder not in listed:
                listed[folder] = {}
                for found in sorted(folder.iterdir()) if folder.is_dir() else ():
                    listed[folder].setdefault(_plain(found.name), []).append(found.name)
            alike = listed[folder].get(_plain(part), [])
            if len(alike) > 1:
                raise FaultError("names a file of which there are several, in capitals and small letters")
            if not alike:
                return folder.joinpath(*parts[number:])
            part = alike[0]
        folder = folder / part
    return folder


def _plain(name: str) -> str:
    """A file's name without what ISO 9660 adds to it, in small letters."""
    return name.partition(";")[0].removesuffix(".").lower()


def _names_in(path: Path) -> list[list[str]]:
    """The parts of each name in a DICOMDIR. Raises FaultError if a file of it would be lost, or lies elsewhere."""
    with Source(path).open() as stream:
        dataset = pydicom.dcmread(stream, specific_tags=["DirectoryRecordSequence"])
    records = dataset.get_item("DirectoryRecordSequence")
    if isinstance(records, RawDataElement) and records.length > len(records.value or b""):
        raise FaultError("is truncated, so that it names too few files")
    names = []
    for record in dataset.DirectoryRecordSequence:
        name = record.get("ReferencedFileID")
        if name:
            names.append([name] if isinstance(name, str) else list(name))
        elif record.DirectoryRecordType == "IMAGE":
            raise FaultError("has an image without a file's name")
    if any(part == ".." or set(part) & set("/\\:") for parts in names for part in parts):
        raise FaultError("names a file outside its folder, and is not to be trusted")
    return names
