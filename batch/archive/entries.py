"""The entries of an archive: what a worker takes at a time, listed without opening a file."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from swinunet.batch.settings import Shard
from swinunet.client.inputs import folder_name

RESULT_FOLDERS = 256  # into which results are spread, so that no folder has a million others in it


class Archive(ABC):
    """An archive whose entries have names that stay the same from run to run."""

    @abstractmethod
    def entries(self) -> Iterator[str]:
        """The name of each entry. Raises InputError if the archive is not there, or may not be read."""

    @abstractmethod
    def opened(self, entry: str) -> AbstractContextManager[Path]:
        """The entry as a local folder or file, for as long as the block lasts.

        Raises InputError for an entry that cannot be fetched, SourceError where that may succeed later.
        """

    def said_name(self, entry: str) -> str:
        """How messages call an entry."""
        return entry

    @staticmethod
    def digest(entry: str) -> str:
        """Eight hexadecimal digits that stand for an entry."""
        return f"{_digest(entry) % 16**8:08x}"


def of_shard(entries: Iterable[str], shard: Shard) -> list[str]:
    """Those entries that belong to a shard, in the order of their names.

    Which it is follows from the entry's name alone: entries that come later do not move the others.
    """
    return sorted(entry for entry in entries if _digest(entry) % shard.count == shard.number - 1)


def result_folder(entry: str) -> Path:
    """Where the results of an entry lie, below the folder of all results: XX/NAME."""
    name = folder_name(entry.replace("/", "_"))
    if "/" in entry:  # a_b/c and a/b_c are two entries
        name = folder_name(f"{entry.replace('/', '_')}-{Archive.digest(entry)}")
    return Path(f"{_digest(entry) % RESULT_FOLDERS:02x}") / name


def _digest(entry: str) -> int:
    return int.from_bytes(hashlib.sha256(entry.encode(errors="surrogateescape")).digest())
