"""A worker: leases a job, carries it to its results, and leases the next."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from swinunet.client import JobControl
from swinunet.client.dicom import scan_folder, selector_of
from swinunet.foundation.errors import (
    DiskFullError,
    InputError,
    JobCancelledError,
    OutputError,
    ServerError,
    SpecError,
)
from swinunet.gateway.config.settings import GatewayConfig, RouteConfig
from swinunet.gateway.ledger.clock import Clock
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.ledger.deliveries import Destination
from swinunet.gateway.ledger.jobs import (
    LeasedJob,
    ModelChoice,
    any_job_due,
    end_job,
    files_of_job,
    finish_job,
    lease_job,
    put_off_job,
    split_job,
)
from swinunet.gateway.ledger.schema import JobState
from swinunet.gateway.names import shown_uid
from swinunet.gateway.routing.models import judge_models, refusal_of
from swinunet.gateway.spool import Spool, remove_tree
from swinunet.gateway.working.job_files import keep_results, link_input, remove_job_files
from swinunet.gateway.working.model_server import ServedModels
from swinunet.gateway.working.segmenting import results_in, segment_series, without_place
from swinunet.imaging import ModelSpec

_log = logging.getLogger(__name__)
_LOOK_S = 0.1
_SERVER_AWAY_S = 1.0
_LONGEST_RETRY_S = 3600.0


class _RefusedError(Exception):
    """A study that no model of its route reads; the message is the verdict."""


class Worker:
    """Runs jobs until it is stopped. owner: as its leases are called; somebody keeps its beat."""

    def __init__(
        self,
        config: GatewayConfig,
        spool: Spool,
        ledger: Ledger,
        models: ServedModels,
        owner: str,
        clock: Clock | None = None,
        stage: Callable[[str, LeasedJob], None] = lambda name, job: None,
    ) -> None:
        """stage: told where a job is, for tests that kill a worker there."""
        self._config, self._spool, self._ledger, self._models = config, spool, ledger, models
        self._owner, self._clock, self._stage = owner, clock or Clock(), stage
        self._stopped, self._cancelled = threading.Event(), threading.Event()
        self._control: JobControl | None = None
        self._away = False

    def run(self) -> None:
        """Take jobs as they come, until `finish` or `cancel`."""
        while not self._stopped.wait(_LOOK_S):
            try:
                while not self._stopped.is_set() and any_job_due(self._ledger, self._clock.wall()):
                    if not self._one():
                        break
            except Exception as error:  # the database may be away for a while
                _log.warning("no job could be taken (%s)", type(error).__name__)
                self._stopped.wait(_SERVER_AWAY_S)

    def finish(self) -> None:
        """Take no more jobs; the one under way goes on to its end."""
        self._stopped.set()

    def cancel(self) -> None:
        """Take no more jobs, and give back the one under way."""
        self._stopped.set()
        self._cancelled.set()
        if (control := self._control) is not None:
            control.cancel()

    def _one(self) -> bool:
        """Run a job, if the models answer; False if there is nothing to do now."""
        specs = self._served()
        if specs is None:
            self._stopped.wait(_SERVER_AWAY_S)
            return False
        job = lease_job(self._ledger, self._owner, self._clock.wall())
        if job is None:
            return False
        try:
            self._run(job, specs)
        finally:
            remove_job_files(self._spool, job)
        return True

    def _served(self) -> dict[str, ModelSpec] | None:
        """The specs of the models; None while nobody answers, which is said once."""
        try:
            specs = self._models.specs()
        except (ServerError, SpecError) as error:
            if not self._away:
                _log.warning("jobs wait for Triton: %s", error)
            self._away = True
            return None
        if self._away:
            _log.info("Triton answers again")
        self._away = False
        return specs

    def _run(self, job: LeasedJob, specs: dict[str, ModelSpec]) -> None:
        """One job, whatever happens to it: ended, or put off."""
        self._stage("leased", job)
        work = self._spool.job(job.id, job.fence)
        try:
            route = self._route(job)
            self._segment(job, route, specs)
        except _RefusedError as verdict:
            self._end(job, JobState.REFUSED, str(verdict))
        except (InputError, SpecError) as error:
            self._end(job, JobState.REFUSED, without_place(str(error), work / shown_uid(job.study_uid)))
        except JobCancelledError:
            put_off_job(self._ledger, job, "stopped", self._clock.wall(), 0.0, counts=False)
        except DiskFullError:
            self._try_again(job, "there is no room for the results")
        except OutputError as error:
            self._end(job, JobState.FAILED, without_place(str(error), work))
        except ServerError as error:
            self._models.drop()
            self._try_again(job, str(error))
        except OSError as error:
            self._try_again(job, f"the spool: {error.strerror or type(error).__name__}")
        except Exception as error:
            _log.error("job %d: unexpected %s", job.id, type(error).__name__)
            self._try_again(job, f"unexpected {type(error).__name__}")

    def _segment(self, job: LeasedJob, route: RouteConfig, specs: dict[str, ModelSpec]) -> None:
        folder = link_input(self._spool, job, files_of_job(self._ledger, job))
        scan = scan_folder(folder)
        if job.model is None:
            verdicts = judge_models(scan, route, specs)
            if refusal := refusal_of(verdicts):
                raise _RefusedError(refusal)
            choices = [ModelChoice(one.model, selector_of(volume)) for one in verdicts for volume in one.taken]
            given = split_job(self._ledger, job, choices, self._clock.wall())
            if given is None:
                return
            job = given
        assert job.model is not None
        assert job.series_uid is not None
        model = self._models.model(job.model)
        self._control = model.new_job()
        try:
            if self._cancelled.is_set():
                self._control.cancel()
            target = self._spool.job(job.id, job.fence) / "results"
            _log.info("job %d: %s reads study %s", job.id, job.model, shown_uid(job.study_uid))
            self._stage("segmenting", job)
            with model.span_around(self._control, "gateway job"):
                done = segment_series(folder, target, job.series_uid, scan, route, model, self._control)
                self._finish(job, route, target)
        finally:
            self._control = None
        seconds = sum(done.report.timings_s.values())
        _log.info("job %d: segmented in %.1f s, trace %s", job.id, seconds, done.segmentation.trace)

    def _finish(self, job: LeasedJob, route: RouteConfig, made: Path) -> None:
        kept = keep_results(self._spool, job, made)
        self._stage("kept", job)
        destinations = [Destination(name, self._config.peer(name).kind == "folder") for name in route.destinations]
        folder, now = self._spool.relative(kept), self._clock.wall()
        made_results = results_in(self._spool, kept)
        webhook = self._config.webhook is not None
        if not finish_job(self._ledger, job, folder, made_results, destinations, now, webhook):
            _log.warning("job %d: its lease was lost, its results are left to who has it", job.id)
            remove_tree(kept)
        self._stage("finished", job)

    def _route(self, job: LeasedJob) -> RouteConfig:
        for route in self._config.routes:
            if route.name == job.route:
                return route
        raise _RefusedError(f"there is no route {job.route!r} any more")

    def _try_again(self, job: LeasedJob, reason: str) -> None:
        """Put a job off, longer each time; after all attempts it has failed."""
        working = self._config.working
        if job.attempts >= working.attempts:
            self._end(job, JobState.FAILED, f"{reason} ({job.attempts} attempts)")
            return
        delay_s = min(_LONGEST_RETRY_S, working.retry_s * 2 ** (job.attempts - 1))
        _log.warning("job %d: %s; tried again in %.0f s", job.id, reason, delay_s)
        put_off_job(self._ledger, job, reason, self._clock.wall(), delay_s)

    def _end(self, job: LeasedJob, state: JobState, reason: str) -> None:
        _log.warning("job %d: %s: %s", job.id, state.value, reason)
        end_job(self._ledger, job, state, reason, self._clock.wall(), self._config.webhook is not None)
