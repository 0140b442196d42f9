"""Studies and jobs put into a ledger by its own transactions, without files."""

from __future__ import annotations

from collections.abc import Sequence

from swinunet.gateway.contract import Sender
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.ledger.deliveries import Destination, NewResult
from swinunet.gateway.ledger.jobs import LeasedJob, finish_job, lease_job
from swinunet.gateway.ledger.received import NewInstance, record_received
from swinunet.gateway.ledger.schema import InstanceKind
from swinunet.gateway.ledger.studies import Planned, complete_study, receiving_study

SEG, SR = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.33"


def new_job(ledger: Ledger, now: float, study: str = "1.1", route: str = "all") -> None:
    """A study of two images that is complete, and its job, which waits."""
    who = Sender("dimse", "MR1", "127.0.0.1", "")
    rows = [
        NewInstance(
            f"{study}.1.{number}", "1.2.3", "1.2.4", study, f"{study}.1", InstanceKind.IMAGE, "MR", "t1",
            f"instances/{study}/{number}.dcm", 100, who, now,
        )
        for number in (1, 2)
    ]  # fmt: skip
    record_received(ledger, rows, "owner")
    received = receiving_study(ledger, study)
    assert received
    assert complete_study(ledger, received, [Planned(route)], "silent", now)


def leased(ledger: Ledger, now: float, owner: str = "worker") -> LeasedJob:
    """The job that is due, leased."""
    job = lease_job(ledger, owner, now)
    assert job
    return job


def finished(
    ledger: Ledger,
    now: float,
    destinations: Sequence[Destination] = (Destination("pacs", False),),
    twins: bool = False,
    webhook: bool = False,
) -> LeasedJob:
    """A job whose results, a SEG and a SR, are to be delivered."""
    job = leased(ledger, now)
    made = [
        NewResult("folder", 0, f"results/{job.id}-1"),
        NewResult("seg", 0, f"results/{job.id}-1/segmentation.dcm", SEG, f"9.{job.id}.1"),
        NewResult("sr", 1, f"results/{job.id}-1/measurements.dcm", SR, f"9.{job.id}.2"),
    ]
    if twins:
        made += [
            NewResult("seg", 0, "b/segmentation.dcm", SEG, f"9.{job.id}.3", twin=True),
            NewResult("sr", 1, "b/measurements.dcm", SR, f"9.{job.id}.4", twin=True),
        ]
    assert finish_job(ledger, job, f"results/{job.id}-1", made, destinations, now, webhook)
    return job
