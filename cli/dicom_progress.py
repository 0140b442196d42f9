"""Progress of reading DICOM headers, for verbs that read a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def scan_progress() -> Iterator[Callable[[int, int], None]]:
    """A progress bar for `scan_folder`, on a terminal only; it is gone when the block ends."""
    from swinunet.foundation.progress import work_progress

    with work_progress(lines=False) as bar:
        task = bar.add_task("reading headers", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
