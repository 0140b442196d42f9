"""TritonServer: one tritonserver on loopback, up when its canaries are answered, gone without a trace when closed."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from swinunet.foundation.errors import ServingError
from swinunet.foundation.python_process import start_script
from swinunet.foundation.terminal import printable
from swinunet.serving import keeper
from swinunet.serving.backends import check_backends
from swinunet.serving.before_start import check_before_start
from swinunet.serving.canary import ServedModel, check_model, connect, served_models
from swinunet.serving.checksums import served_version_folders
from swinunet.serving.launch import MODELS, RESTRICTED_KEY, hidden_options, link_models, server_options
from swinunet.serving.leftovers import Belongings, remove_leftovers
from swinunet.serving.locate import environment, find_tritonserver, prepare_backends
from swinunet.serving.logs import LogPump, LogSink, failure_reason
from swinunet.serving.ports import LOOPBACK, choose_port, is_listening

_POLL_SECONDS = 0.05
_WATCH_SECONDS = 0.2
_RESTARTS = 2  # of a server that dies in the middle of a job
_ATTEMPTS = (
    3  # a free port that we chose may be taken before Triton binds it, and an overloaded machine starves a model
)
_STARVED = "is not healthy"  # the Python backend's word for a model's process that did not run for a second


class TritonServer:
    """A running tritonserver; use it as a context manager, or call `start` and `close`.

    repository: Triton model repository; each model version may have a canary.npz (see serving/canary.py).
    config_name: picks `configs/<name>.pbtxt` of each model; None takes `config.pbtxt`.
    grpc_port, http_port, metrics_port: None is a free port, and no HTTP at all for `http_port`.
    log: called with each readable line of Triton's log, from another thread. log_file: the same lines, appended.
    start_timeout: seconds until the canaries must have been answered; it guards against a hang, as one on a busy
        machine may take minutes. grace: seconds from SIGTERM to SIGKILL.
    options: more options for tritonserver, such as `--backend-config=tensorrt,version-compatible=true`.

    private: whether every call but for health wants `restricted_headers`, so that no other user of this machine can
        use the server.

    The server listens on loopback only. The protocols through which a caller could write files or reach into the
    backend's memory (shared-memory, trace, logging) always want `restricted_headers` as gRPC metadata. HTTP wants
    them, too, and for inference a header that no web page of another origin can send (`swinunet-local: yes`).
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
        start_timeout: float = 600.0,
        grace: float = 10.0,
        options: Sequence[str] = (),
        private: bool = False,
    ) -> None:
        self.repository = Path(repository).resolve()
        self.config_name = config_name
        self.models: list[ServedModel] = []
        self._served: list[Path] = []
        self._requested = {"gRPC": grpc_port, "HTTP": http_port, "metrics": metrics_port}
        self._ports: dict[str, int] = {}
        self._log, self._log_file = log, log_file
        self._start_timeout, self._grace, self._options = start_timeout, grace, list(options)
        self._secret, self._private = secrets.token_hex(16), private
        self._keeper: subprocess.Popen[Any] | None = None
        self._pump: LogPump | None = None
        self._belongings: Belongings | None = None
        self._gone: str | None = None
        self._abandoned = threading.Event()

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
        return {f"triton-grpc-protocol-{RESTRICTED_KEY}": self._secret}

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
        unproven = check_before_start(self.repository, self.config_name)
        self._served = self._named_by_configs()
        remove_leftovers()
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._launch()
                for folder in unproven:
                    self._say(f"WARNING {folder} has no checksums in gate.json, so a damaged file may go unnoticed")
                self._wait_until_up(time.monotonic() + self._start_timeout)
                return self
            except BaseException as error:
                self._end(signal.SIGQUIT)  # nothing to drain, and a failed start may hang on SIGTERM
                if attempt == _ATTEMPTS or not (self._lost_a_chosen_port(error) or _STARVED in str(error)):
                    raise
        raise AssertionError("unreachable")

    def changed(self) -> list[Path]:
        """Version folders that a new start would serve and this server does not; empty while there are none."""
        now = self._named_by_configs()
        return [folder for folder in now if folder not in self._served]

    def restart(self) -> None:
        """Stop, and start at the same address with what the repository has now.

        Raises ServingError: if what is there cannot be served, before this server is stopped (`alive` says so).
        """
        check_before_start(self.repository, self.config_name)
        self._requested = dict(self._ports)
        self.close()
        self.start()

    def check(self, timeout: float = 60.0) -> list[ServedModel]:
        """Ask every model its canary again; returns the models.

        timeout: seconds for each answer; under load a canary queues like any request.
        Raises ServingError if the process died, a model is not ready, or an answer is late or wrong.
        """
        if not self.alive():
            raise ServingError(f"Triton is not running{self._because()}")
        with connect(self.url, self.restricted_headers) as client:
            models = served_models(client, timeout)
            if not models:
                raise ServingError(f"Triton found no model in {self.repository}; export one first")
            for model in models:
                if not check_model(client, self.repository, model, timeout) and not self.models:
                    self._say(
                        f"WARNING {model.name} version {model.version} has no canary.npz: only ready, not checked"
                    )
        return models

    @contextmanager
    def started_again_if_it_dies(self) -> Iterator[None]:
        """While the block runs, start the server again at the same address when its process ends, a few times.

        Clients that try again after an outage need not notice; `why_gone` says when there is no more hope.
        """
        self._requested, self._gone = dict(self._ports), None
        self._abandoned.clear()
        watch = threading.Thread(target=self._start_again, name="triton-watch", daemon=True)
        watch.start()
        try:
            yield
        finally:
            self._abandoned.set()
            watch.join()

    def why_gone(self) -> str | None:
        """Why the server died and was not started again, in one line; None while it runs or is being started."""
        return self._gone

    def _named_by_configs(self) -> list[Path]:
        """Empty while the repository cannot be read, as in the midst of its replacement."""
        with suppress(OSError):
            return list(served_version_folders(self.repository, self.config_name))
        return []

    def _start_again(self) -> None:
        for _ in range(_RESTARTS):
            while self.alive():
                if self._abandoned.wait(_WATCH_SECONDS):
                    return
            self._say("WARNING Triton ended unexpectedly; it is started again")
            self._end(signal.SIGQUIT)
            try:
                self.start()
            except ServingError as error:
                self._gone = f"the Triton that was started here ended, and does not start again: {error}"
                return
        while self.alive() and not self._abandoned.wait(_WATCH_SECONDS):
            pass
        if not self.alive():
            self._gone = (
                f"the Triton that was started here ended {_RESTARTS + 1} times; look for what ends it (memory?)"
            )

    def close(self) -> None:
        """Stop the server: SIGTERM, grace, SIGKILL, and nothing left of it. Does nothing if it is not running."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        running, self._keeper = self._keeper, None  # whoever comes second, from another thread, has nothing to end
        if running is None:
            return
        running.send_signal(how)
        try:
            running.wait(self._grace + 5)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
        keeper.kill_session(running.pid)  # nothing to do, unless the keeper itself was killed
        if self._belongings:
            keeper.remove_traces(self._belongings.shm_prefix, self._belongings.folder)
            self._belongings.release()
        if self._pump:
            self._pump.join(2)
        self.models = []

    def _launch(self) -> None:
        installation = find_tritonserver()
        check_backends(self.repository, self.config_name, installation)
        self._ports = {
            purpose: choose_port(purpose, requested)
            for purpose, requested in self._requested.items()
            if requested is not None or purpose != "HTTP"
        }
        self._belongings = owned = Belongings.create()
        folder = owned.folder
        link_models(self.repository, self.config_name, folder / MODELS)
        (folder / "tmp").mkdir()
        hidden = hidden_options(self._secret, private=self._private, http="HTTP" in self._ports)
        stated = server_options(
            owned, self._ports, self.config_name, grace_s=self._grace, private=self._private, hidden=hidden
        )
        options = [*stated, *prepare_backends(installation, folder), *self._options]
        self._keeper = start_script(
            Path(keeper.__file__).resolve(),
            *(str(os.getpid()), str(self._grace), owned.shm_prefix, str(folder)),
            *(str(installation.executable), *options),
            environment={**environment(installation), **hidden, "TMPDIR": str(folder / "tmp")},
            pass_fds=owned.descriptors,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        assert self._keeper.stdout is not None
        as_given = {str(folder / MODELS): printable(str(self.repository))}
        self._pump = LogPump(self._keeper.stdout, self._log, self._log_file, as_given)

    def _wait_until_up(self, deadline: float) -> None:
        """Triton opens its ports after the models are loaded, so listening comes first, then the canary."""
        assert self._pump is not None
        while not all(is_listening(port) for port in self._ports.values()):
            if not self.alive() or self._pump.doomed():
                raise ServingError(f"Triton did not start{self._because()}")
            if self._abandoned.is_set():
                raise ServingError("Triton is no longer wanted")
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
