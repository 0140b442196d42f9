"""Many studies, one after another at the server: the next is read, and the last written, while one is segmented."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from client.job import JobResult, load_input, run_job
from client.results.outputs import FILE_NAMES, OutputOptions, boxes_of
from client.results.report import Report, read_report
from client.rois import Roi
from client.segmentation import count_slices
from client.study_list import Study
from client.triton import JobControl, TritonModel
from swinunet.errors import InputError, OutputError, ServerError, SwinUNetError

Status = Literal["done", "skipped", "refused"]
Progress = Callable[[Study, int, int], None]  # a study, its slices that are done, all its slices
_AT_ONCE = 2  # one at the server; another is read before that, or written after it


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a study. report: of one that is done.

    error, and reason, in words: why one was skipped or refused, or not all results of one that is done were written.
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
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress = lambda study, done, total: None,
) -> Generator[Outcome, None, None]:
    """Segment each study into its folder of results; yields what became of each, as they end. None stops the others.

    options: which results, and how. allow: as `load_input`. overwrite: replace results that exist.
    resume: a folder with a whole result of the same input, model and boxes is skipped, not replaced; one with anything
    else is refused. progress: called from several threads. Closing the generator cancels the studies under way, which
    leave nothing; one that is being written by then is written to its end.
    """
    run = _Run(model, rois, options or OutputOptions(), frozenset(allow), overwrite, resume, progress)
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="study") as pool:
        try:
            jobs = [pool.submit(run.segment, study, folder) for study, folder in zip(studies, folders, strict=True)]
            for job in as_completed(jobs):
                yield job.result()
        finally:
            run.stop()
            pool.shutdown(cancel_futures=True)


class _Run:
    """What the studies of one run share."""

    def __init__(
        self,
        model: TritonModel,
        rois: tuple[Roi, ...],
        options: OutputOptions,
        allow: frozenset[str],
        overwrite: bool,
        resume: bool,
        progress: Progress,
    ) -> None:
        self._model, self._rois, self._options, self._allow = model, rois, options, allow
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
                return Outcome(study, folder, "skipped", reason=reason)
            if self._server_lost:
                raise ServerError(f"not begun: {self._server_lost}")
            return self._done(study, folder, self._segment(study, folder))
        except Exception as error:
            if isinstance(error, ServerError) and not self._model.is_reachable():
                self._server_lost = self._server_lost or error
            reason = str(error) if isinstance(error, SwinUNetError) else f"unexpected {type(error).__name__}"
            return Outcome(study, folder, "refused", reason=" ".join(reason.split()), error=error)

    def _done(self, study: Study, folder: Path, result: JobResult) -> Outcome:
        try:
            result.require_all_outputs()
        except OutputError as error:
            return Outcome(study, folder, "done", result.report, error, str(error))
        return Outcome(study, folder, "done", result.report)

    def _reason_to_skip(self, study: Study, folder: Path) -> str:
        """Empty if the study is to be segmented. Raises OutputError if its folder holds something else."""
        if self._resume and folder.exists():
            self._require_same_result(study, folder)
            return "segmented already"
        series, wanted = (study.scan.series if study.scan else ()), self._model.spec.modality
        if series and series[0].modality != wanted:
            return f"its modality is {series[0].modality or 'not given'}, the model reads {wanted}"
        return ""

    def _segment(self, study: Study, folder: Path) -> JobResult:
        control = JobControl(self._model.options.timeouts.job, self._turn)
        with self._lock:
            self._controls.add(control)
            if self._stopped:
                control.cancel()
        try:
            loaded = load_input(study.path, self._model.spec, study.series_uid, study.scan, self._allow)
            total, done = count_slices(loaded.volume, self._model, self._rois), 0
            self._progress(study, 0, total)

            def tick(slices: int) -> None:
                nonlocal done
                done += slices
                self._progress(study, done, total)

            return run_job(loaded, folder, self._model, self._rois, tick, self._options, self._overwrite, control)
        finally:
            with self._lock:
                self._controls.discard(control)

    def _require_same_result(self, study: Study, folder: Path) -> None:
        """Raise OutputError unless `folder` holds a whole result of this study by this model, in these boxes."""
        try:
            report = read_report(folder / FILE_NAMES["json"])
        except InputError:
            raise OutputError(f"{folder}: exists already and holds no whole result; --overwrite replaces it") from None
        if report.failed:
            raise OutputError(
                f"{folder}: exists already, but {', '.join(report.failed)} could not be written then; --overwrite "
                "replaces it"
            )
        same_input = self._names_input(report, study, folder)
        if not (same_input and report.model.spec == self._model.spec and report.boxes == boxes_of(self._rois)):
            raise OutputError(
                f"{folder}: exists already, made from another input, by another model or in other boxes; --overwrite "
                "replaces it, or give another output folder"
            )

    def _names_input(self, report: Report, study: Study, folder: Path) -> bool:
        """Whether a report is of this study, as far as a de-identified one says so."""
        if self._options.pseudonyms:
            return report.settings.deidentified and report.input.name == folder.name
        uid = report.input.series_instance_uid
        return report.input.name == study.path.resolve().name and study.series_uid in (None, uid)
