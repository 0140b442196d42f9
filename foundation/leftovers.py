"""Folders for work in progress, and the removal of those that killed processes left.

.swinunet-RANDOM/        beside the results; nothing in it counts as a result or as an input
    lock                 locked (flock) by the process that works in it
    new/                 what is being written
    old/NAME             what it replaces, until it has

What nobody has locked is removed (see `abandoned`); on a file system that knows no locks nothing ever is.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from swinunet.foundation.abandoned import CREATE, lock_abandoned, lock_new

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
        try:
            if (descriptor := lock_new(folder / _LOCK, CREATE)) is not None:
                return folder, descriptor
        except (FileNotFoundError, FileExistsError):
            continue  # it is being taken for a leftover
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise


@contextmanager
def _taken_from_the_dead(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder of ours that nobody holds, even one without it. Raises OSError as `lock_abandoned`."""
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        raise PermissionError(folder)
    with lock_abandoned(folder / _LOCK, os.O_RDWR | os.O_CREAT):
        yield
