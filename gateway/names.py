"""What patients' objects are called where others may read it: by a part of the hash of their UID."""

from __future__ import annotations

import hashlib

_DIGITS = 24  # of file names: 96 bits
_SHOWN = 12  # of logs and pages


def folder_of_uid(uid: str) -> str:
    """The name of the folder of a study or series."""
    return hashlib.sha256(uid.encode()).hexdigest()[:_DIGITS]


def shown_uid(uid: str) -> str:
    """What logs, the status page and `swinunet gateway status` call a study."""
    return folder_of_uid(uid)[:_SHOWN]
