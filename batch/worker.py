"""A worker: its own client, and its own Triton or a shared one; it takes entries and says what became of each study."""

from __future__ import annotations

import dataclasses
import socket
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from swinunet.batch.archive.entries import result_folder
from swinunet.batch.archive.open_archive import open_archive
from swinunet.batch.manifest import ManifestRow, State
from swinunet.batch.settings import BatchSettings
from swinunet.client.job import folders_called
from swinunet.client.run_summary import input_row
from swinunet.client.study_list import Study, studies_in
from swinunet.client.study_queue import Outcome, segment_studies
from swinunet.client.triton import TritonModel
from swinunet.foundation.errors import (
    DiskFullError,
    InputError,
    JobCancelledError,
    OutputError,
    ServerError,
    SourceError,
    SwinUNetError,
)
from swinunet.foundation.paths import default_repository
from swinunet.imaging import ModelSpec


class SetbackError(SwinUNetError):
    """An entry that was not segmented, through no known fault of its own. server_gone: nobody answers any more."""

    def __init__(self, reason: str, server_gone: bool) -> None:
        super().__init__(reason, server_gone)  # both, so that it can be pickled
        self.reason, self.server_gone = reason, server_gone


class StudyWorker:
    """Segments entries of an archive, from several threads if need be. Use it in a `with` block.

    Starts a Triton unless the settings name one. Raises ServerError if no model answers, or another than the settings
    expect; ServingError if Triton does not start.
    """

    def __init__(self, settings: BatchSettings) -> None:
        warnings.simplefilter("ignore")  # in every thread: pydicom's quote values, which may be the patient's
        self._settings = settings
        self._archive = open_archive(settings.archive, settings.depth)
        self._stopped = threading.Event()
        self._node = socket.gethostname()
        with ExitStack() as stack:
            self._model = stack.enter_context(_model(settings))
            require_spec(self._model.spec, settings.spec, self._model.url)
            self._open = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, and the Triton that was started here."""
        self._open.close()

    def stop(self) -> None:
        """Cancel the studies under way, from any thread; they leave nothing."""
        self._stopped.set()

    def segment(self, entry: str) -> tuple[ManifestRow, ...]:
        """Segment every study of an entry that has no result yet; a row for each study.

        What is wrong with a study is in its row. Raises SetbackError for what another try may heal, DiskFullError, and
        JobCancelledError after `stop`.
        """
        try:
            return self._segment(entry)
        except JobCancelledError:
            raise
        except SourceError as error:
            raise SetbackError(str(error), server_gone=False) from None
        except ServerError as error:
            raise SetbackError(str(error), server_gone=not self._model.is_reachable()) from None

    def _segment(self, entry: str) -> tuple[ManifestRow, ...]:
        results = self._settings.results_folder / result_folder(entry)
        place = f"{self._settings.archive}/{entry}"
        try:
            with self._archive.opened(entry) as path:
                place = str(path)
                studies = studies_in(path)
                folders = folders_called([study.name for study in studies], results, existing_ok=True)
                outcomes = self._outcomes(studies, folders)
        except InputError as error:
            reason = " ".join(str(error).split())
            return (self._row(entry, "", "refused", reason=reason.removeprefix(f"{place}: ")),)
        except SwinUNetError:
            raise
        except Exception as error:  # whatever a library raises: one entry must not end the run
            return (self._row(entry, "", "refused", reason=f"unexpected {type(error).__name__}"),)
        finally:
            with suppress(OSError):
                results.rmdir()  # of an entry without any result
        return tuple(self._row_of(entry, outcome) for outcome in outcomes)

    def _outcomes(self, studies: Sequence[Study], folders: Sequence[Path], may_have_lost: bool = True) -> list[Outcome]:
        settings = self._settings
        found = segment_studies(
            studies, folders, self._model, options=settings.results, allow=settings.allow,
            assume_ras=settings.assume_ras, resume=True, progress=self._cancel_if_stopped,
        )  # fmt: skip
        outcomes: list[Outcome] = []
        lost: list[Outcome] = []
        for outcome in found:
            if isinstance(outcome.error, ServerError | DiskFullError):
                found.close()
                raise outcome.error
            appeared = isinstance(outcome.error, OutputError) and outcome.folder.exists()
            (lost if appeared and may_have_lost else outcomes).append(outcome)
        if lost:  # to another worker, taken for dead, which has written the same result first
            outcomes += self._outcomes([each.study for each in lost], [each.folder for each in lost], False)
        return sorted(outcomes, key=lambda outcome: outcome.folder.name)

    def _cancel_if_stopped(self, _study: Study, _done: int, _total: int) -> None:
        if self._stopped.is_set():
            raise JobCancelledError("the run was stopped")

    def _row_of(self, entry: str, outcome: Outcome) -> ManifestRow:
        row = input_row(outcome)
        report = outcome.report
        state: State = "done" if report else "skipped" if outcome.status == "skipped" else "refused"
        reason = "" if state == "done" and not outcome.error else row.why
        base = self._row(entry, outcome.study.name, state, reason=reason)
        if report is None:
            return base
        return dataclasses.replace(
            base,
            verdict=report.input.verdict,
            result=str(outcome.folder.relative_to(self._settings.output)),
            structures=row.structures,
            seconds=row.seconds,
            model=report.model.name,
            model_version=report.model.version,
            checkpoint_sha256=report.model.checkpoint_sha256,
        )

    def _row(self, entry: str, study: str, state: State, *, reason: str) -> ManifestRow:
        return ManifestRow(entry, study, state, reason=reason, node=self._node, ended=time.time())


def require_spec(found: ModelSpec, expected: ModelSpec, url: str) -> None:
    """Raise ServerError if a server has another model than the run began with."""
    if found != expected:
        detail = (
            f"{found.name} version {found.version}"
            if (found.name, found.version) != (expected.name, expected.version)
            else "another model of that name and version"
        )
        raise ServerError(
            f"the Triton at {url} serves {detail}, the run is of {expected.name} version {expected.version}; serve "
            "that everywhere, or give another output folder"
        )


@contextmanager
def _model(settings: BatchSettings) -> Iterator[TritonModel]:
    if settings.url is not None:
        with TritonModel(settings.url, settings.model, settings.server) as model:
            yield model
        return
    from swinunet.serving import TritonServer

    repository = settings.repository or default_repository()
    with TritonServer(repository, private=True) as ours, ours.started_again_if_it_dies():
        server = dataclasses.replace(settings.server, headers=ours.restricted_headers, why_gone=ours.why_gone)
        with TritonModel(ours.url, settings.model, server) as model:
            yield model
