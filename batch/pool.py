"""What an engine offers to the scheduler: workers that take entries, and events that say what became of these."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from swinunet.batch.manifest import ManifestRow

IN_HAND = 2  # entries that a worker has at a time: one is read or written while the other is at the server


@dataclass(frozen=True)
class Finished:
    """An entry is done; rows: what became of its studies."""

    entry: str
    rows: tuple[ManifestRow, ...]


@dataclass(frozen=True)
class Setback:
    """An entry was given back undone. server_gone: its worker's server no longer answers; else it may be the entry."""

    entry: str
    reason: str
    server_gone: bool


@dataclass(frozen=True)
class Died:
    """A worker died, or is out of reach, with these entries in hand."""

    entries: tuple[str, ...]
    reason: str


Event = Finished | Setback | Died


class Pool(Protocol):
    """Workers, by their numbers; a worker that dies is replaced by one of another number."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...

    def workers(self) -> list[int]:
        """Those that take entries now. Raises ServerError if none does, nor will."""

    def submit(self, worker: int, entry: str) -> None:
        """Give a worker an entry; it has IN_HAND of them at most."""

    def wait(self, seconds: float) -> list[Event]:
        """What has happened, waiting so long for it at most. Raises what no other try will heal, as DiskFullError."""
