"""Command-line options that say how to speak to a server, for any verb that does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from swinunet.foundation.errors import InputError

if TYPE_CHECKING:
    from swinunet.client import ServerOptions

_PANEL = "The server, with --url"
_MIB = 2**20

Url = Annotated[
    str | None, typer.Option(help="HOST:PORT of Triton's gRPC [default: start one here]", rich_help_panel=_PANEL)
]
Timeout = Annotated[
    list[str] | None,
    typer.Option(
        help="NAME=SECONDS: connect (10), request (120), outage (60: how long to try again) or job (all requests of a "
        "study; no limit); repeatable",
        rich_help_panel=_PANEL,
    ),
]
Header = Annotated[
    list[str] | None, typer.Option(help="NAME=VALUE, as a gateway wants it; repeatable", rich_help_panel=_PANEL)
]
TlsFlag = Annotated[bool, typer.Option("--tls", help="speak TLS", rich_help_panel=_PANEL)]
TlsCa = Annotated[
    Path | None, typer.Option(help="PEM of who signs the server's certificate; implies --tls", rich_help_panel=_PANEL)
]
TlsCert = Annotated[Path | None, typer.Option(help="PEM of our certificate (mutual TLS)", rich_help_panel=_PANEL)]
TlsKey = Annotated[Path | None, typer.Option(help="PEM of its key", rich_help_panel=_PANEL)]
SharedMemoryChoice = Annotated[
    Literal["auto", "on", "off"],
    typer.Option(help="instead of gRPC for pixels; auto: with a server on this host", rich_help_panel=_PANEL),
]
Budget = Annotated[int, typer.Option(help="MiB of pixels under way at most", min=1, rich_help_panel=_PANEL)]
MaxMessage = Annotated[
    int,
    typer.Option(help="MiB of the largest message that passes", min=1, max=2047, rich_help_panel=_PANEL),
]


def server_options(
    url: str | None,
    timeout: Sequence[str] | None,
    header: Sequence[str] | None,
    tls: bool,
    tls_files: tuple[Path | None, Path | None, Path | None],
    shared_memory: Literal["auto", "on", "off"],
    budget: int,
    max_message: int,
) -> ServerOptions:
    """ServerOptions from the command line. tls_files: CA, certificate, key.

    Raises InputError for what is not of its form, or would be ignored because the server is our own.
    """
    from swinunet.client import ServerOptions, Tls, parse_headers, parse_timeouts

    secured = tls or any(tls_files)
    if url is None and (secured or header):
        raise InputError("--tls and --header are for a server elsewhere; give its address with --url")
    return ServerOptions(
        timeouts=parse_timeouts(timeout or []),
        tls=Tls(*tls_files) if secured else None,
        headers=parse_headers(header or []),
        shared_memory=shared_memory,
        budget_bytes=budget * _MIB,
        max_message_bytes=max_message * _MIB,
    )
