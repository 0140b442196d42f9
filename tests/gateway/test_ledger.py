"""The ledger on SQLite and PostgreSQL: leases, fences, clocks that are set, deliveries, what a person does."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import sqlalchemy
from gateway_runs import jobs_of
from ledger_rows import finished, leased, new_job
from sqlalchemy import select, text
from turned_clock import TurnedClock

from swinunet.foundation.errors import InputError, LedgerError
from swinunet.gateway.contract import CommitmentReport, Reference
from swinunet.gateway.ledger.administration import (
    counts,
    find_study,
    forget_study,
    is_draining,
    retry,
    set_draining,
    under_way,
)
from swinunet.gateway.ledger.commitments import held_by_us, lease_commitment, note_asked, take_report
from swinunet.gateway.ledger.database import Ledger, sole_gateway
from swinunet.gateway.ledger.deliveries import (
    Destination,
    end_delivery,
    lease_deliveries,
    put_off_delivery,
    replace_by_twins,
)
from swinunet.gateway.ledger.jobs import ModelChoice, end_job, finish_job, lease_job, put_off_job, split_job, still_held
from swinunet.gateway.ledger.outbox import end_message, lease_message
from swinunet.gateway.ledger.owners import Watch, release_owner
from swinunet.gateway.ledger.schema import VERSION, JobState, audit, deliveries, metadata, open_associations
from swinunet.gateway.names import shown_uid

NOW = 1_800_000_000.0


def states(ledger: Ledger) -> list[str]:
    return [each.state for each in jobs_of(ledger)]


def test_it_opens_again_with_what_it_had(ledger_url: str) -> None:
    first = Ledger(ledger_url)
    new_job(first, NOW)
    first.close()
    second = Ledger(ledger_url)
    assert states(second) == ["waiting"]
    second.close()


def test_a_newer_ledger_is_left_alone(ledger_url: str) -> None:
    ledger = Ledger(ledger_url)
    with ledger.write() as connection:
        connection.execute(text("UPDATE ledger_facts SET value = '99' WHERE name = 'version'"))
    ledger.close()
    with pytest.raises(LedgerError, match=rf"has version 99, this software reads up to {VERSION}; update"):
        Ledger(ledger_url)


def test_an_older_ledger_without_a_way_here_says_what_to_do(ledger_url: str) -> None:
    ledger = Ledger(ledger_url)
    with ledger.write() as connection:
        connection.execute(text("UPDATE ledger_facts SET value = '0' WHERE name = 'version'"))
    ledger.close()
    with pytest.raises(LedgerError, match=r"has version 0, .* drain it with the version that made it"):
        Ledger(ledger_url)


def test_somebody_elses_tables_are_refused(ledger_url: str) -> None:
    engine = sqlalchemy.create_engine(ledger_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE jobs (id INTEGER PRIMARY KEY)")
    engine.dispose()
    with pytest.raises(LedgerError, match="no ledger of this software"):
        Ledger(ledger_url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://host/name", "a ledger on mysql is not supported"),
        ("what", "URL cannot be read"),
        ("postgresql://gateway:s3cret@127.0.0.1:1/none", "the ledger cannot be opened"),
        ("sqlite:////no/such/folder/ledger.sqlite", "the ledger cannot be opened"),
    ],
)
def test_a_ledger_that_cannot_be_opened(url: str, said: str) -> None:
    with pytest.raises(LedgerError, match=said) as caught:
        Ledger(url)
    assert "s3cret" not in str(caught.value)


def test_sqlite_commits_are_on_the_disk(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    with ledger.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
    ledger.close()


def test_a_second_gateway_on_one_spool_is_refused(tmp_path: Path) -> None:
    refused = pytest.raises(LedgerError, match="another gateway works in this spool")
    with sole_gateway(tmp_path), refused, sole_gateway(tmp_path):
        pass
    with sole_gateway(tmp_path):
        pass


def test_what_a_block_that_fails_wrote_is_gone(ledger: Ledger) -> None:
    row = {"at": NOW, "event": "x", "success": True, "details": "{}", "written": False}

    def fail() -> None:
        with ledger.write() as connection:
            connection.execute(audit.insert().values(row))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with ledger.read() as connection:
        assert connection.execute(select(audit)).all() == []


def test_a_job_is_leased_once_however_many_ask(ledger: Ledger) -> None:
    for number in range(6):
        new_job(ledger, NOW, study=f"1.{number}")
    taken: list[int] = []

    def work(name: str) -> None:
        while (job := lease_job(ledger, name, NOW)) is not None:
            taken.append(job.id)

    threads = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(set(taken))
    assert len(taken) == 6


def test_a_lease_that_was_lost_changes_nothing(ledger: Ledger) -> None:
    new_job(ledger, NOW)
    slow = leased(ledger, NOW, "slow")
    put_off_job(ledger, slow, "taken away", NOW, 0.0)
    quick = leased(ledger, NOW, "quick")
    assert (quick.id, quick.fence) == (slow.id, slow.fence + 1)
    assert not still_held(ledger, slow)
    assert not finish_job(ledger, slow, "results/1-1", [], [], NOW, False)
    assert not end_job(ledger, slow, JobState.FAILED, "late", NOW, False)
    assert not put_off_job(ledger, slow, "late", NOW, 5.0)
    assert split_job(ledger, slow, [ModelChoice("small", "1.1.1")], NOW) is None
    assert still_held(ledger, quick)
    assert end_job(ledger, quick, JobState.REFUSED, "gap", NOW, False)
    assert [(each.state, each.reason) for each in jobs_of(ledger)] == [("refused", "gap")]


def test_the_work_of_a_dead_owner_is_taken_up_by_whoever_sees_its_beat_stand_still(ledger: Ledger) -> None:
    time = TurnedClock()
    dead = Watch(ledger, "dead", 15.0, time.clock, beat_only=True)
    living = Watch(ledger, "living", 15.0, time.clock, beat_only=True)
    for name in ("dead", "living", "watcher"):
        with ledger.write() as connection:
            connection.execute(metadata.tables["owners"].insert().values(name=name, beat=0, started=NOW))
    released: list[str] = []
    watcher = Watch(ledger, "watcher", 15.0, time.clock, released.append)
    new_job(ledger, NOW)
    job = leased(ledger, NOW, "dead")
    dead.look()
    for _ in range(14):
        time.advance(1.0)
        time.turn(-3600.0)  # nobody's clock counts
        living.look()
        watcher.look()
    assert released == []
    for _ in range(3):
        time.advance(1.0)
        living.look()
        watcher.look()
    assert "dead" in released
    assert "living" not in released
    assert states(ledger) == ["waiting"]
    again = leased(ledger, NOW, "living")
    assert again.fence == job.fence + 1
    assert not still_held(ledger, job)


def test_an_owner_that_was_taken_for_dead_registers_again(ledger: Ledger) -> None:
    watch = Watch(ledger, "slow", 15.0)
    watch.look()
    with ledger.read() as connection:
        assert connection.execute(select(metadata.tables["owners"].c.name)).scalars().all() == ["slow"]


def test_the_associations_of_an_owner_end_with_it(ledger: Ledger) -> None:
    with ledger.write() as connection:
        connection.execute(open_associations.insert().values(association="a", study_uid="1.1", owner="dead"))
    release_owner(ledger, "dead")
    with ledger.read() as connection:
        assert connection.execute(select(open_associations)).all() == []


@pytest.mark.parametrize(("turned_s", "is_due"), [(0.0, False), (99.0, False), (101.0, True), (-3600.0, True)])
def test_what_was_put_off_is_due_in_time_or_when_the_clock_was_set_back(
    ledger: Ledger, turned_s: float, is_due: bool
) -> None:
    new_job(ledger, NOW)
    put_off_job(ledger, leased(ledger, NOW), "no answer", NOW, 100.0)
    assert (lease_job(ledger, "worker", NOW + turned_s) is not None) == is_due


def test_a_stop_is_no_attempt(ledger: Ledger) -> None:
    new_job(ledger, NOW)
    put_off_job(ledger, leased(ledger, NOW), "stopped", NOW, 0.0, counts=False)
    first = leased(ledger, NOW)
    assert first.attempts == 1
    put_off_job(ledger, first, "failed", NOW, 0.0)
    assert leased(ledger, NOW).attempts == 2


def test_a_study_for_several_models_becomes_several_jobs(ledger: Ledger) -> None:
    new_job(ledger, NOW)
    job = leased(ledger, NOW)
    given = split_job(ledger, job, [ModelChoice("a", "1.1.1"), ModelChoice("b", "1.1.1")], NOW)
    assert given
    assert (given.model, given.series_uid) == ("a", "1.1.1")
    assert still_held(ledger, given)
    assert [(each.model, each.state, each.images) for each in jobs_of(ledger)] == [
        ("a", "running", 2), ("b", "waiting", 2),
    ]  # fmt: skip


def test_results_go_out_in_order_and_end_the_job(ledger: Ledger) -> None:
    new_job(ledger, NOW)
    job = finished(ledger, NOW)
    assert states(ledger) == ["delivering"]
    seg, sr = lease_deliveries(ledger, "pacs", "me", NOW)
    assert (seg.kind, sr.kind) == ("seg", "sr")
    assert lease_deliveries(ledger, "pacs", "other", NOW) == []
    assert end_delivery(ledger, seg, True, "", NOW)
    put_off_delivery(ledger, sr, "busy", NOW, 10.0)
    assert states(ledger) == ["delivering"]
    assert lease_deliveries(ledger, "pacs", "me", NOW + 9) == []
    (sr,) = lease_deliveries(ledger, "pacs", "me", NOW + 11)
    assert sr.attempts == 2
    assert end_delivery(ledger, sr, True, "", NOW)
    assert not end_delivery(ledger, sr, True, "", NOW)
    assert [(each.id, each.state) for each in jobs_of(ledger)] == [(job.id, "done")]


def test_what_refers_to_something_waits_for_it(ledger: Ledger) -> None:
    new_job(ledger, NOW)
    finished(ledger, NOW)
    seg, sr = lease_deliveries(ledger, "pacs", "me", NOW)
    put_off_delivery(ledger, seg, "busy", NOW, 60.0)
    put_off_delivery(ledger, sr, "busy", NOW, 1.0)
    assert lease_deliveries(ledger, "pacs", "me", NOW + 5) == []
    assert len(lease_deliveries(ledger, "pacs", "me", NOW + 61)) == 2


def test_each_destination_goes_by_itself(ledger: Ledger) -> None:
    new_job(ledger, NOW)
    finished(ledger, NOW, [Destination("pacs", False), Destination("out", True)])
    (folder,) = lease_deliveries(ledger, "out", "me", NOW)
    assert folder.kind == "folder"
    assert end_delivery(ledger, folder, True, "", NOW)
    seg, _ = lease_deliveries(ledger, "pacs", "me", NOW)
    assert end_delivery(ledger, seg, False, "refused with 0x0122", NOW)
    (job,) = jobs_of(ledger)
    assert (job.state, {each.state for each in job.deliveries if each.destination == "pacs"}) == (
        "delivering", {"failed", "sending"},
    )  # fmt: skip


def test_a_destination_that_refuses_for_good_fails_the_job_and_retry_sends_again(ledger: Ledger) -> None:
    new_job(ledger, NOW)
    job = finished(ledger, NOW)
    seg, sr = lease_deliveries(ledger, "pacs", "me", NOW)
    put_off_delivery(ledger, sr, "not tried", NOW, 0.0)
    assert end_delivery(ledger, seg, False, "refused with 0x0122", NOW)
    (found,) = jobs_of(ledger)
    assert found.state == "failed"
    assert found.reason == "pacs: refused with 0x0122; pacs: what it refers to was not taken"
    assert retry(ledger, job.id, NOW) == f"job {job.id}: its results are delivered again"
    assert states(ledger) == ["delivering"]
    assert len(lease_deliveries(ledger, "pacs", "me", NOW)) == 2


def test_twins_take_the_place_of_label_maps(ledger: Ledger) -> None:
    new_job(ledger, NOW)
    finished(ledger, NOW, twins=True)
    (seg,) = lease_deliveries(ledger, "pacs", "me", NOW)  # alone: what follows may have to change
    assert replace_by_twins(ledger, seg, "takes none", NOW)
    assert not end_delivery(ledger, seg, True, "", NOW)
    uids = []
    while found := lease_deliveries(ledger, "pacs", "me", NOW):
        for each in found:
            assert each.reference
            uids.append(each.reference.sop_instance_uid)
            assert end_delivery(ledger, each, True, "", NOW)
    assert [uid.rpartition(".")[2] for uid in uids] == ["3", "4"]
    assert states(ledger) == ["done"]


def test_a_result_without_twins_is_not_replaced(ledger: Ledger) -> None:
    new_job(ledger, NOW)
    finished(ledger, NOW)
    seg, _ = lease_deliveries(ledger, "pacs", "me", NOW)
    assert not replace_by_twins(ledger, seg, "takes none", NOW)


def delivered_and_to_be_committed(ledger: Ledger) -> int:
    new_job(ledger, NOW)
    job = finished(ledger, NOW)
    for each in lease_deliveries(ledger, "pacs", "me", NOW):
        assert end_delivery(ledger, each, True, "", NOW, ask_commitment="2.25.1")
    return job.id


def test_a_destination_is_asked_to_keep_what_it_got(ledger: Ledger) -> None:
    job_id = delivered_and_to_be_committed(ledger)
    asked = lease_commitment(ledger, "pacs", "me", NOW, "2.25.2")
    assert asked
    assert asked.transaction_uid == "2.25.1"
    assert [each.sop_instance_uid for each in asked.references] == [f"9.{job_id}.1", f"9.{job_id}.2"]
    assert lease_commitment(ledger, "pacs", "other", NOW, "2.25.2") is None
    note_asked(ledger, asked, True, "", NOW, 100.0)
    assert take_report(ledger, CommitmentReport("2.25.1", asked.references, {}), NOW)
    assert lease_commitment(ledger, "pacs", "me", NOW + 1000, "2.25.2") is None
    assert not take_report(ledger, CommitmentReport("2.25.77", (), {}), NOW)


def test_a_report_that_comes_before_the_answer_counts(ledger: Ledger) -> None:
    delivered_and_to_be_committed(ledger)
    asked = lease_commitment(ledger, "pacs", "me", NOW, "2.25.2")
    assert asked
    assert take_report(ledger, CommitmentReport("2.25.1", asked.references, {}), NOW)
    note_asked(ledger, asked, True, "", NOW, 1.0)
    assert lease_commitment(ledger, "pacs", "me", NOW + 1000, "2.25.2") is None


def test_without_a_report_it_is_asked_again_as_another_transaction(ledger: Ledger) -> None:
    delivered_and_to_be_committed(ledger)
    asked = lease_commitment(ledger, "pacs", "me", NOW, "2.25.2")
    assert asked
    note_asked(ledger, asked, True, "", NOW, 100.0)
    assert lease_commitment(ledger, "pacs", "me", NOW + 99, "2.25.2") is None
    again = lease_commitment(ledger, "pacs", "me", NOW + 101, "2.25.2")
    assert again
    assert (again.transaction_uid, again.references) == ("2.25.2", asked.references)


def test_what_is_not_held_there_is_sent_again(ledger: Ledger) -> None:
    delivered_and_to_be_committed(ledger)
    asked = lease_commitment(ledger, "pacs", "me", NOW, "2.25.2")
    assert asked
    seg, sr = asked.references
    assert take_report(ledger, CommitmentReport("2.25.1", (seg,), {sr: 0x0112}), NOW)
    assert states(ledger) == ["delivering"]
    (again,) = lease_deliveries(ledger, "pacs", "me", NOW)
    assert again.reference == sr
    assert end_delivery(ledger, again, True, "", NOW, ask_commitment="2.25.3")
    assert states(ledger) == ["done"]
    anew = lease_commitment(ledger, "pacs", "me", NOW, "2.25.4")
    assert anew
    assert anew.references == (seg, sr)


def test_what_we_hold_is_what_was_received_and_what_we_made(ledger: Ledger) -> None:
    new_job(ledger, NOW)
    job = finished(ledger, NOW)
    asked = [Reference("1.2.3", uid) for uid in ("1.1.1.1", f"9.{job.id}.1", "1.1.1.9")]
    assert held_by_us(ledger, asked) == {"1.1.1.1", f"9.{job.id}.1"}


def test_the_end_of_a_job_is_told_without_the_patient(ledger: Ledger) -> None:
    new_job(ledger, NOW)
    end_job(ledger, leased(ledger, NOW), JobState.REFUSED, "patient words", NOW, webhook=True)
    message = lease_message(ledger, ["webhook"], "me", NOW)
    assert message
    told = json.loads(message.payload)
    assert (told["event"], told["state"], told["study"]) == ("job_ended", "refused", shown_uid("1.1"))
    assert "1.1" not in message.payload.replace(told["at"], "")
    assert "patient" not in message.payload
    assert lease_message(ledger, ["webhook"], "other", NOW) is None
    end_message(ledger, message, False, "503", NOW, 10.0)
    assert lease_message(ledger, ["webhook"], "me", NOW + 9) is None
    again = lease_message(ledger, ["webhook"], "me", NOW + 11)
    assert again
    end_message(ledger, again, True, "", NOW, 0.0)
    assert lease_message(ledger, ["webhook"], "me", NOW + 1000) is None


def test_a_job_that_goes_on_is_not_retried(ledger: Ledger) -> None:
    new_job(ledger, NOW)
    (job,) = jobs_of(ledger)
    assert job.id
    with pytest.raises(InputError, match=f"job {job.id} is waiting"):
        retry(ledger, job.id, NOW)
    with pytest.raises(InputError, match="there is no job 99"):
        retry(ledger, 99, NOW)


def test_a_refused_job_waits_again_for_any_model(ledger: Ledger) -> None:
    new_job(ledger, NOW)
    job = leased(ledger, NOW)
    end_job(ledger, job, JobState.REFUSED, "gap", NOW, False)
    retry(ledger, job.id, NOW)
    again = leased(ledger, NOW)
    assert (again.id, again.model, again.attempts) == (job.id, None, 1)


def test_what_is_forgotten_leaves_no_row(ledger: Ledger) -> None:
    new_job(ledger, NOW, study="1.1")
    new_job(ledger, NOW, study="2.2")
    finished(ledger, NOW)
    study = find_study(ledger, shown_uid("1.1")[:6])
    assert study == find_study(ledger, "1.1") == "1.1"
    files = forget_study(ledger, study, NOW)
    assert sorted(files) == ["instances/1.1/1.dcm", "instances/1.1/2.dcm", "results/1-1"]
    with pytest.raises(InputError, match="no study is called"):
        find_study(ledger, "1.1")
    assert states(ledger) == ["waiting"]
    with ledger.read() as connection:
        assert connection.execute(select(deliveries)).all() == []


def test_a_worker_whose_study_was_forgotten_keeps_nothing(ledger: Ledger) -> None:
    new_job(ledger, NOW)
    job = leased(ledger, NOW)
    forget_study(ledger, "1.1", NOW)
    assert not finish_job(ledger, job, "results/1-1", [], [], NOW, False)


def test_draining_is_told_to_all_and_taken_back(ledger: Ledger) -> None:
    assert not is_draining(ledger)
    set_draining(ledger, True)
    set_draining(ledger, True)
    assert is_draining(ledger)
    set_draining(ledger, False)
    assert not is_draining(ledger)


def test_what_is_under_way_is_counted(ledger: Ledger) -> None:
    new_job(ledger, NOW, study="1.1")
    new_job(ledger, NOW, study="2.2")
    end_job(ledger, leased(ledger, NOW), JobState.REFUSED, "gap", NOW, False)
    found = counts(ledger)
    assert (found["waiting"], found["refused"], found["receiving"], found["done"]) == (1, 1, 0, 0)
    assert under_way(found) == 1
