"""A gateway for tests: a configuration in a temporary folder, studies handed to its intake, and waiting for it."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from dicom_series import make_series, save
from pydicom.dataset import Dataset

from swinunet.gateway.config.reading import parse_config, with_absolute_paths
from swinunet.gateway.config.settings import GatewayConfig
from swinunet.gateway.contract import Answer, Intake, ReceivedInstance, Sender
from swinunet.gateway.ledger.administration import JobStatus, status
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.spool import new_file_name

PATIENCE_S = 600.0  # on a machine that does other things as well
QUICK = {"study_silence_s": 30.0, "series_silence_s": 0.3}


def make_study(slices: int = 6, seed: int = 0, **attributes: Any) -> list[Dataset]:
    """An MR series of 32 x 32 pixels that the small model reads."""
    stored = np.random.default_rng(seed).integers(0, 400, (slices, 32, 32), dtype=np.uint16)
    return make_series(stored, pixel_spacing_mm=(1.0, 1.0), step_mm=(0.0, 0.0, 1.0), **attributes)


def make_config(folder: Path, **sections: Any) -> GatewayConfig:
    """A route of every model to the folder `out`; sections replace those of the file, `complete` that of the route."""
    route: dict[str, Any] = {
        "name": "all", "destinations": ["out"], "complete": QUICK, "outputs": ["seg", "sr", "json"],
    }  # fmt: skip
    route |= {"complete": sections.pop("complete")} if "complete" in sections else {}
    route |= sections.pop("route", {})
    content: dict[str, Any] = {
        "spool": "spool",
        "peers": [{"name": "out", "kind": "folder", "folder": "out"}, *sections.pop("peers", [])],
        "routes": sections.pop("routes", [route]),
        "disk": {"least_free_gb": 0.0, "most_used_percent": 100.0},
        "working": {"retry_s": 0.2, "lease_s": 60.0},
        "delivering": {"retry_s": 0.2, "longest_retry_s": 0.5},
    }
    return with_absolute_paths(parse_config(content | sections, "test"), folder)


def part10_files(folder: Path, study: Sequence[Dataset]) -> list[Path]:
    """The data sets as files."""
    return sorted(save(folder, study).iterdir())


def hand_over(
    intake: Intake, incoming: Path, files: Sequence[Path], *, sender: str = "SCU", end: bool = True
) -> list[Answer]:
    """Give files to an intake as a server of the network does, on one association."""
    who = Sender("dimse", sender, "127.0.0.1", uuid.uuid4().hex)
    answers = []
    for file in files:
        path = incoming / new_file_name()
        shutil.copy(file, path)
        answers.append(intake.accept(ReceivedInstance("", "", "1.2.840.10008.1.2.1", path), who))
    if end:
        intake.association_ended(who)
    return answers


def wait_for(condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """The first true value of a condition. Fails when it takes too long, which says nothing about speed."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited in vain for {what}")


def jobs_of(ledger: Ledger) -> list[JobStatus]:
    """The jobs, oldest first, without the studies that receive."""
    return [each for each in reversed(status(ledger)) if each.id is not None]


def wait_for_jobs(ledger: Ledger, states: Sequence[str]) -> list[JobStatus]:
    """The jobs, oldest first, once they are in these states."""

    def there() -> list[JobStatus] | None:
        found = jobs_of(ledger)
        return found if [each.state for each in found] == list(states) else None

    try:
        return wait_for(there, f"jobs {states}")
    except AssertionError as error:
        raise AssertionError(f"{error}; the ledger has {status(ledger)}") from None
