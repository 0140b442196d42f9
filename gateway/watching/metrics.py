"""Prometheus metrics: what the ledger says when it is asked, so that they survive a restart. No patient data.

swinunet_gateway_instances{kind}            received and stored, by what they are to us
swinunet_gateway_studies{state}             receiving, complete
swinunet_gateway_jobs{state,model}          by the states of `swinunet gateway status`
swinunet_gateway_refused_jobs{verdict}      by the first words of the verdict
swinunet_gateway_deliveries{state,destination}
swinunet_gateway_oldest_waiting_seconds     of the jobs that are due
swinunet_gateway_last_instance_timestamp_seconds
swinunet_gateway_stage_seconds_{sum,count}{stage}   receiving, waiting, segmenting, delivering
swinunet_gateway_associations               open now
swinunet_gateway_disk_{free,total}_bytes    of the spool
swinunet_gateway_outbox_messages{kind,state}, swinunet_gateway_audit_waiting
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Connection, case, func, select
from sqlalchemy.sql.elements import ColumnElement

from swinunet.gateway.ledger.clock import Clock, is_due
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.ledger.schema import JobState, audit, deliveries, instances, jobs, outbox, studies

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX = "swinunet_gateway_"
_VERDICT_WORDS = 4  # enough to tell verdicts apart, too few for numbers of a study


class LedgerCollector(Collector):
    """Reads the ledger at each scrape. associations: how many are open now."""

    def __init__(self, ledger: Ledger, spool: Path, clock: Clock, associations: Callable[[], int]) -> None:
        self._ledger, self._spool, self._clock, self._associations = ledger, spool, clock, associations

    def collect(self) -> Iterator[Metric]:
        """One family after the other; one transaction reads them all."""
        yield _gauge("associations", "DIMSE associations open now", [((), self._associations())])
        usage = shutil.disk_usage(self._spool)
        yield _gauge("disk_free_bytes", "Free on the spool's disk", [((), usage.free)])
        yield _gauge("disk_total_bytes", "Size of the spool's disk", [((), usage.total)])
        with self._ledger.read() as connection:
            yield from self._counts(connection)
            yield from self._times(connection)

    def describe(self) -> list[Metric]:
        """Empty, so that registering does not read the ledger."""
        return []

    def _counts(self, connection: Connection) -> Iterator[Metric]:
        kinds = connection.execute(select(instances.c.kind, func.count()).group_by(instances.c.kind))
        yield _gauge("instances", "Instances stored", [((kind,), count) for kind, count in kinds], ("kind",))
        states = connection.execute(select(studies.c.state, func.count()).group_by(studies.c.state))
        yield _gauge("studies", "Studies", [((state,), count) for state, count in states], ("state",))
        by_job = connection.execute(
            select(jobs.c.state, jobs.c.model, func.count()).group_by(jobs.c.state, jobs.c.model)
        )
        rows = [((state, model or ""), count) for state, model, count in by_job]
        yield _gauge("jobs", "Jobs", rows, ("state", "model"))
        asked = select(jobs.c.reason, func.count()).where(jobs.c.state == JobState.REFUSED).group_by(jobs.c.reason)
        verdicts: Counter[tuple[str, ...]] = Counter()
        for reason, count in connection.execute(asked):
            verdicts[(verdict_label(reason),)] += count
        yield _gauge("refused_jobs", "Jobs that no model reads", verdicts.items(), ("verdict",))
        sent = connection.execute(
            select(deliveries.c.state, deliveries.c.destination, func.count()).group_by(
                deliveries.c.state, deliveries.c.destination
            )
        )
        rows = [((state, destination), count) for state, destination, count in sent]
        yield _gauge("deliveries", "Results on their way or there", rows, ("state", "destination"))
        sent_one = outbox.c.sent.is_not(None)
        posted = connection.execute(
            select(outbox.c.kind, sent_one, outbox.c.given_up, func.count()).group_by(
                outbox.c.kind, sent_one, outbox.c.given_up
            )
        )
        rows = [
            ((kind, "sent" if was_sent else "given_up" if given_up else "waiting"), count)
            for kind, was_sent, given_up, count in posted
        ]
        yield _gauge("outbox_messages", "Webhook messages and commitment reports", rows, ("kind", "state"))
        unwritten = connection.scalar(select(func.count()).select_from(audit).where(~audit.c.written)) or 0
        yield _gauge("audit_waiting", "Events that the audit trail does not have yet", [((), unwritten)])

    def _times(self, connection: Connection) -> Iterator[Metric]:
        now = self._clock.wall()
        waiting = select(func.min(jobs.c.due)).where(jobs.c.state == JobState.WAITING, is_due(jobs, now))
        oldest = connection.scalar(waiting)
        age = self._clock.elapsed(oldest) if oldest is not None else 0.0
        yield _gauge("oldest_waiting_seconds", "How long the job that is due longest waits", [((), age)])
        last = connection.scalar(select(func.max(instances.c.received)))
        yield _gauge("last_instance_timestamp_seconds", "When the last instance came", [((), last or 0.0)])
        family = SummaryMetricFamily(f"{_PREFIX}stage_seconds", "Seconds of jobs in each stage", labels=("stage",))
        for stage, seconds, count in _stages(connection):
            family.add_metric((stage,), count_value=count, sum_value=seconds)
        yield family


def _stages(connection: Connection) -> Iterator[tuple[str, float, int]]:
    """(stage, seconds, jobs) of what has passed it."""
    delivered = (
        select(deliveries.c.job_id, func.min(deliveries.c.first_tried).label("first"))
        .group_by(deliveries.c.job_id)
        .subquery()
    )
    spans: list[tuple[str, ColumnElement[float], ColumnElement[float]]] = [
        ("waiting", jobs.c.created, jobs.c.started),
        ("segmenting", jobs.c.started, delivered.c.first),
        ("delivering", delivered.c.first, jobs.c.ended),
    ]
    for stage, begin, end in spans:
        joined = jobs.outerjoin(delivered, delivered.c.job_id == jobs.c.id)
        asked = (
            select(func.coalesce(func.sum(case((end > begin, end - begin), else_=0.0)), 0.0), func.count())
            .select_from(joined)
            .where(begin.is_not(None), end.is_not(None))
        )
        seconds, count = connection.execute(asked).one()
        yield stage, float(seconds), int(count)


def registry_of(collector: Collector) -> CollectorRegistry:
    """A registry with this collector alone: nothing of the process or its platform."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return registry


def exposition(registry: CollectorRegistry) -> bytes:
    """The text that Prometheus reads."""
    return generate_latest(registry)


def verdict_label(reason: str) -> str:
    """The kind of a verdict, without what belongs to one study: its first words, up to a number or punctuation."""
    words = []
    for word in reason.split():
        if any(each.isdigit() for each in word):
            break
        words.append(word.rstrip(".,:;"))
        if word[-1] in ".,:;" or len(words) == _VERDICT_WORDS:
            break
    return " ".join(words) or "other"


def _gauge(
    name: str, help_text: str, rows: Iterable[tuple[tuple[str, ...], float]], labels: tuple[str, ...] = ()
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"{_PREFIX}{name}", help_text, labels=labels)
    for values, value in rows:
        family.add_metric(values, float(value))
    return family
