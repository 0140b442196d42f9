"""Sends the outbox: webhooks, and reports to peers that asked whether we hold their instances."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from swinunet.gateway.config.settings import DeliveringConfig
from swinunet.gateway.contract import SendOutcome
from swinunet.gateway.delivering.backoff import is_too_old, retry_after_s
from swinunet.gateway.ledger.clock import Clock
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.ledger.outbox import LeasedMessage, any_message_due, end_message, lease_message
from swinunet.gateway.looping import Looping

SendMessage = Callable[[str], SendOutcome]  # the payload, JSON
_log = logging.getLogger(__name__)
_LOOK_S = 0.2


class Messenger:
    """The outbox's thread. senders: by kind of message; a kind without one waits."""

    def __init__(
        self,
        config: DeliveringConfig,
        ledger: Ledger,
        owner: str,
        senders: Mapping[str, SendMessage],
        clock: Clock | None = None,
    ) -> None:
        self._config, self._ledger, self._owner, self._senders = config, ledger, owner, senders
        self._clock = clock or Clock()
        self._loop = Looping("messages", lambda: self._loop.while_some(self.send_next), _LOOK_S)

    def start(self) -> None:
        """Begin to send."""
        self._loop.start()

    def stop(self) -> None:
        """End when what is being sent is sent."""
        self._loop.stop()

    def send_next(self) -> bool:
        """Send the message that is due; False if none is."""
        kinds = tuple(self._senders)
        if not any_message_due(self._ledger, kinds, self._clock.wall()):
            return False
        message = lease_message(self._ledger, kinds, self._owner, self._clock.wall())
        if message is None:
            return False
        try:
            outcome = self._senders[message.kind](message.payload)
        except Exception as error:
            outcome = SendOutcome(False, True, False, None, f"unexpected {type(error).__name__}")
        self._note(message, outcome)
        return True

    def _note(self, message: LeasedMessage, outcome: SendOutcome) -> None:
        now = self._clock.wall()
        again = outcome.retry and not is_too_old(self._config, message.attempts, message.created, now)
        delay_s = retry_after_s(self._config, message.attempts) if again else 0.0
        if not outcome.accepted:
            what = f"tried again in {delay_s:.0f} s" if again else "given up"
            _log.warning("%s message %d: %s; %s", message.kind, message.id, outcome.words, what)
        end_message(self._ledger, message, outcome.accepted, outcome.words, now, delay_s)
