"""The status page: the queue, each job's history with the picture of its result, and a button to try again.

Server-rendered, without scripts. Studies are called by a part of the hash of their UID; the picture is the only thing
of a patient, and like every page but the login it wants the token.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from swinunet.foundation.errors import InputError
from swinunet.gateway.ledger.administration import RETRIED, counts, retry, status, status_of_job
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.watching.job_history import job_history, overlay_file
from swinunet.gateway.watching.sessions import COOKIE, Sessions

_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_MOST = 200  # rows of the queue
_Page = Callable[[Request], Awaitable[Response]]


class StatusPage:
    """spool: whose results hold the pictures. secure: whether the server speaks TLS, so that cookies must."""

    def __init__(
        self, ledger: Ledger, spool: Path, sessions: Sessions, secure: bool, now: Callable[[], float] = time.time
    ) -> None:
        self._ledger, self._spool, self._sessions, self._secure, self._now = ledger, spool, sessions, secure, now
        self._templates = Environment(
            loader=PackageLoader("swinunet.gateway.watching"), autoescape=True, undefined=StrictUndefined
        )
        self._templates.filters["time"] = _time
        self._templates.filters["words"] = lambda name: str(name).replace("_", " ")

    def routes(self) -> list[Route]:
        """To be mounted in the gateway's web server."""
        return [
            Route("/", self._to_queue),
            Route("/status", self._guarded(self._queue)),
            Route("/status/style.css", self._style),
            Route("/status/login", self._login, methods=["GET", "POST"]),
            Route("/status/logout", self._guarded(self._logout), methods=["POST"]),
            Route("/status/jobs/{job:int}", self._guarded(self._job)),
            Route("/status/jobs/{job:int}/overlay.png", self._guarded(self._overlay)),
            Route("/status/jobs/{job:int}/retry", self._guarded(self._retry), methods=["POST"]),
        ]

    def _guarded(self, page: _Page) -> _Page:
        """Pages for those who have logged in; forms only from our own pages."""

        async def answer(request: Request) -> Response:
            cookie = request.cookies.get(COOKIE)
            if not self._sessions.is_open and not self._sessions.is_cookie(cookie):
                return RedirectResponse("/status/login", 303)
            if request.method == "POST" and not await self._is_own_form(request):
                return self._rendered("message.html", 403, message="This form came from another page; open it again.")
            response = await page(request)
            response.headers.update(_SECURITY)
            return response

        return answer

    async def _is_own_form(self, request: Request) -> bool:
        origin = request.headers.get("origin")
        if origin and origin != "null" and urlsplit(origin).netloc != request.headers.get("host"):
            return False
        given = _text(await request.form(), "form_token")
        return self._sessions.is_form_token(given, request.cookies.get(COOKIE))

    async def _to_queue(self, _request: Request) -> Response:
        return RedirectResponse("/status", 303)

    async def _style(self, _request: Request) -> Response:
        style = self._templates.get_template("style.css").render()
        return Response(style, media_type="text/css", headers=_SECURITY | {"Cache-Control": "max-age=3600"})

    async def _login(self, request: Request) -> Response:
        if request.method == "GET":
            return self._rendered("login.html", wrong=False)
        if not self._sessions.is_token(_text(await request.form(), "token")):
            return self._rendered("login.html", 401, wrong=True)
        response = RedirectResponse("/status", 303)
        response.set_cookie(
            COOKIE, self._sessions.new_cookie(), httponly=True, samesite="strict", secure=self._secure, path="/status"
        )
        return response

    async def _logout(self, _request: Request) -> Response:
        response = RedirectResponse("/status/login", 303)
        response.delete_cookie(COOKIE, path="/status")
        return response

    async def _queue(self, request: Request) -> Response:
        state = request.query_params.get("state", "")
        found = await run_in_threadpool(counts, self._ledger)
        rows = await run_in_threadpool(status, self._ledger, _MOST)
        shown = [row for row in rows if state in ("", row.state)]
        return self._rendered("queue.html", request=request, counts=found, rows=shown, state=state, now=self._now())

    async def _job(self, request: Request) -> Response:
        found = await run_in_threadpool(job_history, self._ledger, self._spool, request.path_params["job"])
        if found is None:
            return self._rendered("message.html", 404, message="There is no job of this number.")
        return self._rendered("job.html", request=request, history=found, can_retry=found.job.state in RETRIED)

    async def _overlay(self, request: Request) -> Response:
        job = await run_in_threadpool(status_of_job, self._ledger, request.path_params["job"])
        picture = overlay_file(self._spool, job) if job else None
        return FileResponse(picture, media_type="image/png") if picture else Response(status_code=404)

    async def _retry(self, request: Request) -> Response:
        job = request.path_params["job"]
        try:
            await run_in_threadpool(retry, self._ledger, job, self._now())
        except InputError as error:
            return self._rendered("message.html", 409, message=str(error))
        return RedirectResponse(f"/status/jobs/{job}", 303)

    def _rendered(
        self, template: str, status_code: int = 200, request: Request | None = None, **values: object
    ) -> Response:
        cookie = request.cookies.get(COOKIE) if request else None
        text = self._templates.get_template(template).render(
            form_token=self._sessions.form_token(cookie), is_open=self._sessions.is_open, **values
        )
        return HTMLResponse(text, status_code, headers=_SECURITY)


def _text(form: FormData, name: str) -> str:
    """A field of a form; a file in its place is none."""
    value = form.get(name)
    return value if isinstance(value, str) else ""


def _time(at: float | None) -> str:
    """A time by the wall clock, UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S") if at else ""
