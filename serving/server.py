"""TritonServer: one tritonserver on loopback, up when its canaries sing, gone without a trace when it is closed."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from swinunet.serving import keeper
from swinunet.serving.canary import ServedModel, check_model, connect, served_models
from swinunet.serving.errors import ServingError
from swinunet.serving.locate import environment, find_tritonserver, prepare_backends
from swinunet.serving.logs import LogPump, LogSink, failure_reason
from swinunet.serving.plan import check_plans
from swinunet.serving.ports import LOOPBACK, choose_port, is_listening

_POLL_SECONDS = 0.05
_ATTEMPTS = 3  # a free port that we chose may be taken before Triton binds it
_RESTRICTED_KEY = "swinunet"


class TritonServer:
    """A running tritonserver; use it as a context manager, or call `start` and `close`.

    repository: Triton model repository; each model version may have a canary.npz (see serving/canary.py).
    config_name: picks `configs/<name>.pbtxt` of each model; None takes `config.pbtxt`.
    grpc_port, http_port, metrics_port: None is a free port, and no HTTP at all for `http_port`.
    log: called with each readable line of Triton's log, from another thread. log_file: the same lines, appended.
    start_timeout: seconds until the canaries must have sung. grace: seconds from SIGTERM to SIGKILL.
    options: more options for tritonserver, such as `--backend-config=tensorrt,version-compatible=true`.

    The server listens on loopback only. The protocols through which a caller could write files or reach into the
    backend's memory (shared-memory, trace, logging) want `restricted_headers` as gRPC metadata.
    """

    def __init__(
        self,
        repository: Path,
        *,
        config_name: str | None = "cpu",
        grpc_port: int | None = None,
        http_port: int | None = None,
        metrics_port: int | None = None,
        log: LogSink | None = None,
        log_file: Path | None = None,
        start_timeout: float = 120.0,
        grace: float = 10.0,
        options: Sequence[str] = (),
    ) -> None:
        self.repository = Path(repository).resolve()
        self.config_name = config_name
        self.models: list[ServedModel] = []
        self._requested = {"gRPC": grpc_port, "HTTP": http_port, "metrics": metrics_port}
        self._ports: dict[str, int] = {}
        self._log, self._log_file = log, log_file
        self._start_timeout, self._grace, self._options = start_timeout, grace, list(options)
        self._secret = secrets.token_hex(16)
        self._keeper: subprocess.Popen[str] | None = None
        self._pump: LogPump | None = None
        self._folder = Path()
        self._shm_prefix = ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """host:port of gRPC."""
        return f"{LOOPBACK}:{self._ports['gRPC']}"

    @property
    def http_url(self) -> str | None:
        """host:port of HTTP, or None if it is off."""
        return f"{LOOPBACK}:{self._ports['HTTP']}" if "HTTP" in self._ports else None

    @property
    def metrics_url(self) -> str:
        """URL of the Prometheus metrics."""
        return f"http://{LOOPBACK}:{self._ports['metrics']}/metrics"

    @property
    def restricted_headers(self) -> dict[str, str]:
        """gRPC metadata that opens the restricted protocols of this server to its owner."""
        return {f"triton-grpc-protocol-{_RESTRICTED_KEY}": self._secret}

    @property
    def pid(self) -> int | None:
        """Process id of the keeper, which is the session id of everything this server started; None if closed."""
        return self._keeper.pid if self._keeper else None

    def alive(self) -> bool:
        """Whether the process runs. That it also computes is what `check` finds out."""
        return self._keeper is not None and self._keeper.poll() is None

    def start(self) -> Self:
        """Start, and return when every model is ready and every canary was answered rightly.

        Raises ServingError with Triton's own reason, after cleaning up.
        """
        if self.alive():
            raise ServingError(f"this server runs already, at {self.url}")
        _check_repository(self.repository, self.config_name)
        check_plans(self.repository, self.config_name)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._launch()
                self._wait_until_up(time.monotonic() + self._start_timeout)
                return self
            except BaseException as error:
                self._end(signal.SIGQUIT)  # nothing to drain, and a failed start may hang on SIGTERM
                if not (attempt < _ATTEMPTS and self._lost_a_chosen_port(error)):
                    raise
        raise AssertionError("unreachable")

    def check(self, timeout: float = 60.0) -> list[ServedModel]:
        """Ask every model its canary again; returns the models.

        timeout: seconds for each answer; under load a canary queues like any request.
        Raises ServingError if the process died, a model is not ready, or an answer is late or wrong.
        """
        if not self.alive():
            raise ServingError(f"Triton is not running{self._because()}")
        with connect(self.url) as client:
            models = served_models(client, timeout)
            if not models:
                raise ServingError(f"Triton found no model in {self.repository}; export one first")
            for model in models:
                if not check_model(client, self.repository, model, timeout) and not self.models:
                    self._say(
                        f"WARNING {model.name} version {model.version} has no canary.npz: only ready, not checked"
                    )
        return models

    def close(self) -> None:
        """Stop the server: SIGTERM, grace, SIGKILL, and nothing left of it. Does nothing if it is not running."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._keeper is None:
            return
        self._keeper.send_signal(how)
        try:
            self._keeper.wait(self._grace + 5)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.wait()
        keeper.kill_session(self._keeper.pid)  # nothing to do, unless the keeper itself was killed
        keeper.remove_traces(self._shm_prefix, self._folder)
        if self._pump:
            self._pump.join(2)
        self._keeper = None
        self.models = []

    def _launch(self) -> None:
        installation = find_tritonserver()
        self._ports = {
            purpose: choose_port(purpose, requested)
            for purpose, requested in self._requested.items()
            if requested is not None or purpose != "HTTP"
        }
        self._shm_prefix = f"swinunet_{os.getpid()}_{secrets.token_hex(4)}_"
        self._folder = Path(tempfile.mkdtemp(prefix=f"swinunet-triton-{os.getpid()}-"))
        command = [str(installation.executable), *self._arguments(), *prepare_backends(installation, self._folder)]
        guard = [sys.executable, "-I", "-S", str(Path(keeper.__file__).resolve())]
        self._keeper = subprocess.Popen(
            [*guard, str(os.getpid()), str(self._grace), self._shm_prefix, str(self._folder), *command, *self._options],
            env=environment(installation),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        assert self._keeper.stdout is not None
        self._pump = LogPump(self._keeper.stdout, self._log, self._log_file)

    def _arguments(self) -> list[str]:
        http = self._ports.get("HTTP")
        return [
            f"--model-repository={self.repository}",
            *([f"--model-config-name={self.config_name}"] if self.config_name else []),
            "--model-control-mode=none",  # explicit, with an open port, would let a caller upload a model.py
            # Completion starts each Python model once more only to ask it for a config, and ours are complete.
            "--disable-auto-complete-config",
            f"--grpc-address={LOOPBACK}",
            f"--grpc-port={self._ports['gRPC']}",
            f"--grpc-restricted-protocol=shared-memory,trace,logging:{_RESTRICTED_KEY}={self._secret}",
            f"--allow-http={'true' if http else 'false'}",
            *([f"--http-address={LOOPBACK}", f"--http-port={http}"] if http else []),
            f"--metrics-address={LOOPBACK}",
            f"--metrics-port={self._ports['metrics']}",
            f"--exit-timeout-secs={max(1, int(self._grace / 2))}",
            # A name of its own, so that servers side by side never remove each other's memory.
            f"--backend-config=python,shm-region-prefix-name={self._shm_prefix}",
        ]

    def _wait_until_up(self, deadline: float) -> None:
        """Triton opens its ports after the models are loaded, so listening comes first, then the canary."""
        assert self._pump is not None
        while not all(is_listening(port) for port in self._ports.values()):
            if not self.alive() or self._pump.doomed():
                raise ServingError(f"Triton did not start{self._because()}")
            if time.monotonic() > deadline:
                raise ServingError(f"Triton was not ready within {self._start_timeout:g} s{self._because()}")
            time.sleep(_POLL_SECONDS)
        try:
            self.models = self.check(max(1.0, deadline - time.monotonic()))
        except ServingError:
            if not self.alive():
                raise ServingError(f"Triton did not start{self._because()}") from None
            raise

    def _because(self) -> str:
        if self._pump is None:
            return ""
        if not self.alive():
            self._pump.join(2)  # the reason is in its last words
        reason = failure_reason(self._pump.lines())
        return f": {reason}" if reason else ""

    def _lost_a_chosen_port(self, error: BaseException) -> bool:
        chosen = [port for purpose, port in self._ports.items() if self._requested[purpose] is None]
        return "already in use" in str(error) and any(f":{port}'" in str(error) for port in chosen)

    def _say(self, line: str) -> None:
        if self._pump:
            self._pump.say(line)


def _check_repository(repository: Path, config_name: str | None) -> None:
    if not repository.is_dir():
        raise ServingError(f"{repository} is no folder; expected a Triton model repository (swinunet export makes one)")
    if not any(entry.is_dir() for entry in repository.iterdir()):
        raise ServingError(f"{repository} has no model in it; expected <model>/<version>/ (swinunet export makes them)")
    # Triton would fall back to config.pbtxt without a word, and fail for a reason that has nothing to do with it.
    if config_name and not any(repository.glob(f"*/configs/{config_name}.pbtxt")):
        known = ", ".join(sorted({path.stem for path in repository.glob("*/configs/*.pbtxt")})) or "none"
        raise ServingError(f"no model in {repository} has the config {config_name!r}; there is: {known}")
