"""Many studies, one after another at the server: the next is read, and the last written, while one is segmented."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from swinunet.client.inputs import digest_of_input, load_input
from swinunet.client.job import JobResult, folders_of, require_no_input, run_job
from swinunet.client.results.formats import FILE_NAMES
from swinunet.client.results.options import OutputOptions
from swinunet.client.results.report import Report, read_report
from swinunet.client.resume import is_unfinished, require_same_result
from swinunet.client.rois import Roi
from swinunet.client.study_list import Study
from swinunet.client.triton import JobControl, TritonModel
from swinunet.foundation.errors import InputError, JobCancelledError, OutputError, ServerError, SwinUNetError
from swinunet.foundation.files import unwritable

Status = Literal["done", "skipped", "refused"]
Progress = Callable[[Study, int, int], None]  # a study, its slices that are done, all its slices
_ALREADY = "segmented already"
_AT_ONCE = 2  # one at the server; another is read before that, or written after it


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a study. report: of one that is done, or was done by an earlier run.

    error, and reason, in words but for the study's path: why one was skipped or refused, or not all results of one that
    is done were written.
    """

    study: Study
    folder: Path
    status: Status
    report: Report | None = None
    error: Exception | None = None
    reason: str = ""


def segment_studies(
    studies: Sequence[Study],
    folders: Sequence[Path],
    model: TritonModel,
    rois: tuple[Roi, ...] = (),
    *,
    options: OutputOptions | None = None,
    allow: Collection[str] = (),
    assume_ras: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress = lambda study, done, total: None,
) -> Generator[Outcome, None, None]:
    """Segment each study into its folder of results; yields what became of each, as they end. None stops the others.

    options: which results, and how. allow, assume_ras: as `load_input`. overwrite: replace results that exist.
    resume: a folder with the whole result of the same volume by the same model, boxes and options is skipped, not
    replaced; one with anything else is refused, saying what differs. progress: called from several threads.
    Closing the generator cancels the studies under way, which leave nothing; one that is being written by then is
    written to its end. KeyboardInterrupt does the same, and is raised when all that ended well was yielded.
    """
    inputs = folders_of(path for study in studies for path in study.paths)
    run = _Run(
        inputs, model, rois, options or OutputOptions(), frozenset(allow), assume_ras, overwrite, resume, progress
    )
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="study") as pool:
        jobs = {pool.submit(run.segment, study, folder) for study, folder in zip(studies, folders, strict=True)}
        try:
            for job in as_completed(tuple(jobs)):
                jobs.remove(job)
                yield job.result()
        except KeyboardInterrupt:
            run.stop()
            under_way = [job for job in jobs if not job.cancel()]
            ended = [job.result() for job in as_completed(under_way)]
            yield from (outcome for outcome in ended if not isinstance(outcome.error, JobCancelledError))
            raise
        finally:
            run.stop()
            pool.shutdown(cancel_futures=True)


class _Run:
    """What the studies of one run share."""

    def __init__(
        self,
        inputs: frozenset[Path],
        model: TritonModel,
        rois: tuple[Roi, ...],
        options: OutputOptions,
        allow: frozenset[str],
        assume_ras: bool,
        overwrite: bool,
        resume: bool,
        progress: Progress,
    ) -> None:
        self._inputs, self._allow, self._assume_ras = inputs, allow, assume_ras
        self._model, self._rois, self._options = model, rois, options
        self._overwrite, self._resume, self._progress = overwrite, resume, progress
        self._turn, self._lock = threading.Lock(), threading.Lock()
        self._controls: set[JobControl] = set()
        self._stopped = False
        self._server_lost: ServerError | None = None

    def stop(self) -> None:
        """Cancel every study under way; those that begin later end at once."""
        with self._lock:
            self._stopped = True
            controls = list(self._controls)
        for control in controls:
            control.cancel()

    def segment(self, study: Study, folder: Path) -> Outcome:
        """One study, whatever happens to it."""
        try:
            reason = self._reason_to_skip(study, folder)
            if reason:
                return Outcome(
                    study, folder, "skipped", _report_in(folder) if reason == _ALREADY else None, reason=reason
                )
            if self._server_lost:
                raise ServerError(f"not begun: {self._server_lost}")
            return self._done(study, folder, self._segment(study, folder))
        except Exception as error:
            if isinstance(error, ServerError) and not self._model.is_reachable():
                self._server_lost = self._server_lost or error
            reason = str(error) if isinstance(error, SwinUNetError) else f"unexpected {type(error).__name__}"
            reason = " ".join(reason.split()).removeprefix(f"{study.path}: ")
            return Outcome(study, folder, "refused", reason=reason, error=error)

    def _done(self, study: Study, folder: Path, result: JobResult) -> Outcome:
        try:
            result.require_all_outputs()
        except OutputError as error:
            return Outcome(study, folder, "done", result.report, error, str(error))
        return Outcome(study, folder, "done", result.report)

    def _reason_to_skip(self, study: Study, folder: Path) -> str:
        """Empty if the study is to be segmented. Raises OutputError if its folder holds an input, or anything else."""
        spec = self._model.spec
        if study.modality not in (None, spec.modality):
            return f"its modality is {study.modality or 'not given'}, the model reads {spec.modality}"
        require_no_input(folder, self._inputs)
        if self._resume and folder.exists() and not is_unfinished(folder):
            digest = digest_of_input(study.path, spec, study.series_uid, study.scan, self._allow)
            rois = self._rois if study.rois is None else study.rois
            require_same_result(folder, digest, spec, rois, self._options)
            return _ALREADY
        return ""

    def _segment(self, study: Study, folder: Path) -> JobResult:
        control = JobControl(self._model.options.timeouts.job, self._turn)
        with self._lock:
            self._controls.add(control)
            if self._stopped:
                control.cancel()
        rois = self._rois if study.rois is None else study.rois
        try:
            loaded = load_input(
                study.path, self._model.spec, study.series_uid, study.scan, self._allow, assume_ras=self._assume_ras
            )
            total, done = 0, 0

            def expect(slices: int) -> None:
                nonlocal total
                total += slices
                self._progress(study, done, total)

            def tick(slices: int) -> None:
                nonlocal done
                done += slices
                self._progress(study, done, total)

            overwrite = self._overwrite or (self._resume and folder.exists() and is_unfinished(folder))
            return run_job(loaded, folder, self._model, rois, tick, self._options, overwrite, control, expect)
        except OSError as error:  # of the temporary folder, for one: what is written aside raises errors of our own
            raise unwritable(folder, error) from None
        finally:
            with self._lock:
                self._controls.discard(control)


def _report_in(folder: Path) -> Report | None:
    """The report of a result that is there already."""
    try:
        return read_report(folder / FILE_NAMES["json"])
    except InputError:
        return None
