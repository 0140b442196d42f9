"""Who may see the status page: whoever has the token, asked for once and then known by a cookie."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from hashlib import sha256

COOKIE = "swinunet_session"
_LASTS_S = 12 * 3600


class Sessions:
    """Makes and checks cookies and the tokens of forms. Those of an earlier process are worth nothing.

    token: what a person gives to log in; None lets everyone in.
    """

    def __init__(self, token: str | None, now: Callable[[], float] = time.time) -> None:
        self._token, self._now = token, now
        self._key = secrets.token_bytes(32)

    @property
    def is_open(self) -> bool:
        """Whether nobody needs to log in."""
        return self._token is None

    def is_token(self, given: str) -> bool:
        """Whether a person, or a program, gave the token. Takes the same time whatever is given."""
        expected = (self._token or "").encode()
        return self._token is not None and hmac.compare_digest(given.encode(), expected)

    def new_cookie(self) -> str:
        """The cookie of one who has logged in."""
        until = f"{self._now() + _LASTS_S:.0f}"
        return f"{until}.{self._sign('session', until)}"

    def is_cookie(self, cookie: str | None) -> bool:
        """Whether a cookie is one of ours that has not run out."""
        until, _, signature = (cookie or "").partition(".")
        if not hmac.compare_digest(signature.encode(), self._sign("session", until).encode()):
            return False
        return float(until) > self._now()

    def form_token(self, cookie: str | None) -> str:
        """What a form of this session carries, so that no other page can send it."""
        return self._sign("form", cookie or "")

    def is_form_token(self, given: str, cookie: str | None) -> bool:
        """Whether a form came from a page of this session."""
        return hmac.compare_digest(given.encode(), self.form_token(cookie).encode())

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose}:{text}".encode(), sha256).hexdigest()
