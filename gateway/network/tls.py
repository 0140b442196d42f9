"""TLS of every connection, in one place: version 1.2 and later, certificates from PEM files."""

from __future__ import annotations

import ssl
from pathlib import Path

from swinunet.foundation.errors import InputError
from swinunet.gateway.config.peers import TlsFiles


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """For a server; with `files.ca` a client must show a certificate of that authority (mutual TLS).

    Raises InputError, in one line, for files that cannot be used.
    """
    if files.certificate is None:
        raise InputError("TLS of a server needs certificate and key; set both")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(context, files)
    if files.ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(files: TlsFiles | None = None) -> ssl.SSLContext:
    """For a client, which checks the server's certificate and its host name. Raises InputError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if files is None or files.ca is None:
        context.load_default_certs()
    if files is not None:
        _load(context, files)
    return context


def _load(context: ssl.SSLContext, files: TlsFiles) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if files.certificate is not None and files.key is not None:
        for path in (files.certificate, files.key):
            _require_readable(path, "TLS certificate and key")
        try:
            context.load_cert_chain(files.certificate, files.key, password=_no_password)
        except ssl.SSLError as error:
            raise InputError(_pair_fault(files, error)) from None
    if files.ca is not None:
        _require_readable(files.ca, "TLS authority")
        try:
            context.load_verify_locations(files.ca)
        except ssl.SSLError:
            raise InputError(f"{files.ca}: no certificate in PEM form; give the authority's certificate") from None


def _pair_fault(files: TlsFiles, error: ssl.SSLError) -> str:
    if "KEY_VALUES_MISMATCH" in str(error):
        return f"{files.certificate}: this certificate does not fit the key {files.key}; give a pair made together"
    return f"{files.certificate}, {files.key}: no certificate and unencrypted key in PEM form"


def _no_password() -> str:
    return ""  # else OpenSSL asks at the terminal for the password of an encrypted key


def _require_readable(path: Path, what: str) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise InputError(f"{path}: {what} cannot be read ({error.strerror})") from None
