"""Options that say which server to ask and how, for any verb that speaks to one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from swinunet.foundation.errors import InputError

if TYPE_CHECKING:
    from swinunet.client import ServerOptions

_MIB = 2**20


@dataclass(frozen=True)
class ModelOptions:
    """Which model, of which repository."""

    model: str | None = None
    """Model name, if the server has several."""
    repository: Annotated[Path | None, typer.Option(show_default="model_repository/")] = None
    """Model repository to start Triton on."""

    def require_elsewhere(self, output: Path) -> None:
        """Raise InputError for an output folder in the repository, where Triton takes every folder for a model."""
        from swinunet.foundation.paths import default_repository

        repository = self.repository or default_repository()
        if output.resolve().is_relative_to(repository.resolve()):
            raise InputError(
                f"{output}: lies in the model repository {repository}, where Triton takes every folder for a model; "
                "give an output folder elsewhere"
            )


@dataclass(frozen=True)
class ConnectionOptions:
    """How to speak to a server."""

    url: Annotated[str | None, typer.Option(show_default="start one here")] = None
    """HOST:PORT of Triton's gRPC."""
    timeout: list[str] | None = None
    """Time limit NAME=SECONDS: connect (10), request (120), outage (60: how long to retry) or job (all requests of a
    study; no limit); repeatable."""
    header: list[str] | None = None
    """Header NAME=VALUE that a gateway asks for; repeatable."""
    tls: Annotated[bool, typer.Option("--tls")] = False
    """Use TLS."""
    tls_ca: Path | None = None
    """PEM of the authority that signed the server's certificate; implies --tls."""
    tls_cert: Path | None = None
    """PEM of our certificate (mutual TLS)."""
    tls_key: Path | None = None
    """PEM of our certificate's key."""
    shared_memory: Literal["auto", "on", "off"] = "auto"
    """Pass pixels in shared memory instead of gRPC; auto: if the server is on this host."""
    budget: Annotated[int, typer.Option(min=1)] = 64
    """Limit in MiB of the pixels in flight."""
    max_message: Annotated[int, typer.Option(min=1, max=2047)] = 2047
    """Limit in MiB of one message."""
    traces: Annotated[str | None, typer.Option(metavar="URL")] = None
    """Send spans of the jobs to this OTLP collector, as http://127.0.0.1:4318; Triton's join them."""

    def server_options(self) -> ServerOptions:
        """As the client takes them.

        Raises InputError for what cannot be read, or would be ignored because the server is started here.
        """
        from swinunet.client import ServerOptions, Tls, parse_headers, parse_timeouts

        tls_files = (self.tls_ca, self.tls_cert, self.tls_key)
        secured = self.tls or any(tls_files)
        if self.url is None and (secured or self.header):
            raise InputError("--tls and --header are for a server elsewhere; give its address with --url")
        return ServerOptions(
            timeouts=parse_timeouts(self.timeout or []),
            tls=Tls(*tls_files) if secured else None,
            headers=parse_headers(self.header or []),
            shared_memory=self.shared_memory,
            budget_bytes=self.budget * _MIB,
            max_message_bytes=self.max_message * _MIB,
            traces=self.traces,
        )
