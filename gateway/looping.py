"""A thread that looks again and again for something to do: what delivering, completing and removing have in common."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

_log = logging.getLogger(__name__)
_AFTER_ERROR_S = 1.0


class Looping:
    """Calls `look` every `every_s` seconds from `start` to `stop`.

    name: of the thread, and of what could not be done, in the log. An error never ends it: the database or the disk may
    be away for a while, and what is to be done is in the ledger.
    """

    def __init__(self, name: str, look: Callable[[], object], every_s: float) -> None:
        self._name, self._look, self._every_s = name, look, every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def is_stopped(self) -> bool:
        """Whether it was told to end: a long look should return soon."""
        return self._stopped.is_set()

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Return when the look under way has returned; there is no other."""
        self._stopped.set()
        self._thread.join()

    def while_some(self, do_next: Callable[[], bool]) -> None:
        """Do one after the other until nothing is left, or this is to end."""
        while not self.is_stopped and do_next():
            pass

    def _run(self) -> None:
        while not self._stopped.wait(self._every_s):
            try:
                self._look()
            except Exception as error:
                _log.error("%s: unexpected %s", self._name, type(error).__name__)
                self._stopped.wait(_AFTER_ERROR_S)
