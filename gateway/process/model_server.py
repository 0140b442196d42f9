"""The gateway's Triton: started beside everything else, started again for as long as the gateway runs."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress

from swinunet.foundation.paths import default_repository
from swinunet.gateway.config.settings import ModelServerConfig
from swinunet.gateway.process.workers import ModelServerAddress
from swinunet.serving import ServingError, TritonServer
from swinunet.serving.ports import choose_port

_log = logging.getLogger(__name__)
_LOOK_S, _CHECK_S = 0.5, 60.0
_FIRST_REST_S, _LONGEST_REST_S = 1.0, 60.0


class ModelServer:
    """A Triton of our own on loopback, always at the same port, or somebody's at the configured address."""

    def __init__(self, config: ModelServerConfig) -> None:
        """Raises ServingError if there is no free port."""
        self._config = config
        self._server: TritonServer | None = None
        self._stopped = threading.Event()
        self._is_up = False  # it has answered its canary and has not ended
        self._thread = threading.Thread(target=self._keep, name="triton", daemon=True)
        self._port = 0
        if config.url is None:
            self._port = choose_port("gRPC", None)
            self._server = TritonServer(
                config.repository or default_repository(),
                config_name=None if config.config == "gpu" else config.config,
                grpc_port=self._port,
                log=_say_warnings,
            )

    def start(self) -> None:
        """Begin to start it; who asks it before it is up is told that nobody answers."""
        if self._server is not None:
            self._thread.start()

    def stop(self) -> None:
        """Stop it, if it is ours."""
        self._stopped.set()
        if self._server is not None and self._thread.ident is not None:
            with suppress(ServingError):
                self._server.close()  # also one that is being started
            self._thread.join()

    def address(self) -> ModelServerAddress:
        """Where it is, or will be."""
        if self._server is None:
            return ModelServerAddress(str(self._config.url), {})
        return ModelServerAddress(f"127.0.0.1:{self._port}", self._server.restricted_headers)

    def problem(self) -> str | None:
        """What keeps it from answering, in words; None if nothing does, as far as is known here."""
        if self._server is None or self._is_up:
            return None
        return "Triton has not answered its canary yet"

    def _keep(self) -> None:
        assert self._server is not None
        rest_s = _FIRST_REST_S
        while not self._stopped.is_set():
            try:
                self._server.start()
                models = ", ".join(f"{model.name} version {model.version}" for model in self._server.models)
                _log.info("Triton serves %s", models or "its models")
                rest_s = _FIRST_REST_S
                self._is_up = True
                self._watch(self._server)
                if not self._stopped.is_set():
                    _log.warning("Triton ended, or answers wrongly; it is started again")
            except ServingError as error:
                if not self._stopped.is_set():
                    _log.error("Triton did not start: %s; tried again in %.0f s", error, rest_s)
                self._stopped.wait(rest_s)
                rest_s = min(_LONGEST_REST_S, 2 * rest_s)
            finally:
                self._is_up = False
                with suppress(ServingError):
                    self._server.close()

    def _watch(self, server: TritonServer) -> None:
        """Return when the server has died, or has twice in a row not answered its canary."""
        failures, next_check = 0, time.monotonic() + _CHECK_S
        while server.alive() and failures < 2 and not self._stopped.wait(_LOOK_S):
            if time.monotonic() >= next_check:
                try:
                    server.check()
                    failures = 0
                except ServingError as error:
                    failures += 1
                    _log.warning("Triton's canary: %s", error)
                next_check = time.monotonic() + _CHECK_S


def _say_warnings(line: str) -> None:
    if line.startswith(("WARNING", "ERROR")):
        _log.warning("Triton: %s", line)
