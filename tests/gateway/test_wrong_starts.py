"""`swinunet gateway` that cannot start says why in one line, exits with 1, and leaves nothing."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy
from certificates import Authority
from command_line import run_here

from swinunet.gateway.ledger.database import Ledger, sole_gateway
from swinunet.gateway.logs import _LIBRARIES
from swinunet.gateway.spool import Spool
from swinunet.samples.closed_network import LOOPBACK, free_port

_GATEWAY = "swinunet.gateway"
Start = Callable[..., subprocess.CompletedProcess[str]]

CONFIGURATION = """
spool = "{spool}"
{top}
[listener]
port = {port}
{listener}
[web]
port = {web}
[models]
url = "127.0.0.1:9"
[[peers]]
name = "out"
kind = "folder"
folder = "out"
[[routes]]
name = "all"
destinations = ["{destination}"]
"""


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """The verb sets its process's umask, handlers of signals, loggers and warnings; here that is the tests' own."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    loggers = [logging.getLogger(name) for name in (_GATEWAY, *_LIBRARIES)]
    before = [(each.level, each.propagate, list(each.handlers)) for each in loggers]
    umask = os.umask(0o022)
    os.umask(umask)
    with warnings.catch_warnings():
        yield
    os.umask(umask)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    for logger, (level, propagate, its_handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.propagate, logger.handlers = propagate, its_handlers


@pytest.fixture
def started(tmp_path: Path) -> Start:
    """Starts a gateway that differs in one thing from one that would run."""

    def start(
        top: str = "",
        listener: str = "",
        destination: str = "out",
        port: int = 0,
        web: int = 0,
        spool: str = "spool",
    ) -> subprocess.CompletedProcess[str]:
        config = tmp_path / "gateway.toml"
        ports = {"port": port or free_port(), "web": web or free_port()}
        config.write_text(
            CONFIGURATION.format(top=top, listener=listener, destination=destination, spool=spool, **ports)
        )
        return run_here("gateway", "--config", config)

    return start


def require_one_line(done: subprocess.CompletedProcess[str], *said: str) -> None:
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("swinunet: ")
    assert "Traceback" not in done.stderr
    for words in said:
        assert words in last


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"top": 'spol = "x"'}, "spol: there is no such key"),
        ({"top": 'stop_s = "soon"'}, "stop_s = 'soon': input should be a valid number"),
        ({"top": "stop_s = 0"}, "stop_s = '0': input should be greater than 0"),
        ({"listener": 'ae_title = "SEVENTEEN_LETTERS"'}, "has at most 16 characters, 'SEVENTEEN_LETTERS' has 17"),
        ({"destination": "pacs"}, "there is no peer 'pacs'; the peers are: out"),
    ],
    ids=["key", "type", "range", "AE title", "destination"],
)
def test_a_wrong_configuration(started: Start, tmp_path: Path, changes: dict[str, str], said: str) -> None:
    require_one_line(started(**changes), "gateway.toml", said)
    assert [path.name for path in tmp_path.iterdir()] == ["gateway.toml"]


@pytest.mark.parametrize("server", ["port", "web"])
def test_a_port_in_use(started: Start, server: str) -> None:
    with socket.create_server((LOOPBACK, 0)) as held:
        port = held.getsockname()[1]
        require_one_line(started(**{server: port}), str(port), "in use")


def test_a_certificate_that_does_not_fit_its_key(started: Start, tmp_path: Path) -> None:
    (tmp_path / "authority").mkdir()
    authority = Authority(tmp_path / "authority")
    one, other = authority.issue("one"), authority.issue("other")
    tls = f'tls = {{ certificate = "{one.certificate}", key = "{other.key}" }}'
    require_one_line(started(listener=tls), "does not fit", str(other.key))
    assert not (tmp_path / "spool").exists()


def test_a_ledger_of_another_version(started: Start, tmp_path: Path) -> None:
    spool = Spool.prepare(tmp_path / "spool")
    url = f"sqlite:///{spool.root / 'ledger.sqlite'}"
    Ledger(url).close()
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE ledger_facts SET value = '9999' WHERE name = 'version'")
    engine.dispose()
    require_one_line(started(), "has version 9999", "update")


def test_a_spool_that_cannot_be_written(started: Start) -> None:
    require_one_line(started(spool="/proc/spool"), "/proc/spool: cannot")


def test_a_spool_that_is_a_file(started: Start, tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file")
    require_one_line(started(), str(tmp_path / "spool"))
    assert (tmp_path / "spool").read_text() == "a file"


def test_a_second_gateway_on_one_spool(started: Start, tmp_path: Path) -> None:
    with sole_gateway(Spool.prepare(tmp_path / "spool").root):
        require_one_line(started(), "another gateway")
