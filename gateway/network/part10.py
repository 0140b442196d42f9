"""Received bytes as files of PS3.10, and the UIDs at the head of a data set."""

from __future__ import annotations

import os
import re
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset, read_partial
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID
from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION
from pynetdicom.dsutils import encode_file_meta

_SOP_CLASS, _SOP_INSTANCE, _STUDY = Tag(0x00080016), Tag(0x00080018), Tag(0x0020000D)
_HEAD_BYTES = 1 << 16  # of a data set, in which its SOP Class and Instance UID lie
_UID = re.compile(r"[0-9.]{1,64}")  # PS3.5 9.1; leading zeros of a component are met and do no harm
_INCOMING_MODE = 0o600


def open_incoming(folder: Path) -> tuple[Path, BinaryIO]:
    """A new file, open for writing, in the folder of incoming files; its name is made up. Raises OSError."""
    path = folder / f"{uuid.uuid4().hex}.dcm"
    return path, os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _INCOMING_MODE), "wb")


@contextmanager
def incoming_file(folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """The same, closed at the end; removed if the block raises."""
    path, file = open_incoming(folder)
    try:
        with file:
            yield path, file
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


def file_head(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, calling_ae: str) -> bytes:
    """Preamble, prefix and File Meta Information (PS3.10 7.1) of an instance that came from `calling_ae`."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    meta.ImplementationClassUID = PYNETDICOM_IMPLEMENTATION_UID
    meta.ImplementationVersionName = PYNETDICOM_IMPLEMENTATION_VERSION
    if calling_ae:
        meta.SourceApplicationEntityTitle = calling_ae
    return bytes(128) + b"DICM" + bytes(encode_file_meta(meta))


def uids_of(data_set: bytes | memoryview, transfer_syntax: UID) -> tuple[str, str]:
    """SOP Class UID and SOP Instance UID of an encoded data set; both empty where they cannot be read."""
    head = bytes(data_set[:_HEAD_BYTES])
    try:
        if transfer_syntax.is_deflated:
            head = zlib.decompressobj(-zlib.MAX_WBITS).decompress(bytes(data_set), _HEAD_BYTES)
        found = read_dataset(
            BytesIO(head), transfer_syntax.is_implicit_VR, transfer_syntax.is_little_endian, stop_when=_behind_the_uids
        )
        return _pair(_raw_uid(found, _SOP_CLASS), _raw_uid(found, _SOP_INSTANCE))
    except Exception:  # pydicom raises whatever the bytes provoke
        return "", ""


def uids_of_file(path: Path) -> tuple[str, str, str]:
    """SOP Class, SOP Instance and Transfer Syntax UID of a file; all empty where it is no readable DICOM file."""
    try:
        with path.open("rb") as file:
            found = read_partial(file, stop_when=_behind_the_uids)
        pair = _pair(_raw_uid(found, _SOP_CLASS), _raw_uid(found, _SOP_INSTANCE))
        syntax = str(found.file_meta.TransferSyntaxUID)
    except Exception:  # pydicom raises whatever the bytes provoke
        return "", "", ""
    return (*pair, syntax) if all(pair) else ("", "", "")


def study_of_file(path: Path) -> str:
    """Study Instance UID of a file, empty where it has none that can be read."""
    try:
        with path.open("rb") as file:
            return _raw_uid(read_partial(file, stop_when=lambda tag, vr, length: tag > _STUDY), _STUDY)
    except Exception:  # pydicom raises whatever the bytes provoke
        return ""


def _behind_the_uids(tag: BaseTag, vr: str | None, length: int) -> bool:
    return tag > _SOP_INSTANCE


def _raw_uid(found: Dataset, tag: BaseTag) -> str:
    """The value as it stands in the file: pydicom's own conversion warns, and quotes what it warns of."""
    value = found.get_item(tag).value
    return (value if isinstance(value, str) else value.decode("ascii")).strip("\0 ")


def _pair(*uids: str) -> tuple[str, str]:
    return (uids[0], uids[1]) if all(_UID.fullmatch(uid) for uid in uids) else ("", "")
