"""Folders for work in progress, and the removal of those that killed processes left.

.swinunet-RANDOM/        beside the results; nothing in it counts as a result or as an input
    lock                 locked (flock) by the process that works in it
    new/                 what is being written
    old/NAME             what it replaces, until it has

The kernel drops a lock however its holder ends, so what nobody has locked nobody owns, in whatever container or since
whatever boot. On a file system that knows no locks nothing is ever removed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = ".swinunet-"
_LOCK, _OLD = "lock", "old"


def is_work_in_progress(name: str) -> bool:
    """Whether a folder of this name is one of these, alive or left over: its files are no inputs."""
    return name.startswith(PREFIX)


@contextmanager
def work_folder(parent: Path) -> Iterator[Path]:
    """A folder in `parent` that is ours while the block runs and then gone. Raises OSError."""
    folder, descriptor = _locked_folder(parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def replace_folder(target: Path, new: Path, work: Path) -> None:
    """Put `new` in the place of `target`, both beside or in `work`; if that fails, `target` is there as before.

    A process that is killed between the two steps leaves `target` in `work`, from where `remove_leftovers` brings it
    back. Raises OSError.
    """
    old = work / _OLD / target.name
    old.parent.mkdir()
    target.rename(old)
    try:
        new.rename(target)
    except BaseException:
        old.rename(target)
        raise


def remove_leftovers(parent: Path) -> None:
    """Remove what no living process owns; what it was about to replace comes back. Never raises OSError."""
    with suppress(OSError):
        for folder in sorted(parent.glob(f"{PREFIX}*")):
            with suppress(OSError), _taken_from_the_dead(folder):
                for old in (folder / _OLD).glob("*"):
                    if not (parent / old.name).exists():
                        old.rename(parent / old.name)
                shutil.rmtree(folder, ignore_errors=True)


def _locked_folder(parent: Path) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        descriptor = -1
        try:
            descriptor = os.open(folder / _LOCK, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
            with suppress(OSError):  # a file system without locks, where nobody can take it either
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if (folder / _LOCK).exists():
                return folder, descriptor
            os.close(descriptor)  # another start took it for a leftover between creation and lock
        except (FileNotFoundError, FileExistsError):
            continue  # it is being taken for a leftover
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise


@contextmanager
def _taken_from_the_dead(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder of ours that nobody holds. Raises OSError if it is held, gone or another user's."""
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        raise PermissionError(folder)
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
