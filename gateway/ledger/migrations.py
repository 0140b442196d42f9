"""A new database gets the schema, an older one is brought to it step by step, a newer one is left alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import Connection, insert, inspect, select, update

from swinunet.foundation.errors import LedgerError
from swinunet.gateway.ledger.schema import VERSION, ledger_facts, metadata

# version -> what brings a ledger of that version to the next one
MIGRATIONS: Mapping[int, Callable[[Connection], None]] = {}
_NAME = "version"


def prepare(connection: Connection, place: str) -> None:
    """Bring the database to this software's schema, in the transaction of `connection`. place: named in errors.

    Raises LedgerError for a ledger that is newer, or tables of somebody else.
    """
    found = _version(connection, place)
    if found is None:
        metadata.create_all(connection)
        connection.execute(insert(ledger_facts).values(name=_NAME, value=str(VERSION)))
        return
    if found > VERSION:
        raise LedgerError(
            f"{place}: the ledger has version {found}, this software reads up to {VERSION}; update this software "
            "(pip install -U swinunet)"
        )
    for version in range(found, VERSION):
        if version not in MIGRATIONS:
            raise LedgerError(
                f"{place}: the ledger has version {version}, which this software cannot bring to {VERSION}; "
                "drain it with the version that made it, then begin a new ledger"
            )
        MIGRATIONS[version](connection)
    connection.execute(update(ledger_facts).where(ledger_facts.c.name == _NAME).values(value=str(VERSION)))


def _version(connection: Connection, place: str) -> int | None:
    """The schema version of the database, None for an empty one."""
    tables = set(inspect(connection).get_table_names())
    if not tables & metadata.tables.keys():
        return None
    value = None
    if ledger_facts.name in tables:
        value = connection.scalar(select(ledger_facts.c.value).where(ledger_facts.c.name == _NAME))
    if value is None or not str(value).isdecimal():
        raise LedgerError(f"{place}: holds tables that are no ledger of this software; give another database")
    return int(value)
