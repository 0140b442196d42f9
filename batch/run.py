"""A run: list the archive, leave out what the manifest has, and segment the rest."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from swinunet.batch.archive.entries import of_shard
from swinunet.batch.archive.open_archive import is_local, open_archive
from swinunet.batch.attempts import Attempts
from swinunet.batch.manifest import ManifestRow, ManifestWriter, ended_entries, manifest_text
from swinunet.batch.pool import Pool
from swinunet.batch.run_record import require_same_run, sole_writer
from swinunet.batch.scheduler import Scheduler
from swinunet.batch.settings import BatchSettings
from swinunet.foundation.errors import InputError
from swinunet.foundation.progress import Say, say_nothing


@dataclass
class BatchProgress:
    """How far a run is. entries: of the shard; earlier: of these, ended in earlier runs; workers: that take entries.

    states: of the studies that this run has seen, by state.
    """

    entries: int
    earlier: int
    workers: int = 0
    ended: int = 0
    states: Counter[str] = field(default_factory=Counter)
    began: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> int:
        """Entries that have not ended."""
        return self.entries - self.earlier - self.ended

    @property
    def seconds_left(self) -> float | None:
        """By the pace of this run so far; None before the first entry has ended."""
        return (time.monotonic() - self.began) / self.ended * self.left if self.ended else None


def run_batch(
    settings: BatchSettings, new_pool: Callable[[BatchSettings], Pool], *, say: Say = say_nothing
) -> Generator[tuple[BatchProgress, tuple[ManifestRow, ...]], None, None]:
    """Segment every entry that the manifest does not have; yields progress, and what has ended, each second at least.

    new_pool: the engine. say: told what is done before the first entry is handed out.
    Closing the generator ends the run; a later one goes on. Raises InputError for an archive, or a manifest, that
    cannot be used; ServerError when nobody answers; OutputError for what cannot be written.
    """
    _require_apart(settings)
    archive = open_archive(settings.archive, settings.depth)
    require_same_run(settings)
    with sole_writer(settings.manifest, settings.shard):
        say(f"listing {settings.archive} ...")
        entries = of_shard(archive.entries(), settings.shard)
        if not entries and settings.shard.count == 1:
            raise InputError(f"{settings.archive}: nothing in it; expected folders, ZIP archives or NIfTI files")
        ended = set(ended_entries(settings.manifest, settings.shard.name))
        pending = [entry for entry in entries if manifest_text(entry) not in ended]
        progress = BatchProgress(len(entries), len(entries) - len(pending))
        del ended, entries
        yield progress, ()
        if pending:
            yield from _segment(settings, new_pool, pending, progress, say)


def _segment(
    settings: BatchSettings,
    new_pool: Callable[[BatchSettings], Pool],
    pending: list[str],
    progress: BatchProgress,
    say: Say,
) -> Iterator[tuple[BatchProgress, tuple[ManifestRow, ...]]]:
    with _attempts(settings) as attempts, _manifest(settings) as manifest:
        say("starting workers ...")
        with new_pool(settings) as pool:
            scheduler = Scheduler(pending, pool, attempts, settings.deaths)
            pending.clear()
            progress.began = time.monotonic()
            try:
                for rows in scheduler.run():
                    manifest.add(rows)
                    progress.ended += bool(rows)
                    progress.states.update(row.state for row in rows)
                    progress.workers = len(pool.workers())
                    yield progress, rows
            finally:
                scheduler.let_go()


@contextmanager
def _attempts(settings: BatchSettings) -> Iterator[Attempts]:
    attempts = Attempts(settings.manifest / f"{settings.shard.name}-attempts.jsonl")
    try:
        yield attempts
    finally:
        attempts.close()


@contextmanager
def _manifest(settings: BatchSettings) -> Iterator[ManifestWriter]:
    manifest = ManifestWriter(settings.manifest, settings.shard.name)
    try:
        yield manifest
    finally:
        manifest.flush()


def _require_apart(settings: BatchSettings) -> None:
    """Raise InputError where results would become inputs of the next run, or the other way round."""
    if not is_local(settings.archive):
        return
    archive, output = Path(settings.archive).resolve(), settings.output.resolve()
    if output.is_relative_to(archive) or archive.is_relative_to(output):
        raise InputError(f"{settings.output}: results and archive lie in one another; give another output folder")
