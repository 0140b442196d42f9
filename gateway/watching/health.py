"""Whether the gateway lives, and whether it can do its work now: /healthz and /readyz."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

Check = Callable[[], str | None]
"""Returns what is wrong, in words without patient data; None if nothing is."""


@dataclass(frozen=True)
class Readiness:
    """What each check says; empty words where it is well."""

    problems: Mapping[str, str]

    @property
    def is_ready(self) -> bool:
        """Whether no check found anything."""
        return not any(self.problems.values())


def readiness(checks: Mapping[str, Check]) -> Readiness:
    """Run all checks. One that raises is a problem by the name of its error."""
    problems = {}
    for name, check in checks.items():
        try:
            problems[name] = check() or ""
        except Exception as error:  # a check must never take the answer away
            problems[name] = type(error).__name__
    return Readiness(problems)


def health_routes(checks: Mapping[str, Check]) -> list[Route]:
    """GET /healthz: 200 while the process answers. GET /readyz: 200, or 503 with what is wrong, as JSON."""

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        found = await run_in_threadpool(readiness, checks)
        said = {name: words or "ok" for name, words in found.problems.items()}
        return JSONResponse({"ready": found.is_ready, "checks": said}, 200 if found.is_ready else 503)

    return [Route("/healthz", healthz), Route("/readyz", readyz)]
