"""Secrets come from files that only their owner reads; they stand in no configuration and on no command line."""

from __future__ import annotations

from pathlib import Path

from swinunet.foundation.errors import InputError
from swinunet.gateway.config.settings import GatewayConfig


def read_secret(path: Path) -> str:
    """The content of a file without the line's end. Raises InputError if it is empty, or others can read it."""
    try:
        if path.stat().st_mode & 0o077:
            raise InputError(f"{path}: others can read this secret; chmod 600 it")
        secret = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise InputError(f"{path}: cannot read the secret ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: the secret is no text; expected one line of UTF-8") from None
    if not secret:
        raise InputError(f"{path}: the secret is empty; expected one line of text")
    return secret


def ledger_url(config: GatewayConfig) -> str:
    """Where the ledger is, with its password. Raises InputError, LedgerError."""
    if config.ledger.url is None:
        return f"sqlite:///{config.spool / 'ledger.sqlite'}"
    if config.ledger.password_file is None:
        return config.ledger.url
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(config.ledger.url)
    except ArgumentError:
        raise InputError("ledger.url cannot be read; expected postgresql://USER@HOST/NAME") from None
    return url.set(password=read_secret(config.ledger.password_file)).render_as_string(hide_password=False)
