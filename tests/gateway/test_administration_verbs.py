"""`swinunet gateway status`, `retry` and `forget` on the ledger of a configuration."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import run_here
from ledger_rows import leased, new_job

from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.ledger.jobs import end_job
from swinunet.gateway.ledger.schema import JobState
from swinunet.gateway.names import shown_uid
from swinunet.gateway.spool import Spool

CONFIGURATION = """
spool = "spool"
[[peers]]
name = "out"
kind = "folder"
folder = "out"
[[routes]]
name = "all"
destinations = ["out"]
"""
REFUSED, WAITING = "1.1", "2.2"  # studies


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Of a gateway that has refused one study, and let another wait."""
    (tmp_path / "gateway.toml").write_text(CONFIGURATION)
    return tmp_path / "gateway.toml"


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made, now = Spool.prepare(tmp_path / "spool"), time.time()
    ledger = Ledger(f"sqlite:///{made.root / 'ledger.sqlite'}")
    new_job(ledger, now, REFUSED)
    end_job(ledger, leased(ledger, now), JobState.REFUSED, "no model reads it", now, webhook=False)
    new_job(ledger, now, WAITING)
    yield made
    ledger.close()


def verb(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_here("gateway", *arguments, "--config", config)


def states(config: Path) -> dict[str, str]:
    """State by study, as programs read it."""
    found = json.loads(verb(config, "status", "--json").stdout)
    return {job["study"]: job["state"] for job in found["jobs"]}


def test_status_is_for_persons_and_programs(config: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert states(config) == {shown_uid(REFUSED): "refused", shown_uid(WAITING): "waiting"}
    said = verb(config, "status").stdout
    assert "no model reads it" in said
    assert max(len(line) for line in said.splitlines()) <= 80


def test_retry_lets_a_refused_job_wait_again(config: Path, spool: Spool) -> None:
    done = verb(config, "retry", "1")
    assert (done.returncode, done.stdout) == (0, "job 1: waits to be run again\n")
    assert set(states(config).values()) == {"waiting"}


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ("2", "job 2 is waiting; only what failed, was refused or set aside is retried"),
        ("99", "there is no job 99; `swinunet gateway status` lists them"),
        ("one", "'one' is no number of a job; `swinunet gateway status` lists them"),
    ],
)
def test_a_job_that_cannot_be_retried_is_one_line(config: Path, spool: Spool, job: str, said: str) -> None:
    done = verb(config, "retry", job)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"swinunet: {said}\n")


def test_forget_removes_the_files_and_the_rows_of_one_study(config: Path, spool: Spool) -> None:
    files = [spool.root / "instances" / study / "1.dcm" for study in (REFUSED, WAITING)]
    for file in files:
        file.parent.mkdir()
        file.touch()
    done = verb(config, "forget", shown_uid(REFUSED))
    assert done.returncode == 0, done.stderr
    assert [file.exists() for file in files] == [False, True]
    assert states(config) == {shown_uid(WAITING): "waiting"}
    again = verb(config, "forget", shown_uid(REFUSED))
    assert again.returncode == 1
    assert "no study is called" in again.stderr


@pytest.mark.parametrize("arguments", [("status",), ("retry", "1"), ("forget", "1.1"), ("drain",)], ids=lambda a: a[0])
def test_without_a_ledger_nothing_is_made(config: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = verb(config, *arguments)
    assert done.returncode == 1
    assert done.stderr.endswith("there is no ledger yet; start the gateway first\n")
    assert not (tmp_path / "spool").exists()
