"""What a server owns in the machine, and the removal of what servers left that were killed with all around them.

$TMPDIR/swinunet-triton-PID-RANDOM/   private folder; its owner keeps the folder locked (flock)
/dev/shm/swinunet_PID_RANDOM_*        Triton's regions; `..._lock` among them is kept locked
/tmp/python_env_RANDOM/               made by Triton's Python backend whatever TMPDIR says, and empty

What nobody has locked is removed (foundation/abandoned.py). Triton's own folder knows no lock: it is an orphan if it is
older than every tritonserver that runs.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from swinunet.foundation.abandoned import CREATE, lock_abandoned, lock_new

SHARED_MEMORY = Path("/dev/shm")
_FOLDER = "swinunet-triton-"
_LOCK = "lock"
_REGION = re.compile(r"(swinunet_\d+_[0-9a-f]{8}_).*")
_TRITONS_OWN = Path("/tmp"), "python_env_*"
_LAUNCHABLE = re.compile(r"[A-Za-z0-9_./+@%:,=-]+")  # Triton's launcher puts paths into a shell command, unquoted
_CLOCK_SLACK_S = 2.0


@dataclass(frozen=True)
class Belongings:
    """One server's private folder and the prefix of its shared memory; both are locked while a descriptor is open.

    descriptors: handed on to the keeper, so that they stay locked until it has ended, too.
    """

    folder: Path
    shm_prefix: str
    descriptors: tuple[int, int]

    @staticmethod
    def create() -> Belongings:
        """Make and lock them. The folder's path has no character that Triton's launcher would trip over."""
        folder, folder_lock = _locked_folder()
        prefix, prefix_lock = _locked_prefix()
        return Belongings(folder, prefix, (folder_lock, prefix_lock))

    def release(self) -> None:
        """Let go of the locks; whoever else has the descriptors keeps them."""
        for descriptor in self.descriptors:
            with suppress(OSError):
                os.close(descriptor)


def is_launchable(path: Path) -> bool:
    """Whether Triton's launcher can take this path: it has no space, bracket, quote, `$`, `;`, `&` or umlaut."""
    return _LAUNCHABLE.fullmatch(str(path)) is not None


def remove_leftovers() -> None:
    """Remove what no living server of this user owns. Never raises: another start may be at it at the same time."""
    for parent in _folders_for_temporaries():
        for folder in parent.glob(f"{_FOLDER}*"):
            with suppress(OSError), lock_abandoned(folder, os.O_DIRECTORY):
                shutil.rmtree(folder, ignore_errors=True)
    regions: dict[str, list[Path]] = {}
    for path in SHARED_MEMORY.glob("swinunet_[0-9]*"):
        if match := _REGION.fullmatch(path.name):
            regions.setdefault(match[1], []).append(path)
    for prefix, paths in regions.items():
        lock = SHARED_MEMORY / f"{prefix}{_LOCK}"
        if not lock.exists() and not Path("/proc", prefix.split("_")[1]).exists():
            lock = paths[0]  # of a server that somebody half removed
        with suppress(OSError), lock_abandoned(lock):
            for path in sorted(paths, key=lambda each: each.name.endswith(_LOCK)):  # the lock last
                path.unlink(missing_ok=True)
    _remove_tritons_own()


def _locked_folder() -> tuple[Path, int]:
    while True:
        parent = next(filter(is_launchable, _folders_for_temporaries()))
        folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-", dir=parent))
        with suppress(FileNotFoundError):  # another start took it for an orphan
            if (descriptor := lock_new(folder, os.O_RDONLY | os.O_DIRECTORY)) is not None:
                return folder, descriptor


def _locked_prefix() -> tuple[str, int]:
    while True:
        prefix = f"swinunet_{os.getpid()}_{secrets.token_hex(4)}_"
        if (descriptor := lock_new(SHARED_MEMORY / f"{prefix}{_LOCK}", CREATE)) is not None:
            return prefix, descriptor


def _folders_for_temporaries() -> list[Path]:
    """Where private folders may lie: TMPDIR, or, if its path would break Triton's launcher, one of the usual ones."""
    usual = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"), SHARED_MEMORY]
    return list(dict.fromkeys(path for path in usual if os.access(path, os.W_OK)))


def _remove_tritons_own() -> None:
    parent, pattern = _TRITONS_OWN
    oldest = min(_starts_of_tritonservers(), default=float("inf"))
    for folder in parent.glob(pattern):
        with suppress(OSError):
            found = folder.lstat()
            if found.st_uid == os.geteuid() and found.st_mtime < oldest - _CLOCK_SLACK_S:
                folder.rmdir()  # only an empty one goes: one with something in it is not ours


def _starts_of_tritonservers() -> Iterator[float]:
    """When each tritonserver that runs was started, in seconds since 1970; whoever's it is."""
    boot = next(float(line.split()[1]) for line in Path("/proc/stat").read_text().splitlines() if line[:5] == "btime")
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError, ValueError):
            name, _, fields = (process / "stat").read_text(errors="replace").partition("(")[2].rpartition(")")
            if name.startswith("tritonserver"):
                yield boot + int(fields.split()[19]) / os.sysconf("SC_CLK_TCK")
