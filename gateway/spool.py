"""The spool: every file of the gateway, in folders that only its user can read.

incoming/OWNER/NAME        being received; linked into instances/, and removed once the ledger has it
instances/STUDY/SERIES/NAME   received; STUDY and SERIES are hashes of the UIDs
jobs/JOB-FENCE/            a job under way: its input as links, its results until they are whole
results/JOB-FENCE/         results that the ledger knows
ledger.sqlite, lock
"""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from swinunet.foundation.errors import OutputError
from swinunet.foundation.files import prepare_folder
from swinunet.gateway.names import folder_of_uid

_PARTS = ("incoming", "instances", "jobs", "results")


@dataclass(frozen=True)
class Spool:
    """root: absolute. Paths in the ledger are relative to it."""

    root: Path

    @staticmethod
    def prepare(root: Path) -> Spool:
        """Make the folders, for this user alone. Raises OutputError if they cannot be written or are open to others."""
        spool = Spool(root.absolute())
        for folder in (spool.root, *(spool.root / part for part in _PARTS)):
            prepare_folder(folder)
            try:
                folder.chmod(0o700)
            except OSError as error:
                raise OutputError(f"{folder}: must be ours alone ({error.strerror}); give another spool") from None
        return spool

    def incoming(self, owner: str) -> Path:
        """Where an owner's servers write what is being received."""
        return self.root / "incoming" / owner

    def make_incoming(self, owner: str) -> Path:
        """The same, made if it is not there."""
        folder = self.incoming(owner)
        folder.mkdir(exist_ok=True, mode=0o700)
        return folder

    def study(self, study_uid: str) -> Path:
        """The folder of a study's instances."""
        return self.root / "instances" / folder_of_uid(study_uid)

    def job(self, job_id: int, fence: int) -> Path:
        """The work folder of one lease of a job."""
        return self.root / "jobs" / f"{job_id}-{fence}"

    def result(self, job_id: int, fence: int) -> Path:
        """The results of one lease of a job."""
        return self.root / "results" / f"{job_id}-{fence}"

    def relative(self, path: Path) -> str:
        """As the ledger has it."""
        return str(path.relative_to(self.root))


def new_file_name() -> str:
    """A name that no other file of the spool has."""
    return f"{secrets.token_hex(12)}.dcm"


def sync_folder(folder: Path) -> None:
    """Return when the folder's entries are on the disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Return when the file's content is on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Return when everything in the folder is on the disk. Raises OSError."""
    for parent, _, names in os.walk(folder):
        for name in names:
            sync_file(Path(parent, name))
        sync_folder(Path(parent))


def make_synced(folder: Path, below: Path) -> None:
    """Make `folder` and its parents up to `below`, each noted on the disk. Raises OSError."""
    missing = []
    while folder != below and not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(exist_ok=True, mode=0o700)
        sync_folder(each.parent)


def remove_tree(folder: Path) -> None:
    """Remove a folder, as far as it can be."""
    with suppress(OSError):
        shutil.rmtree(folder, ignore_errors=True)
