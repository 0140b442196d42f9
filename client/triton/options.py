"""How a server is to be spoken to: time-outs, TLS, headers, shared memory, and how much may be in flight."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from swinunet.foundation.errors import InputError
from swinunet.foundation.triton_channel import MAX_MESSAGE_BYTES

SharedMemory = Literal["auto", "on", "off"]
_HEADER_NAME = re.compile(r"[a-z0-9_.\-]+")


@dataclass(frozen=True)
class Timeouts:
    """Seconds.

    connect: for each of the first questions to a server. request: for one batch, from sending it to its answer, the
    wait in Triton's queue included. outage: how long an error that can heal is met with another try (once at least).
    job: for all requests of one study; None sets no limit.
    """

    connect: float = 10.0
    request: float = 120.0
    outage: float = 60.0
    job: float | None = None


@dataclass(frozen=True)
class Tls:
    """TLS to the server. PEM files; ca: None trusts what gRPC trusts. certificate and key: ours, for mutual TLS.

    Raises InputError if a file cannot be read, or one of certificate and key is missing.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise InputError("mutual TLS wants both the certificate (--tls-cert) and its key (--tls-key)")
        for path in filter(None, (self.ca, self.certificate, self.key)):
            try:
                pem = path.read_bytes()
            except OSError as error:
                raise InputError(f"{path}: cannot read ({error.strerror}); TLS wants a PEM file there") from None
            if b"-----BEGIN " not in pem:
                raise InputError(f"{path}: no PEM file; TLS wants text that begins with -----BEGIN")


@dataclass(frozen=True)
class ServerOptions:
    """How to speak to a server.

    headers: gRPC metadata for every call, as a gateway wants them; never printed. shared_memory: "auto" uses it with a
    server on a loopback address that allows it. in_flight: requests under way at most, budget_bytes: bytes of their
    images and answers at most; a job has one request under way in any case. max_message_bytes: the largest message
    that everything between here and the server lets pass. why_gone: asked when a call fails; why the server will never
    answer again, in one line, or None while it may. traces: address of an OTLP collector that gets the jobs' spans, as
    http://127.0.0.1:4318; None sends nothing to anybody.
    """

    timeouts: Timeouts = field(default_factory=Timeouts)
    tls: Tls | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    shared_memory: SharedMemory = "auto"
    in_flight: int = 4  # one computes, the next are decoded and queued; more only cost memory
    budget_bytes: int = 64 * 2**20
    max_message_bytes: int = MAX_MESSAGE_BYTES
    why_gone: Callable[[], str | None] = field(default=lambda: None, repr=False)
    traces: str | None = None


def parse_timeouts(texts: Sequence[str]) -> Timeouts:
    """Timeouts from NAME=SECONDS as written on the command line. Raises InputError for what is not of that form."""
    names = [each.name for each in dataclasses.fields(Timeouts)]
    given: dict[str, float] = {}
    for text in texts:
        name, _, seconds = text.partition("=")
        try:
            given[name] = float(seconds)
        except ValueError:
            given[name] = math.nan
        if name not in names or not 0 < given[name] < math.inf:
            raise InputError(f"--timeout {text}: expected NAME=SECONDS, above 0, NAME one of {', '.join(names)}")
    return Timeouts(**given)


def parse_headers(texts: Sequence[str]) -> dict[str, str]:
    """Headers from NAME=VALUE as written on the command line; names become lower case, as gRPC wants them.

    Raises InputError, which never quotes a value, for what is not of that form.
    """
    headers: dict[str, str] = {}
    for number, text in enumerate(texts, start=1):
        name, equals, value = text.partition("=")
        name = name.lower()
        if not equals or not _HEADER_NAME.fullmatch(name) or name.startswith("grpc-") or name.endswith("-bin"):
            raise InputError(
                f"--header number {number}: expected NAME=VALUE, NAME of letters, digits, - _ and ., "
                "not beginning with grpc- and not ending with -bin"
            )
        if not (value.isascii() and value.isprintable()):
            raise InputError(f"--header {name}: its value has characters that no header can carry; use printable ASCII")
        headers[name] = value
    return headers
