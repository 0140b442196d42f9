"""A part that looks again and again: an error does not end it, a stop does."""

from __future__ import annotations

import queue

import pytest

from swinunet.gateway.looping import Looping


def test_an_error_is_said_and_the_next_look_comes(caplog: pytest.LogCaptureFixture) -> None:
    looks: queue.Queue[str] = queue.Queue()

    def look() -> None:
        first = looks.empty() and not caplog.text
        looks.put("look")
        if first:
            raise OSError("with a path in it")

    loop = Looping("deliver-pacs", look, 0.01)
    loop.start()
    for _ in range(2):
        looks.get(timeout=60)
    loop.stop()
    assert "deliver-pacs: unexpected OSError" in caplog.text
    assert "path" not in caplog.text


def test_a_long_look_ends_when_it_is_told_to() -> None:
    begun: queue.Queue[None] = queue.Queue()

    def do_next() -> bool:
        begun.put(None)
        return True

    loop = Looping("messages", lambda: loop.while_some(do_next), 0.01)
    loop.start()
    begun.get(timeout=60)
    loop.stop()
    assert loop.is_stopped


def test_while_some_ends_with_the_last() -> None:
    left = [1, 2, 3]
    Looping("messages", lambda: None, 1.0).while_some(lambda: bool(left) and left.pop() > 0)
    assert left == []
