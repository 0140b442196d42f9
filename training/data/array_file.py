"""Arrays in one file, read row by row: what does not fit into memory, or is shared by the processes of a machine.

Rows are read with `pread`, not mapped: a process holds what it asked for and no more, while the system's page cache,
which all processes share, keeps as much of the file as there is memory to spare.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from swinunet.foundation.errors import InputError
from swinunet.foundation.files import unwritable


class Rows(Protocol):
    """An array in memory or in a file, of which rows, or a range of them, are read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """As NumPy's."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, at: int | slice, /) -> np.ndarray: ...


class ArrayFile:
    """A file that arrays are appended to. Another process gets it by pickling, and opens it before `unlink`."""

    def __init__(self, path: Path) -> None:
        self.path, self.size = path, 0
        self._descriptor: int | None = None

    def append(self, array: np.ndarray) -> StoredArray:
        """Write `array` behind what is there. Raises OutputError if there is no room for it."""
        content = np.ascontiguousarray(array)
        stored = StoredArray(self, self.size, content.shape, content.dtype.str)
        left = content.reshape(-1).view(np.uint8).data
        try:
            if self._descriptor is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            while left:
                written = os.pwrite(self._descriptor, left, self.size)
                self.size += written
                left = left[written:]
        except OSError as error:
            raise unwritable(self.path.parent, error) from None
        return stored

    def read_into(self, out: np.ndarray, offset: int) -> None:
        """Fill `out`, whose memory is in one piece, from the byte at `offset`. Raises InputError if it ends before."""
        left = out.reshape(-1).view(np.uint8).data
        self.open()
        assert self._descriptor is not None
        while left:
            count = os.preadv(self._descriptor, [left], offset)
            if not count:
                raise InputError(f"{self.path}: ends at byte {offset}; it was changed while it was in use")
            left, offset = left[count:], offset + count

    def open(self) -> None:
        """Open it to read, where this process has not yet."""
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_RDONLY)

    def unlink(self) -> None:
        """Take its name away; its content goes with the last process that has it open, however that ends."""
        self.path.unlink(missing_ok=True)

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "size": self.size, "_descriptor": None}

    def __del__(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


@dataclass(frozen=True)
class StoredArray:
    """An array in an ArrayFile. offset: of its first byte. dtype: as `numpy.dtype.str`."""

    file: ArrayFile
    offset: int
    shape: tuple[int, ...]
    dtype: str

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, at: int | slice, /) -> np.ndarray:
        """A row, or some that follow each other, newly read."""
        start, stop, step = (at, at + 1, 1) if isinstance(at, int) else at.indices(len(self))
        if step != 1 or not 0 <= start <= stop <= len(self):
            raise IndexError(at)
        found = np.empty((stop - start, *self.shape[1:]), self.dtype)
        self.file.read_into(found, self.offset + start * (found[:1].nbytes or found.itemsize))
        return found[0] if isinstance(at, int) else found

    def whole(self) -> np.ndarray:
        """All of it, newly read."""
        return self[:]
