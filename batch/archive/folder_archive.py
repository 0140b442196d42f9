"""An archive that is a folder on a disk which every worker sees."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from swinunet.batch.archive.entries import Archive
from swinunet.foundation.errors import InputError


class FolderArchive(Archive):
    """The folders and files that lie `depth` folders below `root`; a file that lies higher is an entry, too."""

    def __init__(self, root: Path, depth: int = 1) -> None:
        self._root, self._depth = root, depth

    def entries(self) -> Iterator[str]:
        """Paths below the root. Hidden ones are left out."""
        if not self._root.is_dir():
            raise InputError(f"{self._root}: no such folder; --tree wants the folder of an archive")
        yield from self._below(self._root, "", self._depth)

    def _below(self, folder: Path, prefix: str, depth: int) -> Iterator[str]:
        try:
            with os.scandir(folder) as found:
                for each in found:
                    if each.name.startswith("."):
                        continue
                    if depth > 1 and each.is_dir():
                        yield from self._below(folder / each.name, f"{prefix}{each.name}/", depth - 1)
                    else:
                        yield prefix + each.name
        except OSError as error:
            raise InputError(f"{folder}: cannot be listed ({error.strerror}); every folder must be readable") from None

    def opened(self, entry: str) -> AbstractContextManager[Path]:
        """The entry where it lies."""
        return nullcontext(self._root / entry)
