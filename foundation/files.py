"""Files: results appear whole or not at all, written aside in the same folder, then renamed; and what a file holds."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from swinunet.foundation.errors import DiskFullError, InputError, OutputError

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
        kind = DiskFullError if error.errno in _FULL else OutputError
        raise kind(f"{path}: cannot write ({reason}); {remedy}") from None
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


def prepare_folder(folder: Path) -> None:
    """Make the folder, and find out before the work whether it can be written. Raises OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise unwritable(folder, error) from None


@contextmanager
def nothing_empty_left(paths: Iterable[Path]) -> Iterator[None]:
    """If the block fails, remove those of these folders, and of the folders above them, that it made and left empty."""
    absent = {folder for path in paths for folder in (path, *path.parents) if not os.path.lexists(folder)}
    try:
        yield
    except BaseException:
        for folder in sorted(absent, key=lambda each: len(each.parts), reverse=True):
            with suppress(OSError):  # it holds something, or was never made
                folder.rmdir()
        raise


def unwritable(folder: Path, error: OSError) -> OutputError:
    """What to say of a folder that cannot be written."""
    return OutputError(f"{folder}: cannot write ({os.strerror(error.errno or 0)}); choose another folder")


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal. Raises InputError, naming it, if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
