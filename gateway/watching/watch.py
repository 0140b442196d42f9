"""The parts that watch, made of a configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from swinunet.gateway.config.settings import GatewayConfig
from swinunet.gateway.ledger.clock import Clock
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.network.tls import client_context
from swinunet.gateway.watching.audit_sinks import AuditFile, AuditSink, SyslogOverTls, require_writable
from swinunet.gateway.watching.audit_trail import AuditTrail
from swinunet.gateway.watching.health import Check, health_routes
from swinunet.gateway.watching.metrics import CONTENT_TYPE, LedgerCollector, exposition, registry_of
from swinunet.gateway.watching.sessions import Sessions
from swinunet.gateway.watching.status_page import StatusPage

AUDIT_FILE = "audit.xml"


def audit_trail(config: GatewayConfig, ledger: Ledger, spool: Path) -> AuditTrail:
    """The trail that the configuration asks for. Raises OutputError for a file that cannot be written, InputError for
    certificates that cannot be used."""
    title = config.listener.ae_title if config.listener else "SWINUNET"
    sink: AuditSink
    if config.audit.syslog is not None:
        syslog = config.audit.syslog
        sink = SyslogOverTls(syslog.host, syslog.port, client_context(syslog.tls))
    else:
        path = config.audit.file or spool / AUDIT_FILE
        require_writable(path)
        sink = AuditFile(path)
    return AuditTrail(ledger, sink, title)


def open_routes(checks: Mapping[str, Check]) -> Sequence[BaseRoute]:
    """Those that anybody may ask: /healthz and /readyz."""
    return health_routes(checks)


def metrics_route(ledger: Ledger, spool: Path, clock: Clock, associations: Callable[[], int]) -> Route:
    """/metrics, to be put behind the token."""
    registry = registry_of(LedgerCollector(ledger, spool, clock, associations))

    async def metrics(_request: Request) -> Response:
        return Response(await run_in_threadpool(exposition, registry), headers={"Content-Type": CONTENT_TYPE})

    return Route("/metrics", metrics)


def status_routes(
    ledger: Ledger, spool: Path, token: str | None, secure: bool, clock: Clock | None = None
) -> Sequence[BaseRoute]:
    """The status page, which asks for the token itself."""
    return StatusPage(ledger, spool, Sessions(token), secure, (clock or Clock()).wall).routes()
