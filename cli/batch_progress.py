"""What `swinunet batch` says while it runs, and at its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import typer

from swinunet.foundation.errors import SwinUNetError
from swinunet.foundation.progress import work_progress
from swinunet.foundation.terminal import print_line

if TYPE_CHECKING:
    from swinunet.batch.archive.entries import Archive
    from swinunet.batch.manifest import ManifestRow
    from swinunet.batch.pool import Pool
    from swinunet.batch.run import BatchProgress
    from swinunet.batch.settings import BatchSettings

_LINE_SECONDS = 30.0  # between lines where there is no terminal
_INTERRUPTED = 130
_STATES = ("done", "skipped", "refused", "set_aside")


def show(settings: BatchSettings, new_pool: Callable[[BatchSettings], Pool]) -> None:
    """Run, and show how far it is: a bar on a terminal, a line now and then elsewhere."""
    from swinunet.batch.run import BatchProgress

    progress = BatchProgress(0, 0)
    try:
        progress = _follow(settings, new_pool)
    except KeyboardInterrupt:
        print_line("swinunet: interrupted; the same command goes on from here", error=True)
        raise typer.Exit(_INTERRUPTED) from None
    _finish(settings, progress)


def _follow(settings: BatchSettings, new_pool: Callable[[BatchSettings], Pool]) -> BatchProgress:
    from swinunet.batch.archive.open_archive import open_archive
    from swinunet.batch.run import run_batch

    archive = open_archive(settings.archive, settings.depth)
    told = time.monotonic()
    with work_progress(lines=False) as bars, closing(run_batch(settings, new_pool, say=_say)) as run:
        bar = None
        for progress, rows in run:
            if bar is None:
                bar = bars.add_task("entries", total=progress.entries, completed=progress.earlier)
                if progress.earlier:
                    _say(f"{progress.entries} entries, {progress.earlier} of them ended before")
            bars.update(bar, completed=progress.earlier + progress.ended, note=_note(progress))
            _tell_of(rows, archive, bars.print)
            if not bars.console.is_terminal and time.monotonic() - told > _LINE_SECONDS:
                told = time.monotonic()
                _say(line(progress))
    return progress


def line(progress: BatchProgress) -> str:
    """Where a run is, in words."""
    done = progress.earlier + progress.ended
    return f"{done} of {progress.entries} entries ended; {_note(progress)}; {time_left(progress.seconds_left)}"


def time_left(seconds: float | None) -> str:
    """How long it will take, in words, in the unit that fits."""
    if seconds is None:
        return "time left not known yet"
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 1.5 * length:
            return f"about {seconds / length:.0f} {unit}s left"
    return f"about {seconds:.0f} s left"


def _note(progress: BatchProgress) -> str:
    counts = [f"{progress.states[state]} {_words(state)}" for state in _STATES if progress.states[state]]
    workers = f"{progress.workers} worker{'' if progress.workers == 1 else 's'}"
    return ", ".join([*counts, workers])


def _words(state: str) -> str:
    return state.replace("_", " ")


def _tell_of(rows: Sequence[ManifestRow], archive: Archive, tell: Callable[[str], None]) -> None:
    for row in rows:
        if row.state in ("refused", "set_aside"):
            name = archive.said_name(row.entry)
            where = f"{name}/{row.study}" if row.study and row.study != row.entry else name
            tell(f"swinunet: {where}: {_words(row.state)}: {row.reason}")


def _say(step: str) -> None:
    print_line(step, error=True)


def _finish(settings: BatchSettings, progress: BatchProgress) -> None:
    from swinunet.batch.manifest import count_states, parts_of

    counts = count_states(parts_of(settings.manifest, settings.shard.name))
    print_line(", ".join(f"{counts.get(state, 0)} {_words(state)}" for state in _STATES))
    print_line(f"{settings.manifest}: *.parquet; results: {settings.results_folder}")
    if bad := counts.get("refused", 0) + counts.get("set_aside", 0):
        raise SwinUNetError(f"{bad} studies were not segmented; their reasons are in the manifest")
