"""`swinunet serve`: a model repository on a real Triton, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swinunet.cli.options import with_options

if TYPE_CHECKING:
    from swinunet.serving import TritonServer

DEFAULT = "default"


@dataclass(frozen=True)
class ServeOptions:
    """What is served, and where."""

    repository: Annotated[Path | None, typer.Option(show_default="model_repository/ of the checkout")] = None
    """Model repository."""
    config: Annotated[
        str | None, typer.Option(show_default="tuned where it was measured on such a machine, else cpu")
    ] = None
    """Model config: one of configs/, or `default` for config.pbtxt, of NVIDIA's container."""
    port: Annotated[int | None, typer.Option(show_default="a free one")] = None
    """gRPC port."""
    http_port: Annotated[int | None, typer.Option(show_default="no HTTP")] = None
    """HTTP port."""
    metrics_port: Annotated[int | None, typer.Option(show_default="a free one")] = None
    """Port of the Prometheus metrics."""
    log_file: Path | None = None
    """Append Triton's log to this file as well."""
    check_every: Annotated[float, typer.Option(min=0)] = 60.0
    """Seconds between canary requests; 0 switches them off."""
    poll: Annotated[bool, typer.Option("--poll")] = False
    """Start again, at the same address, when the repository has a new version or one was taken out."""


_COMMON = ("--repository", "--port", "--http-port", "--config", "--poll", "--log-file")


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("serve")(with_options(serve, common=_COMMON))


def serve(options: ServeOptions) -> None:
    """Serve models with Triton on 127.0.0.1 until Ctrl-C.

    Serving begins when each model has answered a request whose answer is known. The same request is repeated
    while it serves, and two wrong or missing answers in a row end it with exit status 1. A version that is exported
    or taken out meanwhile is said; with --poll the server starts again with it, and callers wait for some seconds.

    Example: `swinunet serve --port 8001`, then `swinunet segment STUDY -o OUT --url 127.0.0.1:8001`
    """
    from swinunet.cli.signals import interrupt_once_on_signals
    from swinunet.foundation.paths import default_repository
    from swinunet.foundation.terminal import print_line
    from swinunet.serving import TritonServer

    repository = options.repository or default_repository()
    server = TritonServer(
        repository,
        config_name=_config_name(repository, options.config),
        grpc_port=options.port,
        http_port=options.http_port,
        metrics_port=options.metrics_port,
        log=lambda line: print_line(line, error=True),
        log_file=options.log_file,
    )
    interrupt_once_on_signals()
    try:
        with server:
            _announce(server)
            _watch(server, options.check_every, options.poll)
    except KeyboardInterrupt:
        print_line("stopped", error=True)


def _config_name(repository: Path, asked: str | None) -> str | None:
    """The config as TritonServer takes it; where none is asked for, why the tuned one is not taken is said."""
    from swinunet.foundation.terminal import print_line
    from swinunet.serving.tuned import chosen_by_itself

    if asked is not None:
        return None if asked == DEFAULT else asked
    chosen, why_not_tuned = chosen_by_itself(repository)
    if why_not_tuned:
        print_line(why_not_tuned, error=True)
    return chosen


def _announce(server: TritonServer) -> None:
    models = ", ".join(f"{model.name} version {model.version}" for model in server.models)
    http = f", HTTP {server.http_url}" if server.http_url else ""
    print(f"serving {models}: gRPC {server.url}{http}, metrics {server.metrics_url}; Ctrl-C stops", flush=True)


def _watch(server: TritonServer, check_every: float, poll: bool) -> None:
    """Return never; raise ServingError when the server has died or twice in a row fails its canary."""
    from swinunet.serving import ServingError

    next_check, failures, told = time.monotonic() + check_every, 0, list[Path]()
    while True:
        time.sleep(min(1.0, check_every or 1.0))
        if (changed := server.changed()) != told:
            told = _take_up(server, changed, poll) if changed else []
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


def _take_up(server: TritonServer, changed: list[Path], poll: bool) -> list[Path]:
    """Serve what the repository has now, or say why not; returns what was said to be there and is not served."""
    from swinunet.foundation.terminal import print_line
    from swinunet.serving import ServingError

    there = ", ".join(f"{folder.parent.name} version {folder.name}" for folder in changed)
    if not poll:
        print_line(f"the repository now has {there}; serve it by starting again (or use --poll)", error=True)
        return changed
    print_line(f"the repository now has {there}; starting again", error=True)
    try:
        server.restart()
    except ServingError as error:
        if not server.alive():
            raise
        print_line(f"{there} is not served, what was served before still is: {error}", error=True)
        return changed
    _announce(server)
    return []
