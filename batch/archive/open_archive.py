"""The archive that an address names."""

from __future__ import annotations

from pathlib import Path

from swinunet.batch.archive.entries import Archive
from swinunet.batch.archive.folder_archive import FolderArchive
from swinunet.foundation.errors import InputError

DICOMWEB = "dicomweb+"


def is_local(address: str) -> bool:
    """Whether an archive is a folder, not a URL."""
    return "://" not in address


def open_archive(address: str, depth: int = 1) -> Archive:
    """A folder; `dicomweb+http://...` or `dicomweb+https://...`; any other URL by fsspec, such as s3://bucket/archive.

    Nothing is read yet. Raises InputError for a URL that nobody here can read.
    """
    if depth < 1:
        raise InputError(f"--depth {depth}: expected 1 or more; 1 takes what lies right in the archive")
    if is_local(address):
        return FolderArchive(Path(address), depth)
    if address.startswith(DICOMWEB):
        from swinunet.batch.archive.dicomweb_archive import DicomWebArchive

        return DicomWebArchive(address.removeprefix(DICOMWEB))
    from swinunet.batch.archive.object_archive import ObjectArchive

    return ObjectArchive(address, depth)
