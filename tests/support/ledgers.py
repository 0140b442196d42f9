"""Ledgers for tests: SQLite in a folder, and a PostgreSQL server of its own, started once for a run."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy


def postgres_programs() -> Path | None:
    """The folder of PostgreSQL's server programs, as Debian has them; None if they are not there."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).parent if initdb else None


def why_no_postgres() -> str | None:
    """Why no PostgreSQL can be started here; None if one can."""
    if postgres_programs() is None:
        return "PostgreSQL's server is not installed (make debian)"
    if os.geteuid() == 0 and _other_user() is None:
        return "PostgreSQL does not run as root, and there is no user postgres"
    return None


@contextmanager
def postgres_server() -> Iterator[str]:
    """A server that listens on a socket in a folder of its own; yields the URL of its first database."""
    programs, user = postgres_programs(), _other_user() if os.geteuid() == 0 else None
    assert programs is not None
    folder = Path(tempfile.mkdtemp(prefix="swinunet-postgres-"))
    options = {"user": user, "cwd": folder} if user else {"cwd": folder}
    if user:
        shutil.chown(folder, user)
    data = folder / "data"
    subprocess.run(
        [programs / "initdb", "--pgdata", data, "--username=gateway", "--auth=trust", "--encoding=UTF8"],
        check=True, capture_output=True, timeout=600, **options,
    )  # fmt: skip
    server = subprocess.Popen(
        [programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "max_connections=200"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options,
    )  # fmt: skip
    url = f"postgresql://gateway@/postgres?host={folder}"
    try:
        _wait_until_up(url)
        yield url
    finally:
        server.send_signal(signal.SIGINT)  # at once, whoever is connected
        server.wait(600)
        shutil.rmtree(folder, ignore_errors=True)


def new_database(server: str) -> str:
    """The URL of an empty database on a server."""
    name = f"ledger_{uuid.uuid4().hex[:12]}"
    engine = _engine(server)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return server.replace("/postgres?", f"/{name}?")


def _engine(url: str) -> sqlalchemy.Engine:
    return sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")


def _wait_until_up(url: str) -> None:
    engine, end = _engine(url), time.monotonic() + 120
    while True:
        try:
            with engine.connect():
                break
        except sqlalchemy.exc.OperationalError:
            assert time.monotonic() < end, "PostgreSQL does not start"
            time.sleep(0.1)
    engine.dispose()


def _other_user() -> str | None:
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return None
