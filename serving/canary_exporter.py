"""What the canary of a Triton that runs elsewhere says, as Prometheus metrics: a server may be ready and wrong.

    python -m swinunet.serving.canary_exporter HOST:PORT MODEL_REPOSITORY [--host 127.0.0.1] [--port 8003] [--every 30]

    swinunet_canary_ok{model}                        1 if the last answer was right and in time, else 0
    swinunet_canary_seconds{model}                   how long it took
    swinunet_canary_asked_timestamp_seconds{model}   when it was asked

A server that does not answer at all is `model=""`.
"""

from __future__ import annotations

import argparse
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from swinunet.foundation.errors import ServingError
from swinunet.foundation.terminal import print_line
from swinunet.serving.canary import check_model, connect, served_models

_TIMEOUT_S = 20.0
_HELP = {
    "swinunet_canary_ok": "Whether the model answered its known input rightly",
    "swinunet_canary_seconds": "Seconds that the answer took",
    "swinunet_canary_asked_timestamp_seconds": "When the canary was asked",
}


@dataclass(frozen=True)
class CanaryState:
    """What one model's canary said last. asked: seconds since 1970."""

    model: str
    ok: bool
    seconds: float
    asked: float


def ask_canaries(url: str, repository: Path) -> list[CanaryState]:
    """The state of each model that the server at `url` (host:port of gRPC) serves; of "" if it does not answer."""
    began = time.time()
    try:
        with connect(url) as client:
            models = served_models(client, _TIMEOUT_S)
            if not models:
                raise ServingError(f"Triton at {url} has no model")
            states = []
            for model in models:
                began = time.time()
                ok = True
                try:
                    check_model(client, repository, model, _TIMEOUT_S)
                except ServingError as error:
                    print_line(error, error=True)
                    ok = False
                states.append(CanaryState(model.name, ok, time.time() - began, began))
            return states
    except ServingError as error:
        print_line(error, error=True)
        return [CanaryState("", False, time.time() - began, began)]


def exposition(states: list[CanaryState]) -> str:
    """The states in Prometheus' text format 0.0.4."""
    lines = []
    for name, about in _HELP.items():
        lines += [f"# HELP {name} {about}", f"# TYPE {name} gauge"]
        for state in states:
            value = {"swinunet_canary_ok": float(state.ok), "swinunet_canary_seconds": state.seconds}.get(
                name, state.asked
            )
            label = state.model.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            lines.append(f'{name}{{model="{label}"}} {value:.3f}')
    return "\n".join(lines) + "\n"


class CanaryExporter:
    """Asks every `every_s` seconds, and serves what was said last on `host`:`port` (0: a free one)."""

    def __init__(self, url: str, repository: Path, host: str, port: int, every_s: float) -> None:
        self._url, self._repository, self._every_s = url, repository, every_s
        self._text = ""
        self._closed = threading.Event()
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = exporter._text.encode()
                known = self.path == "/metrics"
                self.send_response(200 if known else 404)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body) if known else 0))
                self.end_headers()
                self.wfile.write(body if known else b"")

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer((host, port), Handler)
        self.port = self._server.server_port

    def run(self) -> None:
        """Ask and serve until `close` is called."""
        serving = threading.Thread(target=self._server.serve_forever, daemon=True)
        serving.start()
        while True:
            self._text = exposition(ask_canaries(self._url, self._repository))
            if self._closed.wait(self._every_s):
                break
        self._server.shutdown()
        self._server.server_close()

    def close(self) -> None:
        """End `run`, from another thread."""
        self._closed.set()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m swinunet.serving.canary_exporter")
    parser.add_argument("url", metavar="HOST:PORT")
    parser.add_argument("repository", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8003)
    parser.add_argument("--every", type=float, default=30.0, metavar="SECONDS")
    given = parser.parse_args()
    try:
        exporter = CanaryExporter(given.url, given.repository, given.host, given.port, given.every)
    except OSError as error:
        parser.exit(1, f"{given.host}:{given.port}: cannot be listened on ({error.strerror}); give another --port\n")
    try:
        exporter.run()
    except KeyboardInterrupt:
        parser.exit(0)


if __name__ == "__main__":
    main()
