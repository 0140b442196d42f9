"""The runner: the order of what it does, what it leaves out, and that it ends what it started. Never how fast."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from swinunet.benchmarks.measure.measurements import Measurements
from swinunet.benchmarks.measure.processes import WorkerError
from swinunet.benchmarks.measure.rounds import Group, Task, run_interleaved, sampling


def a_group(done: list[str], *names: str) -> Group:
    resources = ExitStack()
    resources.callback(done.append, f"close {names}")
    turns = [Task(name, lambda name=name: done.append(name)) for name in names]  # type: ignore[misc]
    return Group([Task(f"loading {names}", lambda: done.append(f"load {names}"))], turns, f"{names}, ", resources)


def test_things_are_measured_in_turn_one_group_after_the_other() -> None:
    done: list[str] = []
    seen: list[tuple[int, int, str]] = []
    run = run_interleaved(
        [a_group(done, "a", "b"), a_group(done, "c")], 2, lambda count, total, text: seen.append((count, total, text))
    )
    first, second = "('a', 'b')", "('c',)"
    assert done == [f"load {first}", *"abab", f"close {first}", f"load {second}", *"cc", f"close {second}"]
    assert [count for count, _, _ in seen] == list(range(9))
    assert {total for _, total, _ in seen} == {8}
    assert seen[1] == (1, 8, f"{first}, round 1 of 2: a")
    assert seen[-1] == (8, 8, "done")
    assert run.rounds == 4
    assert run.seconds >= sum(run.rounds_s) + run.load_s
    assert run.machine.others_cpu is None or run.machine.others_cpu >= 0


def test_when_the_time_is_up_every_group_still_has_one_round() -> None:
    done: list[str] = []
    run = run_interleaved([a_group(done, "a"), a_group(done, "b")], 3, budget_s=0.0)
    assert done.count("a") == done.count("b") == 1
    assert run.rounds == 2


def test_what_failed_is_not_measured_again_and_the_others_go_on() -> None:
    good, bad = Measurements[int](), Measurements[int]()
    tried: list[int] = []

    def fail() -> int:
        tried.append(1)
        raise WorkerError("no answer within 1 s")

    run_interleaved([Group([], [sampling("bad", bad, fail), sampling("good", good, lambda: 7)])], 3)
    assert (tried, bad.error) == ([1], "no answer within 1 s")
    assert good.samples == [7, 7, 7]


def test_what_was_started_is_ended_when_a_run_is_broken_off() -> None:
    done: list[str] = []

    def break_off() -> None:
        raise KeyboardInterrupt

    group = a_group(done, "a")
    with pytest.raises(KeyboardInterrupt):
        run_interleaved([Group(group.load, [Task("stop", break_off)], resources=group.resources)], 1)
    assert done[-1] == "close ('a',)"
