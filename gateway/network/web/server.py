"""The gateway's web server: its routes on uvicorn, in a thread of its own, with what guards them."""

from __future__ import annotations

import hmac
import logging
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from swinunet.foundation.errors import InputError
from swinunet.gateway.config.peers import WebConfig
from swinunet.gateway.network.tls import server_context

logger = logging.getLogger(__name__)
logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # it logs addresses and what peers sent wrongly

_CONNECTIONS = 256  # at once; more are answered 503
_KEEP_ALIVE_S = 15
_STOP_S = 10
_UNAUTHORIZED, _FORBIDDEN = 401, 403


class FaultGuard:
    """Says a fault of a route in one line, where uvicorn prints a traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer by the application, which answers 500 itself for what it raises."""
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            logger.error("a web request failed (%s)", type(error).__name__)


class OriginGuard:
    """Refuses what another site's page makes a browser send: an Origin that is not this server's own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            origin = headers.get("origin")
            if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
                await PlainTextResponse("this Origin is not ours\n", _FORBIDDEN)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class TokenGuard:
    """Lets in who shows the bearer token (RFC 6750), compared in constant time."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] == "http" and not self.lets_in(Headers(scope=scope).get("authorization", "")):
            answer = PlainTextResponse("a bearer token is needed\n", _UNAUTHORIZED, {"WWW-Authenticate": "Bearer"})
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def lets_in(self, authorization: str) -> bool:
        """Whether this Authorization header shows the token."""
        scheme, _, shown = authorization.partition(" ")
        return hmac.compare_digest(shown.strip().encode(), self._token) and scheme.lower() == "bearer"


def behind_token(routes: Sequence[BaseRoute], token: str | None) -> list[BaseRoute]:
    """The routes, each behind the token; None is no token."""
    if token is not None:
        for route in routes:
            route.app = TokenGuard(route.app, token)  # type: ignore[attr-defined]
    return list(routes)


class _Server(uvicorn.Server):
    """Tells when it serves."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serving = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        await super().startup(sockets)
        self.serving.set()


class WebServer:
    """Serves `routes` at the host and port of `config`."""

    def __init__(self, config: WebConfig, routes: Sequence[BaseRoute]) -> None:
        self._config = config
        self._app: Callable[[Scope, Receive, Send], Awaitable[None]] = FaultGuard(
            OriginGuard(Starlette(routes=list(routes)))
        )
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None

    def start(self) -> None:
        """Bind the port and serve; returns when requests are answered.

        Raises InputError for a port that is in use or not allowed, an address that is not ours, and a certificate
        that cannot be used.
        """
        config = self._config
        tls = server_context(config.tls) if config.tls else None
        family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
        try:
            self._socket = socket.create_server((config.host, config.port), family=family, backlog=128)
        except OSError as error:
            raise InputError(
                f"cannot listen for HTTP at {config.host}:{config.port} ({os.strerror(error.errno or 0)}); "
                "stop what listens there, or set another host or port"
            ) from None
        settings = uvicorn.Config(
            self._app, log_config=None, access_log=False, server_header=False, proxy_headers=False, lifespan="off",
            ws="none", loop="asyncio", http="h11", timeout_keep_alive=_KEEP_ALIVE_S, limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=_STOP_S,
        )  # fmt: skip
        settings.load()
        settings.ssl = tls
        self._server = _Server(settings)
        self._thread = threading.Thread(target=self._serve, args=(self._server,), name="web server", daemon=True)
        self._thread.start()
        while not self._server.serving.wait(0.1):
            if not self._thread.is_alive():
                raise InputError(f"the web server at {config.host}:{self.port} did not start")

    def _serve(self, server: _Server) -> None:
        try:
            server.run(sockets=[self._socket] if self._socket else [])
        except (Exception, SystemExit) as error:  # uvicorn exits where it cannot start
            logger.error("the web server ended (%s)", type(error).__name__)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        assert self._socket is not None
        return int(self._socket.getsockname()[1])

    def stop(self) -> None:
        """Take no more requests, and wait until those under way are answered or 10 s are over."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join()
        if self._socket is not None:
            self._socket.close()
