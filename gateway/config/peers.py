"""The nodes that the gateway speaks to, and how it is spoken to: AE titles, addresses, TLS, tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pydantic
from pydantic import AfterValidator, Field, model_validator
from pydantic.dataclasses import dataclass

STRICT = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0)]


def _application_entity(title: str) -> str:
    """An AE title (PS3.5 6.2, VR AE): 1 to 16 characters of ASCII, no backslash, no control characters."""
    if len(title) > 16:
        raise ValueError(f"an AE title has at most 16 characters, {title!r} has {len(title)}")
    if not title.strip() or not title.isascii() or not title.isprintable() or "\\" in title:
        raise ValueError(f"an AE title is 1 to 16 printable ASCII characters without a backslash, found {title!r}")
    return title.strip()


AETitle = Annotated[str, AfterValidator(_application_entity)]


@dataclass(frozen=True, config=STRICT)
class TlsFiles:
    """PEM files. certificate, key: ours. ca: who must have signed the other side's certificate.

    For a server `ca` makes TLS mutual; without it any client is let in. For a client it replaces the system's
    authorities.
    """

    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None

    @model_validator(mode="after")
    def _whole(self) -> TlsFiles:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together; give both or neither")
        return self


@dataclass(frozen=True, config=STRICT)
class AllowedSender:
    """A caller that is let in. address: IP address or network (10.1.0.0/16); None is any."""

    ae_title: AETitle
    address: pydantic.IPvAnyNetwork | None = None


@dataclass(frozen=True, config=STRICT)
class ListenerConfig:
    """The DIMSE server. allow: empty lets anyone in. idle_s: after which a silent association is ended."""

    ae_title: AETitle = "SWINUNET"
    host: str = "127.0.0.1"
    port: Port = 11112
    associations: Annotated[int, Field(ge=1, le=1000)] = 32
    allow: tuple[AllowedSender, ...] = ()
    tls: TlsFiles | None = None
    idle_s: Seconds = 60.0


@dataclass(frozen=True, config=STRICT)
class WebConfig:
    """The HTTP server: STOW-RS, health, metrics and the status page.

    token_file: its content is the bearer token that everything but /healthz and /readyz wants; None is no token, which
    is allowed on loopback only.
    """

    host: str = "127.0.0.1"
    port: Port = 8042
    token_file: Path | None = None
    tls: TlsFiles | None = None


@dataclass(frozen=True, config=STRICT)
class DimsePeer:
    """A PACS by DIMSE. called_ae, host, port: its own. calling_ae: what we call ourselves; None is the listener's.

    commitment: whether storage commitment is asked of it. timeout_s: for each answer.
    """

    name: str
    called_ae: AETitle
    host: str
    port: Port
    kind: Literal["dimse"] = "dimse"
    calling_ae: AETitle | None = None
    tls: TlsFiles | None = None
    commitment: bool = False
    timeout_s: Seconds = 60.0


@dataclass(frozen=True, config=STRICT)
class WebPeer:
    """A PACS by DICOMweb (PS3.18). url: to which /studies is added. token_file: holds its bearer token.

    user, password_file: HTTP basic authentication in its place. ca: PEM of the authority that signed its certificate.
    """

    name: str
    url: Annotated[str, Field(pattern=r"^https?://")]
    kind: Literal["dicomweb"] = "dicomweb"
    token_file: Path | None = None
    user: str | None = None
    password_file: Path | None = None
    ca: Path | None = None
    timeout_s: Seconds = 60.0

    @model_validator(mode="after")
    def _one_login(self) -> WebPeer:
        if (self.user is None) != (self.password_file is None):
            raise ValueError("user and password_file belong together; give both or neither")
        if self.user is not None and self.token_file is not None:
            raise ValueError("give token_file, or user and password_file, not both")
        return self


@dataclass(frozen=True, config=STRICT)
class FolderPeer:
    """A folder for results: a folder for each study in it, called after the hash of its UID."""

    name: str
    folder: Path
    kind: Literal["folder"] = "folder"


@dataclass(frozen=True, config=STRICT)
class Webhook:
    """An URL that is told the end of each job. secret_file: key of the HMAC-SHA256 signature."""

    url: Annotated[str, Field(pattern=r"^https?://")]
    secret_file: Path
    timeout_s: Seconds = 10.0


Peer = Annotated[DimsePeer | WebPeer | FolderPeer, Field(discriminator="kind")]
