"""Results appear whole or not at all: written aside in the same folder, then renamed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from swinunet.foundation.errors import OutputError

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A path to write to; renamed to `path` if the block ends well, else removed.

    Raises OutputError, naming `path`, for what the file system refuses.
    """
    aside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield aside
        aside.replace(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        remedy = "free some space" if error.errno in _FULL else "choose a folder that can be written"
        raise OutputError(f"{path}: cannot write ({reason}); {remedy}") from None
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all, and on the disk itself before anything later is written.

    Raises OutputError, naming `path`, for what the file system refuses.
    """
    with written_aside(path) as aside, aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
