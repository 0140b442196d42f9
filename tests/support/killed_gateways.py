"""`swinunet gateway` as a process that is killed (kill -9), beside a PACS that keeps what it gets."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pydicom
from dicom_nodes import wait_until
from gateway_intakes import KeepingIntake
from gateway_runs import PATIENCE_S, jobs_of, make_study, part10_files
from pydicom.dataset import Dataset

from swinunet.client.results.report import read_report
from swinunet.gateway.config.peers import ListenerConfig
from swinunet.gateway.ledger.administration import JobStatus, status
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.network.dimse.association import DimseAddress, DimseTimeouts
from swinunet.gateway.network.dimse.listener import DicomListener
from swinunet.gateway.network.dimse.sender import send_by_dimse
from swinunet.samples.closed_network import LOOPBACK, free_port

_CONFIGURATION = """
spool = "spool"
stop_s = {stop_s}
[listener]
port = {port}
[disk]
least_free_gb = 0
most_used_percent = 100
[models]
url = "{triton}"
[working]
retry_s = 0.2
lease_s = 5.0
attempts = 50
[delivering]
retry_s = 0.2
longest_retry_s = 0.5
[[peers]]
name = "pacs"
kind = "dimse"
called_ae = "PACS"
host = "127.0.0.1"
port = {pacs}
timeout_s = 600
[[peers]]
name = "folder"
kind = "folder"
folder = "out"
[[routes]]
name = "all"
destinations = ["pacs", "folder"]
outputs = ["seg", "sr", "json"]
[routes.complete]
study_silence_s = {silence_s}
"""
_SENDING = DimseTimeouts(connect=60, association=120, answer=300, silence=300)


class KilledGateway:
    """A gateway of one configuration that lives several times. `told` is what senders were told is safe."""

    def __init__(self, folder: Path, triton_url: str, silence_s: float = 1.0, stop_s: float = 60.0) -> None:
        self.folder, self.port = folder, free_port()
        self.pacs = KeepingIntake()
        (folder / "pacs").mkdir()
        self._pacs = DicomListener(
            ListenerConfig("PACS", LOOPBACK, free_port()), self.pacs, None, incoming=folder / "pacs"
        )
        self._pacs.start()
        self.config = folder / "gateway.toml"
        self.config.write_text(_CONFIGURATION.format(
            port=self.port, triton=triton_url, pacs=self._pacs.port, silence_s=silence_s, stop_s=stop_s
        ))  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None
        self.told: dict[str, set[str]] = {}  # instances by their study
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin a life; returns when it listens."""
        command = [sys.executable, "-P", "-m", "swinunet", "gateway", "--config", str(self.config)]
        with (self.folder / "gateway.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait_until(self._listens, f"the gateway to listen; it said: {self.said()[-2000:]}", seconds=300)

    def kill(self, *, with_workers: bool = True) -> None:
        """kill -9 of the gateway; its workers too, as by a power cut, or left to find out."""
        assert self.process is not None
        if with_workers:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        """SIGTERM, as a service manager stops it; its exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        """Kill what is left of the last life and stop the PACS."""
        if self.process is not None:
            self.kill()
        self._pacs.stop()

    def send(self, study: list[Dataset], associations: int = 2, pause_s: float = 0.0) -> list[Dataset]:
        """Send a study on several associations at once; returns what got no success, to be sent again."""
        files = dict(zip(part10_files(self.folder / "in" / uuid.uuid4().hex, study), study, strict=True))
        paths, left = list(files), []

        def send_some(some: list[Path]) -> None:
            for part in ([path] for path in some) if pause_s else (some,):
                outcomes = send_by_dimse(self._address(), "SCANNER", _SENDING, part)
                time.sleep(pause_s)
                with self._lock:
                    for path, outcome in zip(part, outcomes, strict=True):
                        sent = files[path]
                        if outcome.accepted:
                            self.told.setdefault(str(sent.StudyInstanceUID), set()).add(str(sent.SOPInstanceUID))
                        else:
                            left.append(sent)

        threads = [threading.Thread(target=send_some, args=(paths[n::associations],)) for n in range(associations)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return left

    def send_until_told(self, study: list[Dataset]) -> None:
        """Send again what got no success, until all has, as a modality does."""
        while study:
            study = self.send(study)

    def ledger(self) -> Ledger:
        """The ledger, opened beside the gateway."""
        return Ledger(f"sqlite:///{self.folder / 'spool' / 'ledger.sqlite'}")

    def states(self) -> Counter[str]:
        """How many jobs and receiving studies are in each state."""
        ledger = self.ledger()
        try:
            return Counter(each.state for each in status(ledger))
        finally:
            ledger.close()

    def wait_for_state(self, state: str) -> None:
        """Return when a job, or a study, is in a state."""
        wait_until(lambda: self.states()[state], f"something {state}; {self.said()[-2000:]}", seconds=PATIENCE_S)

    def said(self) -> str:
        """What all lives wrote to their log."""
        log = self.folder / "gateway.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def _listens(self) -> bool:

        assert self.process is not None
        assert self.process.poll() is None, self.said()[-3000:]
        with suppress(OSError), socket.create_connection((LOOPBACK, self.port), timeout=5):
            return True
        return False

    def _address(self) -> DimseAddress:
        return DimseAddress("SWINUNET", LOOPBACK, self.port)


def require_nothing_lost(gateway: KilledGateway) -> list[JobStatus]:
    """Wait until everything has ended, then: every instance that got a success is in a result of its study that was
    delivered to PACS and folder; the PACS holds each result once by its UID, whole; nothing half-written is left.
    """

    def ended() -> bool:
        states = gateway.states()
        return bool(states["done"]) and set(states) <= {"done", "set_aside"}

    wait_until(ended, f"the end of all jobs, now {gateway.states()}; {gateway.said()[-3000:]}", seconds=900)
    ledger = gateway.ledger()
    jobs = jobs_of(ledger)
    ledger.close()
    results: dict[str, set[str]] = {}
    for path in (gateway.folder / "out").glob("*/report.json"):
        report = read_report(path)
        study = str(pydicom.dcmread(path.parent / "segmentation.dcm").StudyInstanceUID)
        results.setdefault(study, set()).update(report.input.source_instances or ())
    for study, told in gateway.told.items():
        assert told <= results.get(study, set()), "instances that got a success are in no result"
    done = [job for job in jobs if job.state == "done"]
    kept = {str(pydicom.dcmread(each.path).SOPInstanceUID) for each in gateway.pacs.instances}
    assert kept == set(gateway.pacs.uids)
    folders = [path.parent for path in (gateway.folder / "out").glob("*/report.json")]
    delivered = {
        str(pydicom.dcmread(folder / name).SOPInstanceUID)
        for folder in folders
        for name in ("segmentation.dcm", "measurements.dcm")
    }
    assert delivered == kept, "PACS and folder have the same results, each once by its UID"
    assert len(folders) == len(done)
    assert not [path for path in (gateway.folder / "out").iterdir() if path.name.startswith(".")]
    assert not list((gateway.folder / "spool" / "incoming").glob("*/*")), "a file of an unfinished instance is left"
    return jobs


def new_study(seed: int, slices: int = 6, **attributes: Any) -> list[Dataset]:
    """A study that the small model reads, each with a UID of its own."""
    return make_study(slices, seed, **attributes)
