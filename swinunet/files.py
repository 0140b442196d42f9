"""Results appear whole or not at all: written aside in the same folder, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from swinunet.errors import OutputError


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
        raise OutputError(f"{path}: cannot write ({reason}); choose a folder that can be written") from None
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
