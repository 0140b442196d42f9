"""The worker processes: started, started again when one dies, and told to finish."""

from __future__ import annotations

import logging
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from swinunet.foundation.python_process import start_module
from swinunet.gateway.config.settings import GatewayConfig
from swinunet.gateway.ledger.database import Ledger, new_owner
from swinunet.gateway.ledger.owners import release_owner
from swinunet.gateway.working.setup import WorkerSetup

_log = logging.getLogger(__name__)
_LOOK_S = 0.1
_FIRST_REST_S, _LONGEST_REST_S = 0.5, 30.0


@dataclass(frozen=True)
class ModelServerAddress:
    """Where the workers find Triton."""

    url: str
    headers: dict[str, str]


class WorkerProcesses:
    """Keeps as many workers alive as the configuration says.

    address: asked before each start of one. clean: called when one has ended and what it leased is given back, to
    remove the files that it left.
    """

    def __init__(
        self,
        config: GatewayConfig,
        ledger: Ledger,
        ledger_url: str,
        address: Callable[[], ModelServerAddress],
        clean: Callable[[], object],
    ) -> None:
        self._config, self._ledger, self._ledger_url, self._address = config, ledger, ledger_url, address
        self._clean = clean
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._processes: dict[str, subprocess.Popen[Any]] = {}
        self._threads = [
            threading.Thread(target=self._keep, name=f"worker-{number}", daemon=True)
            for number in range(config.working.workers)
        ]

    def start(self) -> None:
        """Start them."""
        for thread in self._threads:
            thread.start()

    def stop(self, grace_s: float) -> None:
        """Let each finish its job; after `grace_s` the job is given back, and a worker that hangs is killed."""
        self._stopped.set()
        self._tell("finish")
        for thread in self._threads:
            thread.join(grace_s / len(self._threads))
        self._tell("cancel")
        for thread in self._threads:
            thread.join(5.0)
        with self._lock:
            for process in self._processes.values():
                process.kill()
        for thread in self._threads:
            thread.join()

    def _tell(self, word: str) -> None:
        with self._lock:
            for process in self._processes.values():
                assert process.stdin is not None
                with suppress(OSError, ValueError):
                    process.stdin.write(f"{word}\n")
                    process.stdin.flush()

    def _keep(self) -> None:
        """One worker after the other, with a longer rest after each that did not live long."""
        rest_s = _FIRST_REST_S
        while not self._stopped.is_set():
            owner = new_owner()
            try:
                status = self._run(owner)
            except Exception as error:
                _log.error("a worker could not be started (%s)", type(error).__name__)
                status = 1
            with suppress(Exception):  # the watch does it later
                release_owner(self._ledger, owner)
                self._clean()
            if not self._stopped.is_set():
                _log.warning("a worker ended (status %s); another is started", status)
                self._stopped.wait(rest_s)
                rest_s = min(_LONGEST_REST_S, 2 * rest_s)

    def _run(self, owner: str) -> int:
        address = self._address()
        setup = WorkerSetup(self._config, self._ledger_url, address.url, address.headers, owner)
        process = start_module("swinunet.gateway.working", stdin=subprocess.PIPE, text=True)
        with self._lock:
            self._processes[owner] = process
        try:
            assert process.stdin is not None
            with suppress(OSError):
                process.stdin.write(setup.to_json() + "\n")
                process.stdin.flush()
            if self._stopped.is_set():
                self._tell("finish")
            return process.wait()
        finally:
            with self._lock:
                del self._processes[owner]
            if process.stdin is not None:
                with suppress(OSError):
                    process.stdin.close()
