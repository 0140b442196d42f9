"""The connection to one Triton: address, channel, TLS and headers in one place; its refusals become ServerError."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import tritonclient.grpc as grpcclient
from tritonclient.grpc import InferenceServerClientPlugin
from tritonclient.utils import InferenceServerException

from swinunet.client.triton.failures import reason
from swinunet.client.triton.options import ServerOptions
from swinunet.foundation.errors import ServerError
from swinunet.foundation.loopback import is_loopback
from swinunet.foundation.triton_channel import balanced_channel_options, channel_options


class Connection:
    """A gRPC channel to the Triton at `url` (HOST:PORT). Safe to use from several threads.

    url: or of several that serve the same models, among which requests are shared out in turn: `dns:///NAME:PORT`, a
    name with several addresses, such as a headless service of Kubernetes, or `ipv4:HOST:PORT,HOST:PORT`. A request that
    one of them fails goes to the next.
    Raises ServerError if `url` is no address. Nothing is asked yet.
    """

    def __init__(self, url: str, options: ServerOptions) -> None:
        if not (_is_address(url) or stands_for_several(url)):
            raise ServerError(
                f"{url!r} is no gRPC address; expected HOST:PORT, such as localhost:8001, or dns:///NAME:PORT for "
                "several servers"
            )
        balanced = stands_for_several(url)
        self.url, self.options = url, options
        tls = options.tls
        self.client = grpcclient.InferenceServerClient(
            url,
            ssl=tls is not None,
            root_certificates=tls and tls.ca,
            private_key=tls and tls.key,
            certificate_chain=tls and tls.certificate,
            channel_args=(balanced_channel_options if balanced else channel_options)(options.max_message_bytes),
        )
        self.client.register_plugin(_Headers(dict(options.headers)))

    @property
    def is_loopback(self) -> bool:
        """Whether the address is this machine's own, so that the server may share its memory."""
        return not stands_for_several(self.url) and is_loopback(self.url.rpartition(":")[0])

    def is_live(self) -> bool:
        """Whether the server says that it lives. Raises InferenceServerException if it says nothing."""
        return bool(self.client.is_server_live(client_timeout=self.options.timeouts.connect))

    def repository_index(self) -> Iterable[Any]:  # a protobuf without stubs
        """Name, version and state of every model there. Raises InferenceServerException."""
        return self.client.get_model_repository_index(client_timeout=self.options.timeouts.connect).models

    def model_config(self, name: str, version: str = "") -> Any:
        """A model's config. Raises InferenceServerException."""
        return self.client.get_model_config(name, version, client_timeout=self.options.timeouts.connect).config

    @contextmanager
    def translated(self) -> Iterator[None]:
        """What the server refuses inside the block becomes ServerError."""
        try:
            yield
        except InferenceServerException as error:
            raise ServerError(reason(self.url, error)) from None

    def close(self) -> None:
        """Close the channel."""
        self.client.close()


class _Headers(InferenceServerClientPlugin):
    """Puts the headers into every call."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._headers = headers

    def __call__(self, request: Any) -> None:
        request.headers = {**(request.headers or {}), **self._headers}


def stands_for_several(url: str) -> bool:
    """Whether an address is dns:///NAME:PORT, with or without a name server, or ipv4: and a list of HOST:PORT.

    See gRPC's doc/naming.md.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "dns":
        matched = re.fullmatch(r"//(?P<server>[\w.\-]+:\d+)?/(?P<name>[^/]+)", rest)
        return matched is not None and _is_address(matched["name"])
    if scheme == "ipv4":
        return all(re.fullmatch(r"[\d.]+", each.rpartition(":")[0]) and _is_address(each) for each in rest.split(","))
    return False


def _is_address(url: str) -> bool:
    """HOST:PORT; gRPC would take other text for a host name, and say so in its own words on standard error."""
    host, _, port = url.rpartition(":")
    return bool(re.fullmatch(r"[\w.\-]+|\[[0-9a-fA-F:.]+\]", host)) and port.isdecimal() and 0 < int(port) < 65536
