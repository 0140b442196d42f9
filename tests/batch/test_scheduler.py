"""Which worker gets which entry: once each, alone after a death, set aside after several, back after a setback."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from swinunet.batch.attempts import Attempts
from swinunet.batch.manifest import ManifestRow
from swinunet.batch.pool import IN_HAND, Died, Event, Finished, Setback
from swinunet.batch.scheduler import Scheduler
from swinunet.foundation.errors import ServerError


class ScriptedPool:
    """Workers that end their oldest entry at each `wait`. fate: asked what becomes of an entry; None: it is done."""

    def __init__(self, workers: int, fate: Callable[[str], Event | str | None] = lambda entry: None) -> None:
        self.hands: dict[int, list[str]] = {number: [] for number in range(workers)}
        self.given: list[tuple[str, int]] = []  # entry, and how many others its worker had in hand
        self._fate, self._next = fate, workers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pass

    def workers(self) -> list[int]:
        return list(self.hands)

    def submit(self, worker: int, entry: str) -> None:
        self.given.append((entry, len(self.hands[worker])))
        self.hands[worker].append(entry)
        assert len(self.hands[worker]) <= IN_HAND

    def wait(self, seconds: float) -> list[Event]:
        worker = next(number for number, held in self.hands.items() if held)
        fate = self._fate(self.hands[worker][0])
        if fate == "death":
            held = self.hands.pop(worker)
            self.hands[self._next] = []
            self._next += 1
            return [Died(tuple(held), "killed")]
        entry = self.hands[worker].pop(0)
        return [fate if isinstance(fate, Setback) else Finished(entry, (ManifestRow(entry, entry, "done"),))]


def run(pool: ScriptedPool, entries: list[str], journal: Path, deaths: int = 3) -> dict[str, ManifestRow]:
    """The one row of each entry."""
    scheduler = Scheduler(entries, pool, Attempts(journal), deaths)
    rows = [row for rows in scheduler.run() for row in rows]
    assert Counter(row.entry for row in rows) == Counter(entries)
    assert scheduler.left == 0
    return {row.entry: row for row in rows}


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "attempts.jsonl"


ENTRIES = [f"e{number}" for number in range(9)]


def test_every_entry_ends_once_and_no_worker_has_too_many(journal: Path) -> None:
    pool = ScriptedPool(2)
    assert {row.state for row in run(pool, ENTRIES, journal).values()} == {"done"}
    assert sorted(entry for entry, _ in pool.given) == ENTRIES


def test_an_entry_that_kills_is_set_aside_and_nothing_else_is(journal: Path) -> None:
    pool = ScriptedPool(2, lambda entry: "death" if entry == "e4" else None)
    rows = run(pool, ENTRIES, journal)
    assert [entry for entry, row in rows.items() if row.state == "set_aside"] == ["e4"]
    assert rows["e4"].deaths == 3
    assert "3 times" in rows["e4"].reason
    again = [others for entry, others in pool.given if entry == "e4"][1:]
    assert again == [0, 0], "after its first death it was not alone"


def test_nothing_is_added_to_a_worker_that_has_a_suspect(journal: Path) -> None:
    """With one worker, so that whatever comes next would have to go there."""
    pool = ScriptedPool(1, lambda entry: "death" if entry == "e0" else None)
    rows = run(pool, ENTRIES, journal)
    assert {entry: row.deaths for entry, row in rows.items() if row.deaths} == {"e0": 3, "e1": 1}  # e1 was in hand, too
    assert [row.state for row in rows.values()].count("set_aside") == 1


def test_an_entry_whose_worker_died_by_chance_is_done(journal: Path) -> None:
    fates = iter(["death"])
    rows = run(ScriptedPool(2, lambda entry: next(fates, None)), ENTRIES, journal)
    assert {row.state for row in rows.values()} == {"done"}
    assert sum(row.deaths for row in rows.values()) == IN_HAND


def test_an_entry_that_fails_while_others_succeed_is_set_aside(journal: Path) -> None:
    bad = Setback("e1", "it answered nonsense", server_gone=False)
    rows = run(ScriptedPool(2, lambda entry: bad if entry == "e1" else None), ENTRIES, journal)
    assert [entry for entry, row in rows.items() if row.state == "set_aside"] == ["e1"]
    assert "it answered nonsense" in rows["e1"].reason


def test_without_a_server_the_run_stops_and_sets_nothing_aside(journal: Path) -> None:
    pool = ScriptedPool(2, lambda entry: Setback(entry, "no Triton answers", server_gone=True))
    scheduler = Scheduler(ENTRIES, pool, Attempts(journal), 3)
    with pytest.raises(ServerError, match="no Triton answers; nothing was segmented for a while"):
        list(scheduler.run())
    assert scheduler.left == len(ENTRIES)


def test_a_server_that_comes_back_is_enough(journal: Path) -> None:
    tries: Counter[str] = Counter()

    def fate(entry: str) -> Event | None:
        tries[entry] += 1
        return Setback(entry, "gone", server_gone=True) if tries.total() % 3 else None

    assert {row.state for row in run(ScriptedPool(2, fate), ENTRIES, journal).values()} == {"done"}


def test_what_the_last_run_died_with_is_a_suspect(journal: Path) -> None:
    """Two earlier processes died with e3 in hand, each beside another entry; a third would be the last."""
    for beside in ("e1", "e2"):
        before = Attempts(journal)
        before.begin("e3")
        before.begin(beside)
        before.close()
    rows = run(ScriptedPool(1, lambda entry: "death" if entry == "e3" else None), ENTRIES, journal)
    assert [entry for entry, row in rows.items() if row.state == "set_aside"] == ["e3"]


def test_what_a_run_gave_back_is_none(journal: Path) -> None:
    for _ in range(4):
        attempts = Attempts(journal)
        scheduler = Scheduler(ENTRIES, ScriptedPool(1), attempts, 3)
        next(scheduler.run())
        scheduler.let_go()
        attempts.close()
    assert not Attempts(journal).deaths


def test_an_entry_that_has_killed_enough_is_not_given_out(journal: Path) -> None:
    for _ in range(3):
        before = Attempts(journal)
        before.begin("e3")
        before.close()
    pool = ScriptedPool(1)
    assert run(pool, ENTRIES, journal)["e3"].state == "set_aside"
    assert "e3" not in [entry for entry, _ in pool.given]
