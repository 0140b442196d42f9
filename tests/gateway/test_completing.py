"""Studies become complete by the ledger's times and a clock that nobody sets; what comes late makes a new revision."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import select
from turned_clock import TurnedClock

from swinunet.foundation.errors import PeerError
from swinunet.gateway.completing.completer import Completer
from swinunet.gateway.config.settings import CompletenessConfig, RouteConfig
from swinunet.gateway.contract import Sender, SeriesCount
from swinunet.gateway.ledger.administration import JobStatus, status
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.ledger.jobs import files_of_job, lease_job
from swinunet.gateway.ledger.received import NewInstance, end_association, record_received
from swinunet.gateway.ledger.schema import InstanceKind, studies

RULE = CompletenessConfig(study_silence_s=60, series_silence_s=10, longest_wait_s=600)


class Bench:
    """A ledger, a clock, a completer, and somebody who sends. Restarting forgets all but the ledger."""

    def __init__(self, ledger: Ledger, rule: CompletenessConfig = RULE, **route: object) -> None:
        self.ledger, self.time = ledger, TurnedClock()
        self.routes = [RouteConfig("all", ("out",), complete=rule, **route)]  # type: ignore[arg-type]
        self.counts: Sequence[SeriesCount] | None = None
        self.asked = 0
        self.completer = self._completer()

    def _completer(self) -> Completer:
        return Completer(self.ledger, self.routes, self._count, self.time.clock)

    def _count(self, peer: str, study_uid: str) -> Sequence[SeriesCount]:
        self.asked += 1
        if self.counts is None:
            raise PeerError(f"{peer} is not there")
        return self.counts

    def restart(self) -> None:
        self.time.restart()
        self.completer = self._completer()

    def send(self, numbers: Sequence[int], *, study: str = "1.1", series: str = "1.1.1", end: bool = True) -> None:
        who = Sender("dimse", "MR1", "127.0.0.1", f"a{study}")
        rows = [
            NewInstance(
                f"{series}.{number}", "1.2.3", "1.2.4", study, series, InstanceKind.IMAGE, "MR", "t1",
                f"instances/{series}/{number}", 100, who, self.time.wall_s,
            )
            for number in numbers
        ]  # fmt: skip
        record_received(self.ledger, rows, "owner")
        if end:
            end_association(self.ledger, who.association)

    def let_pass(self, seconds: float, step_s: float = 1.0) -> None:
        """Time, with a look at each step, as the thread has them."""
        passed = 0.0
        while passed < seconds:
            self.time.advance(min(step_s, seconds - passed))
            passed += step_s
            self.completer.look()

    def wait_for_answers(self) -> None:
        """Until the question that was asked is answered, then one more look."""
        self.completer._askers.shutdown(wait=True)
        self.completer.look()

    def jobs(self) -> list[JobStatus]:
        return [each for each in reversed(status(self.ledger)) if each.id is not None]

    def reason(self) -> str:
        with self.ledger.read() as connection:
            return str(connection.scalar(select(studies.c.reason)))


@pytest.fixture
def bench(ledger: Ledger) -> Bench:
    return Bench(ledger)


def test_after_its_association_a_study_is_complete_when_its_series_are_silent(bench: Bench) -> None:
    bench.send([1, 2, 3])
    bench.completer.look()
    bench.let_pass(9)
    assert bench.jobs() == []
    bench.let_pass(2)
    (job,) = bench.jobs()
    assert (job.state, job.revision, job.images, job.route) == ("waiting", 1, 3, "all")
    assert bench.reason() == "all associations ended, no series got an image for 10 s"


def test_an_open_association_means_that_more_may_come(bench: Bench) -> None:
    bench.send([1], end=False)
    bench.completer.look()
    bench.let_pass(59)
    assert bench.jobs() == []
    bench.let_pass(2)
    assert bench.reason() == "no image for 60 s"


def test_each_image_and_each_copy_begins_the_silence_anew(bench: Bench) -> None:
    for numbers in ([1], [2], [2]):
        bench.send(numbers)
        bench.completer.look()
        bench.let_pass(8)
    assert bench.jobs() == []
    bench.let_pass(3)
    (job,) = bench.jobs()
    assert job.images == 2


@pytest.mark.parametrize("turned_s", [0, -86_400, -5])
def test_a_restart_neither_forgets_nor_waits_for_ever(bench: Bench, turned_s: float) -> None:
    """A clock that was set back costs one more silence at most."""
    bench.send([1])
    bench.completer.look()
    bench.let_pass(6)
    bench.time.turn(turned_s)
    bench.restart()
    bench.completer.look()
    bench.let_pass(11)
    assert len(bench.jobs()) == 1


def test_after_a_restart_the_silence_of_before_counts(bench: Bench) -> None:
    bench.send([1])
    bench.time.advance(200)
    bench.restart()
    bench.completer.look()
    assert len(bench.jobs()) == 1


@pytest.mark.parametrize("turned_s", [-86_400, 86_400])
def test_a_clock_that_is_set_while_it_runs_changes_nothing(bench: Bench, turned_s: float) -> None:
    bench.send([1])
    bench.completer.look()
    bench.let_pass(5)
    bench.time.turn(turned_s)
    bench.let_pass(4)
    assert bench.jobs() == []
    bench.let_pass(2)
    assert len(bench.jobs()) == 1


def test_a_late_image_makes_a_new_revision_from_all_images(bench: Bench) -> None:
    bench.send([1, 2])
    bench.completer.look()
    bench.let_pass(11)
    bench.send([3])
    bench.completer.look()
    bench.let_pass(11)
    first, second = bench.jobs()
    assert (first.state, first.reason) == ("set_aside", "replaced by revision 2, which has more images")
    assert (second.state, second.revision, second.images) == ("waiting", 2, 3)


def test_a_job_that_runs_keeps_the_images_that_it_began_with(bench: Bench) -> None:
    bench.send([1, 2])
    bench.completer.look()
    bench.let_pass(11)
    job = lease_job(bench.ledger, "worker", bench.time.wall_s)
    assert job
    bench.send([3])
    bench.completer.look()
    bench.let_pass(11)
    assert [file for _, file in files_of_job(bench.ledger, job)] == ["instances/1.1.1/1", "instances/1.1.1/2"]
    assert [each.state for each in bench.jobs()] == ["running", "waiting"]
    later = lease_job(bench.ledger, "worker", bench.time.wall_s)
    assert later
    assert len(files_of_job(bench.ledger, later)) == 3


def test_an_image_that_comes_while_a_study_is_judged_is_not_left_out(bench: Bench) -> None:
    """Between the look at the study and its completion: the completion is refused, and tried again later."""
    from swinunet.gateway.ledger.studies import Planned, complete_study, receiving_study

    bench.send([1])
    seen = receiving_study(bench.ledger, "1.1")
    assert seen
    bench.send([2])
    assert not complete_study(bench.ledger, seen, [Planned("all")], "silent", bench.time.wall_s)
    assert bench.jobs() == []
    again = receiving_study(bench.ledger, "1.1")
    assert again
    assert complete_study(bench.ledger, again, [Planned("all")], "silent", bench.time.wall_s)
    assert not complete_study(bench.ledger, again, [Planned("all")], "silent", bench.time.wall_s)
    assert [each.images for each in bench.jobs()] == [2]


def counting(ledger: Ledger) -> Bench:
    return Bench(ledger, CompletenessConfig(
        study_silence_s=60, series_silence_s=10, longest_wait_s=600, count_from="pacs", count_after_s=2
    ))  # fmt: skip


def test_a_count_that_is_reached_completes_at_once_and_our_results_do_not_count(ledger: Ledger) -> None:
    bench = counting(ledger)
    bench.counts = [SeriesCount("1.1.1", "MR", 3), SeriesCount("1.1.2", "SEG", 1), SeriesCount("1.1.3", "SR", 1)]
    bench.send([1, 2, 3], end=False)
    bench.completer.look()
    bench.let_pass(3)
    bench.wait_for_answers()
    assert bench.reason() == "pacs has 3 images, all are here"
    assert bench.asked == 1


def test_what_never_comes_is_waited_for_and_then_named(ledger: Ledger) -> None:
    bench = counting(ledger)
    bench.counts = [SeriesCount("1.1.1", "MR", 120)]
    bench.send(range(118))
    bench.completer.look()
    bench.let_pass(3)
    bench.wait_for_answers()
    bench.let_pass(590, step_s=10)
    assert bench.jobs() == []
    bench.let_pass(20)
    (job,) = bench.jobs()
    assert (job.images, job.expected) == (118, 120)
    assert bench.reason() == "incomplete: 118 of 120 images after the longest wait of 600 s"


@pytest.mark.parametrize("counts", [None, [], [SeriesCount("1.1.1", "MR", None)]])
def test_a_pacs_that_cannot_say_leaves_it_to_silence(ledger: Ledger, counts: list[SeriesCount] | None) -> None:
    bench = counting(ledger)
    bench.counts = counts
    bench.send([1])
    bench.completer.look()
    bench.let_pass(3)
    bench.wait_for_answers()
    assert bench.jobs() == []
    bench.let_pass(8)
    assert bench.reason().startswith("all associations ended")


def test_a_study_that_no_route_takes_is_set_aside_and_says_why(ledger: Ledger) -> None:
    bench = Bench(ledger, modality=("CT",))
    bench.send([1])
    bench.completer.look()
    bench.let_pass(11)
    (job,) = bench.jobs()
    assert (job.state, job.reason) == (
        "set_aside", "no route takes it: all: its modality is MR, the route takes CT",
    )  # fmt: skip


def test_studies_do_not_wait_for_each_other(bench: Bench) -> None:
    bench.send([1], study="1.1", series="1.1.1")
    bench.completer.look()
    for _ in range(4):
        bench.send([1], study="2.2", series="2.2.2")
        bench.let_pass(3)
    assert [each.images for each in bench.jobs()] == [1]
