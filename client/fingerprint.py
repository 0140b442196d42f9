"""Which input it was, in 64 hexadecimal digits: the same for the same volume, wherever it lies, and for no other."""

from __future__ import annotations

import hashlib
from pathlib import Path

from swinunet.client.dicom import Series
from swinunet.foundation.errors import InputError


def fingerprint_of_file(path: Path) -> str:
    """SHA-256 of a NIfTI file. Raises InputError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot read ({error.strerror})") from None


def fingerprint_of_series(series: Series) -> str:
    """SHA-256 of the SOP Instance UID and frame number of each slice, in order: UIDs name pixels (PS3.5 9.1)."""
    lines = [f"{frame.file.sop_instance_uid}#{frame.number or 1}\n" for frame in series.frames]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
