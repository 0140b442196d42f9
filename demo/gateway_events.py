"""What became of the one study of a gateway, and when, from its ledger."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import func, select

from swinunet.foundation.errors import ServerError
from swinunet.gateway.config.reading import read_config
from swinunet.gateway.config.secrets import ledger_url
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.ledger.schema import (
    CommitmentState,
    JobState,
    audit,
    commitments,
    deliveries,
    jobs,
    results,
    studies,
)
from swinunet.samples.gateway_process import GatewayProcess

_LONGEST_S, _LOOK_S = 600.0, 0.3
_ENDS = (JobState.DONE, JobState.FAILED, JobState.REFUSED, JobState.SET_ASIDE)


@dataclass(frozen=True)
class GatewayEvents:
    """Seconds of each step, and what it ended with. results: SOP class of each kind of DICOM object.

    committing_s: 0 where commitment was not asked.
    """

    images: int
    receiving_s: float
    completing_s: float
    complete_because: str
    waiting_s: float
    segmenting_s: float
    model: str
    delivering_s: float
    results: dict[str, str]
    committed: bool
    committing_s: float


def wait_for_the_end(gateway: GatewayProcess, say: Callable[[str], None]) -> GatewayEvents:
    """Return when the job is done and its results are committed where that is asked. say: each change of state.

    Raises ServerError if the gateway ends, or the job ends in any other way.
    """
    config = read_config(gateway.config)
    ledger = Ledger(ledger_url(config))
    try:
        deadline, last, began = time.monotonic() + _LONGEST_S, "", time.monotonic()
        while time.monotonic() < deadline:
            gateway.require_running()
            state, reason = _state(ledger)
            if state != last:
                say(f"{time.monotonic() - began:5.1f} s  {state.replace('_', ' ')}")
                last = state
            if state in _ENDS and state != JobState.DONE:
                raise ServerError(f"the job is {state.replace('_', ' ')}: {reason}")
            if state == JobState.DONE and not _commitments_open(ledger):
                return _events(ledger)
            time.sleep(_LOOK_S)
        raise ServerError(f"the study is {last or 'not known'} after {_LONGEST_S:g} s; expected it to be done")
    finally:
        ledger.close()


def _state(ledger: Ledger) -> tuple[str, str]:
    """Of the job, else of the study."""
    with ledger.read() as connection:
        row = connection.execute(select(jobs.c.state, jobs.c.reason).order_by(jobs.c.id.desc())).first()
        if row is None:
            row = connection.execute(select(studies.c.state, studies.c.reason)).first()
    return (str(row.state), str(row.reason)) if row else ("nothing received", "")


def _commitments_open(ledger: Ledger) -> bool:
    with ledger.read() as connection:
        states = connection.scalars(select(commitments.c.state)).all()
    return any(state in (CommitmentState.TO_ASK, CommitmentState.ASKED) for state in states)


def _events(ledger: Ledger) -> GatewayEvents:
    with ledger.read() as connection:
        study = connection.execute(select(studies)).one()
        job = connection.execute(select(jobs).order_by(jobs.c.id.desc())).first()
        assert job is not None
        at: dict[str, float] = {
            row.event: row.at for row in connection.execute(select(audit.c.event, audit.c.at).order_by(audit.c.id))
        }
        delivered = connection.scalar(select(func.max(deliveries.c.ended)).where(deliveries.c.job_id == job.id))
        made = connection.execute(
            select(results.c.kind, results.c.sop_class_uid).where(results.c.sop_class_uid.is_not(None))
        ).all()
        promised = connection.execute(select(commitments.c.state, commitments.c.set_at)).all()
    committed = bool(promised) and all(row.state == CommitmentState.COMMITTED for row in promised)
    return GatewayEvents(
        images=job.images,
        receiving_s=study.last_received - study.first_received,
        completing_s=at["study_complete"] - study.last_received,
        complete_because=study.reason,
        waiting_s=job.started - at["study_complete"],
        segmenting_s=at["job_ended"] - job.started,
        model=str(job.model),
        delivering_s=delivered - at["job_ended"],
        results={row.kind.upper(): row.sop_class_uid for row in made},
        committed=committed,
        committing_s=max(row.set_at for row in promised) - delivered if committed else 0.0,
    )
