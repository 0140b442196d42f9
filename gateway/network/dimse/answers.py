"""The DIMSE provider of our associations, which gives each answer to the thread that asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_primitives import C_CANCEL, DimseServiceType
from pynetdicom.status import STATUS_PENDING, code_to_category

_Message = tuple[int, DimseServiceType] | tuple[None, None]
_NOTHING: tuple[None, None] = (None, None)
_LOOK_S = 0.1  # how often a waiting thread looks whether the connection still lives


class AnsweringProvider(DIMSEServiceProvider):
    """pynetdicom's provider without two of its faults (3.0.4).

    Messages of the peer wait in one queue for two readers: the association's reactor, which serves requests, and the
    thread that waits for the answer to a request of ours. pynetdicom pauses the reactor before it asks, but a reactor
    that has just passed its pause still takes the next message, and drops it where it is the answer. Here the reactor
    leaves the queue alone as long as an answer is awaited.

    When a connection ends, a mark in the queue wakes the thread that waits. The reactor could take this mark before
    the thread began to wait, which then waited for its whole time-out, or for ever without one. Here the mark stays in
    the queue, and the thread looks whether the connection still lives.
    """

    _asked = False  # a request of ours awaits its last answer

    def send_msg(self, primitive: Any, context_id: int) -> None:
        """Send a request or an answer; a request discards what came unasked before it."""
        if primitive.MessageIDBeingRespondedTo is None and not isinstance(primitive, C_CANCEL):
            with self.msg_queue.mutex:
                while self._take(_is_answer) is not None:
                    pass
                self._asked = True
        super().send_msg(primitive, context_id)

    def get_msg(self, block: bool = False) -> _Message:
        """The next message: without `block` the one for the reactor, with it the one for the thread that asked.

        (None, None): there is none, the time is over, or the connection has ended.
        """
        if block:
            return self._awaited_message()
        with self.msg_queue.mutex:
            if self._asked and not self.assoc.is_acceptor:
                return _NOTHING  # during a C-GET even the requests are for the thread that asked
            return self._take(_is_request if self._asked else _is_message) or _NOTHING

    def _awaited_message(self) -> _Message:
        deadline = None if self.dimse_timeout is None else time.monotonic() + self.dimse_timeout
        wanted = _is_answer if self.assoc.is_acceptor else _is_message
        with self.msg_queue.not_empty:
            while (message := self._take(wanted)) is None:
                left_s = _LOOK_S if deadline is None else min(_LOOK_S, deadline - time.monotonic())
                if _NOTHING in self.msg_queue.queue or not self.dul.is_alive() or left_s <= 0:
                    self._asked = False
                    return _NOTHING
                self.msg_queue.not_empty.wait(left_s)
            self._asked = not _is_last_answer(message)
            return message

    def _take(self, wanted: Callable[[_Message], bool]) -> _Message | None:
        """The first such message, out of the queue, whose mutex is held."""
        for at, message in enumerate(self.msg_queue.queue):
            if wanted(message):
                del self.msg_queue.queue[at]
                return cast(_Message, message)
        return None


def _is_message(message: _Message) -> bool:
    return message[1] is not None


def _is_answer(message: _Message) -> bool:
    return message[1] is not None and message[1].MessageIDBeingRespondedTo is not None


def _is_request(message: _Message) -> bool:
    return message[1] is not None and message[1].MessageIDBeingRespondedTo is None


def _is_last_answer(message: _Message) -> bool:
    """Whether nothing more follows: an answer whose status is not Pending (PS3.7 C)."""
    status = getattr(message[1], "Status", None)
    return _is_answer(message) and (status is None or code_to_category(status) != STATUS_PENDING)
