"""The ledger's database: opened, its version checked, and transactions that survive a kill.

SQLite: WAL with synchronous=FULL, so a commit is on the disk when it returns; writers take their turn from the first
statement on (BEGIN IMMEDIATE). PostgreSQL: as it is, with READ COMMITTED.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, Table, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from swinunet.foundation.errors import LedgerError
from swinunet.gateway.ledger.migrations import prepare

_WRITES = "swinunet_writes"
_BUSY_S = 30.0


class Ledger:
    """An open ledger. Safe to use from several threads and, but for the lock of the gateway itself, processes.

    url: `sqlite:////absolute/path` or `postgresql://user:password@host/name`.
    Raises LedgerError if it cannot be opened, or is of another version.
    """

    def __init__(self, url: str) -> None:
        parsed = _parsed(url)
        self.place = parsed.render_as_string(hide_password=True)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self._engine = _engine(parsed, self.is_sqlite)
        try:
            with self.write() as connection:
                if not self.is_sqlite:  # two gateways that start on one new database
                    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(5748210)")
                prepare(connection, self.place)
        except SQLAlchemyError as error:
            self.close()
            raise LedgerError(f"{self.place}: the ledger cannot be opened ({_cause(error)})") from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may change rows: committed, on the disk, when the block ends well; else rolled back."""
        with self._engine.connect().execution_options(**{_WRITES: True}) as connection, connection.begin():
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        with self._engine.connect() as connection, connection.begin():
            yield connection

    def insert(self, table: Table) -> Any:
        """`INSERT` with the dialect's `on_conflict_do_update` and `on_conflict_do_nothing`."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)


def new_owner() -> str:
    """A name for this process as an owner of leases: never the same again."""
    return f"{socket.gethostname()[:32]}-{os.getpid()}-{secrets.token_hex(6)}"


@contextmanager
def sole_gateway(spool: Path) -> Iterator[None]:
    """Hold the spool for this process, and the SQLite ledger in it. Raises LedgerError if another gateway has it."""
    descriptor = os.open(spool / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise LedgerError(
            f"{spool}: another gateway works in this spool; stop it, or give this one a spool of its own"
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)


def is_full(error: Exception) -> bool:
    """Whether a database says that its disk is full."""
    return isinstance(error, DBAPIError) and any(
        words in str(error.orig).lower() for words in ("disk is full", "no space left")
    )


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise LedgerError("the ledger's URL cannot be read; expected postgresql://USER@HOST/NAME") from None
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise LedgerError(
            f"a ledger on {parsed.get_backend_name()} is not supported; expected postgresql://USER@HOST/NAME, or "
            "no URL for SQLite in the spool"
        )
    if parsed.get_backend_name() == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    return parsed


def _engine(url: URL, is_sqlite: bool) -> sqlalchemy.Engine:
    try:
        if not is_sqlite:
            return sqlalchemy.create_engine(url, pool_pre_ping=True, pool_size=8, max_overflow=24, hide_parameters=True)
        # Threads keep their connections; transactions are begun below, not by the driver.
        engine = sqlalchemy.create_engine(
            url,
            hide_parameters=True,
            connect_args={"timeout": _BUSY_S, "isolation_level": None, "check_same_thread": False},
        )
    except (NoSuchModuleError, ModuleNotFoundError):
        raise LedgerError("a ledger on PostgreSQL needs psycopg; pip install 'swinunet[postgres]'") from None
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(_WRITES) else "BEGIN")


def _cause(error: SQLAlchemyError) -> str:
    """The driver's own words, on one line."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    return " ".join(str(origin).split())[:200]
