"""SIGTERM ends work as Ctrl-C does, so that whatever was begun is cleaned up."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def sigterm_interrupts(*, once: bool = False) -> Iterator[None]:
    """In this block SIGTERM raises KeyboardInterrupt. once: after the first SIGINT or SIGTERM, both are ignored."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if once:
            for number in _NUMBERS:
                signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (_NUMBERS if once else (signal.SIGTERM,))}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
