"""Which input it was, in 64 hexadecimal digits: the same for the same volume, wherever it lies, and for no other."""

from __future__ import annotations

import hashlib

from swinunet.client.dicom import Series


def fingerprint_of_series(series: Series) -> str:
    """SHA-256 of the SOP Instance UID and frame number of each slice, in order: UIDs name pixels (PS3.5 9.1)."""
    lines = [f"{frame.file.sop_instance_uid}#{frame.number or 1}\n" for frame in series.frames]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
