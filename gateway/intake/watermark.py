"""How full the spool's disk may get before instances are refused."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_GB = 10**9


@dataclass(frozen=True)
class DiskRoom:
    """Of the file system that a folder lies on. free_bytes: that this user may fill. used: share, 0 to 1."""

    free_bytes: int
    used: float


def disk_room(folder: Path) -> DiskRoom:
    """The room there is now. Raises OSError."""
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    taken = (found.f_blocks - found.f_bfree) * found.f_frsize
    return DiskRoom(free, taken / max(1, taken + free))


def shortage(room: DiskRoom, least_free_gb: float, most_used_percent: float) -> str:
    """Why nothing more may be taken, with the numbers; empty if it may."""
    if room.free_bytes < least_free_gb * _GB:
        return f"{room.free_bytes / _GB:.1f} GB are free, the watermark is {least_free_gb:g} GB"
    if room.used * 100 > most_used_percent:
        return f"{room.used * 100:.0f} % of the disk are used, the watermark is {most_used_percent:g} %"
    return ""
