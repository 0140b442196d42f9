"""The line that says that other machines can reach us without TLS."""

from __future__ import annotations

from swinunet.foundation.loopback import is_loopback


def exposure_warning(what: str, host: str, port: int, *, encrypted: bool) -> str | None:
    """The line to print where a server takes patient data from other machines without TLS; None where it does not."""
    if encrypted or is_loopback(host):
        return None
    return (
        f"{what} listens at {host}:{port} for other machines WITHOUT TLS: patient data can be read on the way"
        " and anyone there can send; set tls, or host to 127.0.0.1"
    )
