"""`swinunet serve`: a model repository on a real Triton, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swinunet.foundation.signals import sigterm_interrupts

if TYPE_CHECKING:
    from swinunet.serving import TritonServer


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("serve")(serve)


def serve(
    repository: Annotated[
        Path | None, typer.Option(help="Model repository.", show_default="model_repository/ of the checkout")
    ] = None,
    config: Annotated[str, typer.Option(help="Model config: cpu, or gpu for the TensorRT one.")] = "cpu",
    port: Annotated[int | None, typer.Option(help="gRPC port.", show_default="a free one")] = None,
    http_port: Annotated[int | None, typer.Option(help="HTTP port.", show_default="no HTTP")] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Prometheus port.", show_default="a free one")] = None,
    log_file: Annotated[Path | None, typer.Option(help="Append Triton's log to this file, too.")] = None,
    check_every: Annotated[float, typer.Option(help="Seconds between canary requests; 0 is never.", min=0)] = 60.0,
) -> None:
    """Serve a model repository with Triton on 127.0.0.1, until Ctrl-C.

    Up means that each model has answered a request whose answer is known; the same request is repeated while it
    serves, and two wrong or missing answers in a row end it with exit status 1.

    Example: `swinunet serve --port 8001`, then `swinunet segment STUDY -o OUT --url 127.0.0.1:8001`
    """
    from swinunet.foundation.paths import default_repository
    from swinunet.serving import TritonServer

    server = TritonServer(
        repository or default_repository(),
        config_name=None if config == "gpu" else config,
        grpc_port=port,
        http_port=http_port,
        metrics_port=metrics_port,
        log=lambda line: typer.echo(line, err=True),
        log_file=log_file,
    )
    try:
        with sigterm_interrupts(once=True), server:
            models = ", ".join(f"{model.name} version {model.version}" for model in server.models)
            http = f", HTTP {server.http_url}" if server.http_url else ""
            typer.echo(f"serving {models}: gRPC {server.url}{http}, metrics {server.metrics_url}; Ctrl-C stops")
            _watch(server, check_every)
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)


def _watch(server: TritonServer, check_every: float) -> None:
    """Return never; raise ServingError when the server has died or twice in a row fails its canary."""
    from swinunet.serving import ServingError

    next_check, failures = time.monotonic() + check_every, 0
    while True:
        time.sleep(min(1.0, check_every or 1.0))
        due = bool(check_every) and time.monotonic() >= next_check
        if server.alive() and not due:
            continue
        try:
            server.check()
            failures = 0
        except ServingError:
            failures += 1
            if failures == 2 or not server.alive():
                raise
        next_check = time.monotonic() + check_every
