"""Local copies go when their time has come and their destinations have promised to keep them, and not before."""

from __future__ import annotations

from pathlib import Path

import pytest
from ledger_rows import finished, leased, new_job
from sqlalchemy import func, select, update
from turned_clock import TurnedClock

from swinunet.gateway.config.settings import RetentionConfig
from swinunet.gateway.contract import CommitmentReport
from swinunet.gateway.delivering.retention import Retention
from swinunet.gateway.ledger.commitments import lease_commitment, take_report
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.ledger.deliveries import end_delivery, lease_deliveries
from swinunet.gateway.ledger.jobs import end_job
from swinunet.gateway.ledger.schema import JobState, instances, studies
from swinunet.gateway.spool import Spool

KEPT = RetentionConfig(inputs_hours=1, results_hours=10, refused_hours=5, history_hours=100)


class Kept:
    """A spool with the files that the ledger names, and hours that pass."""

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self.ledger, self.spool, self.time = ledger, Spool.prepare(folder / "spool"), TurnedClock()
        self.retention = Retention(KEPT, self.spool, ledger, self.time.clock)

    def make_files(self) -> None:
        with self.ledger.read() as connection:
            files = [*connection.scalars(select(instances.c.file)), "results/1-1/segmentation.dcm"]
        for file in files:
            (self.spool.root / file).parent.mkdir(parents=True, exist_ok=True)
            (self.spool.root / file).write_bytes(b"x")

    def after(self, hours: float) -> tuple[int, bool]:
        """How many inputs are left then, and whether the results are."""
        self.time.advance(hours * 3600)
        self.retention.remove_old()
        inputs = len(list((self.spool.root / "instances").rglob("*.dcm")))
        return inputs, (self.spool.root / "results" / "1-1").exists()


@pytest.fixture
def kept(ledger: Ledger, tmp_path: Path) -> Kept:
    made = Kept(ledger, tmp_path)
    new_job(ledger, made.time.wall_s)
    return made


def deliver(kept: Kept, commitment: str | None = None) -> None:
    for each in lease_deliveries(kept.ledger, "pacs", "me", kept.time.wall_s):
        assert end_delivery(kept.ledger, each, True, "", kept.time.wall_s, ask_commitment=commitment)


def test_inputs_and_then_results_go_after_a_job_is_done(kept: Kept) -> None:
    finished(kept.ledger, kept.time.wall_s)
    kept.make_files()
    assert kept.after(1000) == (2, True)  # not delivered
    deliver(kept)
    assert kept.after(0.9) == (2, True)
    assert kept.after(0.2) == (0, True)
    assert kept.after(9) == (0, False)
    with kept.ledger.read() as connection:
        assert connection.scalar(select(func.count()).select_from(studies)) == 0  # its history went long ago


def test_nothing_goes_while_a_promise_is_awaited(kept: Kept) -> None:
    finished(kept.ledger, kept.time.wall_s)
    kept.make_files()
    deliver(kept, "2.25.1")
    assert kept.after(1000) == (2, True)
    asked = lease_commitment(kept.ledger, "pacs", "me", kept.time.wall_s, "2.25.2")
    assert asked
    assert kept.after(1000) == (2, True)
    assert take_report(kept.ledger, CommitmentReport("2.25.1", asked.references, {}), kept.time.wall_s)
    assert kept.after(0) == (0, False)


def test_what_was_refused_is_kept_by_its_own_rule(kept: Kept) -> None:
    end_job(kept.ledger, leased(kept.ledger, kept.time.wall_s), JobState.REFUSED, "gap", kept.time.wall_s, False)
    kept.make_files()
    assert kept.after(4.9)[0] == 2
    assert kept.after(0.2)[0] == 0


def test_a_study_that_receives_again_keeps_its_files(kept: Kept) -> None:
    end_job(kept.ledger, leased(kept.ledger, kept.time.wall_s), JobState.REFUSED, "gap", kept.time.wall_s, False)
    kept.make_files()
    with kept.ledger.write() as connection:
        connection.execute(update(studies).values(state="receiving"))
    assert kept.after(1000)[0] == 2


def test_a_clock_that_was_set_back_removes_nothing(kept: Kept) -> None:
    finished(kept.ledger, kept.time.wall_s)
    kept.make_files()
    deliver(kept)
    kept.time.turn(-86_400)
    assert kept.after(2) == (2, True)
