"""Files and folders that killed processes left, known by their locks (flock).

The kernel drops a lock however its holder ends, so what nobody has locked nobody owns, in whatever container or since
whatever boot. On a file system that knows no locks nothing is ever found abandoned.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CREATE = os.O_CREAT | os.O_EXCL | os.O_RDWR


def lock_new(path: Path, flags: int = CREATE) -> int | None:
    """The descriptor of something just made, locked while it is open; None if another start took it for abandoned.

    That can happen between its creation and its lock: make another then. flags: of open(2). Raises OSError.
    """
    descriptor = os.open(path, flags, 0o600)
    with suppress(OSError):  # a file system without locks, where nobody can take it either
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    if path.exists():
        return descriptor
    os.close(descriptor)
    return None


@contextmanager
def lock_abandoned(path: Path, flags: int = os.O_RDONLY) -> Iterator[None]:
    """Hold the lock of something of this user's that nobody holds. flags: of open(2).

    Raises OSError if it is held, gone, a link or another user's.
    """
    descriptor = os.open(path, flags | os.O_NOFOLLOW, 0o600)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise PermissionError(path)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
