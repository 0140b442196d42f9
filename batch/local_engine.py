"""The local engine: one worker in this process."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Self

from swinunet.batch.manifest import ManifestRow
from swinunet.batch.pool import IN_HAND, Event, Finished, Setback
from swinunet.batch.settings import BatchSettings
from swinunet.batch.worker import SetbackError, StudyWorker

_ONLY = 0


class LocalPool:
    """A pool of one worker, whose entries are segmented in threads."""

    def __init__(self, settings: BatchSettings) -> None:
        self._settings = settings
        self._jobs: dict[Future[tuple[ManifestRow, ...]], str] = {}

    def __enter__(self) -> Self:
        self._worker = StudyWorker(self._settings)
        self._threads = ThreadPoolExecutor(IN_HAND, thread_name_prefix="entry")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._worker.stop()
        self._threads.shutdown(cancel_futures=True)
        self._worker.close()

    def workers(self) -> list[int]:
        """The one worker."""
        return [_ONLY]

    def submit(self, worker: int, entry: str) -> None:
        """Give the worker an entry."""
        self._jobs[self._threads.submit(self._worker.segment, entry)] = entry

    def wait(self, seconds: float) -> list[Event]:
        """What has ended."""
        done, _ = wait(self._jobs, timeout=seconds, return_when=FIRST_COMPLETED)
        return [self._event(self._jobs.pop(job), job) for job in done]

    def _event(self, entry: str, job: Future[tuple[ManifestRow, ...]]) -> Event:
        try:
            return Finished(entry, job.result())
        except SetbackError as error:
            return Setback(entry, error.reason, error.server_gone)
