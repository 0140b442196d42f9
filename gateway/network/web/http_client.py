"""Requests to a web server of a peer: time-outs, no redirects, its own authority, proxies only where they are meant."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.auth import HTTPBasicAuth

from swinunet.foundation.errors import PeerError
from swinunet.foundation.loopback import is_loopback

_REDIRECTS = range(300, 400)


@dataclass(frozen=True)
class HttpTimeouts:
    """Seconds. connect: TCP and TLS, and each piece that is sent. read: for the first and each further byte.

    The answer as a whole has no limit: a study may take an hour.
    """

    connect: float = 10.0
    read: float = 60.0


@dataclass(frozen=True)
class WebAddress:
    """Where a web server is. ca: PEM file of the authority that signed its certificate, None is the system's.

    authorization: who we are, a header's value or the user and password of basic authentication.
    """

    url: str
    authorization: str | HTTPBasicAuth | None = field(default=None, repr=False)
    ca: Path | None = None

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


@contextmanager
def answered(
    address: WebAddress,
    timeouts: HttpTimeouts,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    data: Any = None,
    params: Mapping[str, str] | None = None,
) -> Iterator[requests.Response]:
    """The answer to a request, whatever its status but a redirect; its body is read as the caller reads it.

    Raises PeerError, in one line, where there is no answer, or one that sends us elsewhere.
    """
    session = requests.Session()
    session.trust_env = False  # else it takes passwords from ~/.netrc
    if isinstance(address.authorization, str):
        session.headers["Authorization"] = address.authorization
    else:
        session.auth = address.authorization
    session.proxies = _proxies(address.url)
    session.verify = str(address.ca) if address.ca else True
    url = address.url.rstrip("/") + path if path else address.url
    try:
        with session.request(
            method, url, headers=headers, data=data, params=params, stream=True,
            timeout=(timeouts.connect, timeouts.read), allow_redirects=False,
        ) as response:  # fmt: skip
            if response.status_code in _REDIRECTS:
                raise PeerError(f"{address}: it redirects to another address, which is not followed; correct its url")
            yield response
    except requests.exceptions.SSLError:
        raise PeerError(f"{address}: no TLS connection; its certificate is not trusted, or it speaks no TLS") from None
    except requests.exceptions.ConnectTimeout:
        raise PeerError(f"{address}: cannot connect within {timeouts.connect:g} s") from None
    except requests.exceptions.Timeout:
        raise PeerError(f"{address}: no answer within {timeouts.read:g} s") from None
    except requests.exceptions.RequestException as error:
        raise PeerError(f"{address}: cannot connect, or the connection broke ({type(error).__name__})") from None
    except OSError as error:  # requests finds no file of certificates
        raise PeerError(f"{address}: its authority cannot be read ({error.strerror or type(error).__name__})") from None
    finally:
        session.close()


def _proxies(url: str) -> dict[str, str]:
    """The environment's proxies, but for this machine and for what no_proxy names."""
    host = urlsplit(url).hostname or ""
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return {}
    return urllib.request.getproxies()
