"""HTTP for one reviewer: on 127.0.0.1, with a key that other users of the machine do not know.

The key comes once, in the address that the browser opens, and is a cookie from then on. A page of another origin can
neither send that cookie (SameSite) nor reach the server under another name (Host).
"""

from __future__ import annotations

import html
import json
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

import pydantic

from swinunet.client.viewer.results_tree import FoundResult
from swinunet.client.viewer.reviews import Reviews
from swinunet.client.viewer.tree_page import address_of, tree_page
from swinunet.foundation.errors import OutputError, SwinUNetError

_COOKIE = "swinunet_view"
_LONGEST_BODY = 20_000  # bytes
_TYPES = {".html": "text/html; charset=utf-8", ".png": "image/png", ".json": "application/json"}


class _Mark(pydantic.BaseModel):
    """What a page sends."""

    model_config = pydantic.ConfigDict(extra="forbid")
    result: str
    decision: Literal["accepted", "rejected", ""]
    comment: str = pydantic.Field(max_length=2000)


class ViewServer(ThreadingHTTPServer):
    """Serves the results that it was given, and files of no others. Raises OutputError for a port that is taken."""

    daemon_threads = True

    def __init__(self, root: Path, results: list[FoundResult], port: int = 0) -> None:
        """port: 0 takes a free one."""
        self.title = root.resolve().name
        self.results, self.reviews = {each.name: each for each in results}, Reviews(root)
        self.key = secrets.token_urlsafe(24)
        self.reviews.read()  # a broken table is refused before a browser opens
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise OutputError(f"--port {port}: cannot listen there ({error.strerror}); give another port") from None

    @property
    def address(self) -> str:
        """Where a browser begins, key included."""
        return f"http://127.0.0.1:{self.server_port}/?key={self.key}"

    @contextmanager
    def door(self) -> Iterator[str]:
        """A private file that leads there, so that the key stands in no command line; gone after the block."""
        with tempfile.TemporaryDirectory(prefix="swinunet-view-") as folder:
            file = Path(folder) / "open.html"
            file.touch(mode=0o600)
            file.write_text(f'<meta http-equiv="refresh" content="0; url={html.escape(self.address)}">')
            yield file.as_uri()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that hangs up is no error."""


class _Handler(BaseHTTPRequestHandler):
    server: ViewServer
    server_version, sys_version = "swinunet", ""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        key = parse_qs(url.query).get("key", [""])[0]
        if not self._from_here():
            self._refuse(HTTPStatus.FORBIDDEN, "this server answers to 127.0.0.1 only")
        elif secrets.compare_digest(key.encode(), self.server.key.encode()):
            self._send(HTTPStatus.SEE_OTHER, b"", "text/plain", Location="/", **{
                "Set-Cookie": f"{_COOKIE}={self.server.key}; HttpOnly; SameSite=Strict; Path=/"
            })  # fmt: skip
        elif not self._known():
            self._refuse(HTTPStatus.FORBIDDEN, "open the address that swinunet view printed, with its key")
        elif url.path == "/favicon.ico":
            self._send(HTTPStatus.NO_CONTENT, b"", "image/png")
        elif url.path == "/":
            self._send_start()
        else:
            self._send_file(url.path)

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not (self._from_here() and self._known()):
            self._refuse(HTTPStatus.FORBIDDEN, "open the address that swinunet view printed, with its key")
        elif self.path != "/review" or self.headers.get_content_type() != "application/json":
            self._refuse(HTTPStatus.NOT_FOUND, "there is nothing here")
        elif not length.isdecimal() or int(length) > _LONGEST_BODY:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "a mark is shorter than that")
        else:
            self._mark(self.rfile.read(int(length)))

    def _mark(self, body: bytes) -> None:
        try:
            mark = _Mark.model_validate_json(body)
            result = self.server.results[mark.result]
            self.server.reviews.mark(mark.result, mark.decision, mark.comment, result.made)
        except (pydantic.ValidationError, KeyError):
            self._refuse(HTTPStatus.BAD_REQUEST, "not a mark of one of these results")
        except SwinUNetError as error:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
        else:
            self._send(HTTPStatus.OK, json.dumps({"saved": mark.result}).encode(), "application/json")

    def _send_start(self) -> None:
        """The table of results; the only result's own page where there is one."""
        results = list(self.server.results.values())
        if len(results) == 1 and "index.html" in results[0].files:
            self._send(HTTPStatus.SEE_OTHER, b"", "text/plain", Location=address_of(results[0].name, "index.html"))
            return
        try:
            page = tree_page(self.server.title, results, self.server.reviews.read())
        except SwinUNetError as error:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
        else:
            self._send(HTTPStatus.OK, page.render().encode(), _TYPES[".html"])

    def _send_file(self, path: str) -> None:
        parts = [unquote(part) for part in path.split("/")]
        result = self.server.results.get(parts[2]) if len(parts) == 4 and parts[1] == "results" else None
        if result is None or parts[3] not in result.files or Path(parts[3]).suffix not in _TYPES:
            self._refuse(HTTPStatus.NOT_FOUND, "there is nothing here")
            return
        try:
            content = (result.folder / parts[3]).read_bytes()
        except OSError as error:
            self._refuse(HTTPStatus.NOT_FOUND, f"{parts[3]} cannot be read ({error.strerror})")
        else:
            self._send(HTTPStatus.OK, content, _TYPES[Path(parts[3]).suffix])

    def _from_here(self) -> bool:
        """Whether the server was called by its own name: not by one that somebody lets point to 127.0.0.1."""
        names = {f"{name}:{self.server.server_port}" for name in ("127.0.0.1", "localhost")}
        origin = self.headers.get("Origin")
        return self.headers.get("Host") in names and (origin is None or origin.removeprefix("http://") in names)

    def _known(self) -> bool:
        found = SimpleCookie(self.headers.get("Cookie", "")).get(_COOKIE)
        return found is not None and secrets.compare_digest(found.value.encode(), self.server.key.encode())

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self._send(status, reason.encode(), "text/plain; charset=utf-8")

    def _send(self, status: HTTPStatus, content: bytes, kind: str, **headers: str) -> None:
        self.send_response(status)
        common = {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": "frame-ancestors 'none'",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        for name, value in (common | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Names of studies belong into no log."""
