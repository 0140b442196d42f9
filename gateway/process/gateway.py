"""The running gateway: every part started in the order in which it is needed, and stopped the other way round."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress

from starlette.routing import BaseRoute

from swinunet.gateway.completing.completer import Completer
from swinunet.gateway.config.secrets import ledger_url
from swinunet.gateway.config.settings import GatewayConfig
from swinunet.gateway.contract import Part
from swinunet.gateway.delivering.deliverer import Deliverer
from swinunet.gateway.delivering.messages import Messenger, SendMessage
from swinunet.gateway.delivering.retention import Retention
from swinunet.gateway.intake.intake import DurableIntake, remove_strangers, remove_unfinished
from swinunet.gateway.ledger.administration import counts, is_draining, set_draining, under_way
from swinunet.gateway.ledger.audit import Event, record
from swinunet.gateway.ledger.clock import Clock
from swinunet.gateway.ledger.database import Ledger, new_owner, sole_gateway
from swinunet.gateway.ledger.owners import Watch, living_owners
from swinunet.gateway.network.web.server import behind_token
from swinunet.gateway.process.commitments import LedgerCommitments
from swinunet.gateway.process.model_server import ModelServer
from swinunet.gateway.process.network import Network
from swinunet.gateway.process.workers import WorkerProcesses
from swinunet.gateway.spool import Spool
from swinunet.gateway.watching.health import Check
from swinunet.gateway.watching.watch import audit_trail, metrics_route, open_routes, status_routes
from swinunet.gateway.working.job_files import remove_unknown

_log = logging.getLogger(__name__)
_LOOK_S = 0.2


class Gateway:
    """Everything that one configuration asks for, in this process and the processes that it starts.

    `with Gateway(config) as gateway: gateway.wait()`. Raises, before anything is received, InputError, OutputError,
    LedgerError and ServingError for what cannot be used.
    """

    def __init__(self, config: GatewayConfig, clock: Clock | None = None) -> None:
        self.config, self._clock = config, clock or Clock()
        self.network = Network(config)
        self._stack = ExitStack()
        self._stopping = threading.Event()
        self.ledger: Ledger
        self.spool: Spool
        self.intake: DurableIntake

    def __enter__(self) -> Gateway:
        try:
            self.start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start every part; returns when studies can be received, be Triton up or not."""
        config = self.config
        self.network.check()
        self.spool = spool = Spool.prepare(config.spool)
        url = ledger_url(config)
        if url.startswith("sqlite"):
            self._stack.enter_context(sole_gateway(spool.root))
        self.ledger = ledger = Ledger(url)
        self._stack.callback(ledger.close)
        owner = new_owner()
        watch = Watch(ledger, owner, config.working.lease_s, self._clock, self._clean_after)
        watch.start(alone=ledger.is_sqlite)
        self._stack.callback(watch.stop)
        self._clean(owner)
        set_draining(ledger, False)
        self._run(audit_trail(config, ledger, spool.root))  # the last to stop: it writes that we stopped
        self._note("gateway_started")
        self._stack.callback(self._note, "gateway_stopped")
        commitments = LedgerCommitments(ledger, config.peers, self.network.report, self._clock)
        self._run_deliveries(owner, commitments)
        self._run(Retention(config.retention, spool, ledger, self._clock))
        self._run(Completer(ledger, config.routes, self.network.count, self._clock))
        self.intake = DurableIntake(spool, ledger, config.disk, owner, self._clock)
        self._run(self.intake)
        models = ModelServer(config.models)
        for server in self.network.servers(
            self.intake, commitments, spool.make_incoming(owner), self._web_routes(models)
        ):
            self._run(server)
        self._run(models)
        workers = WorkerProcesses(config, ledger, url, models.address, lambda: remove_unknown(ledger, spool))
        workers.start()
        self._stack.callback(workers.stop, config.stop_s)

    def stop(self) -> None:
        """Receive nothing more, finish what is under way within `stop_s`, and end; the rest waits in the ledger."""
        self._stopping.set()
        intake = getattr(self, "intake", None)
        if intake is not None:
            intake.drain()
        self._stack.close()

    def wait(self) -> None:
        """Return when the gateway was told to drain, and has."""
        told = False
        while not self._stopping.wait(_LOOK_S):
            with suppress(Exception):  # the database may be away for a while
                if not is_draining(self.ledger):
                    continue
                if not told:
                    _log.info("draining: nothing more is received")
                    self.intake.drain()
                    told = True
                if not under_way(counts(self.ledger)):
                    _log.info("drained")
                    return

    def _run_deliveries(self, owner: str, commitments: LedgerCommitments) -> None:
        config, webhook = self.config, self.config.webhook is not None
        wanted = {name for route in config.routes for name in route.destinations}
        for peer in config.peers:
            if peer.name in wanted:
                self._run(Deliverer(
                    peer, config.delivering, self.spool, self.ledger, owner, self.network.send, self.network.ask,
                    webhook=webhook, clock=self._clock,
                ))  # fmt: skip
        senders: dict[str, SendMessage] = {"commitment_report": commitments.send_report}
        if webhook:
            senders["webhook"] = self.network.send_webhook
        self._run(Messenger(config.delivering, self.ledger, owner, senders, self._clock))

    def _web_routes(self, models: ModelServer) -> Sequence[BaseRoute]:
        """Health for anybody, metrics behind the token, and the status page, which asks for it."""
        checks: dict[str, Check] = {
            "ledger": lambda: None if counts(self.ledger) else "it says nothing",
            "intake": lambda: (refusal := self.intake.refusal()) and f"nothing is taken now ({refusal.name})",
            "models": models.problem,
        }
        token, spool = self.network.web_token(), self.spool.root
        metrics = metrics_route(self.ledger, spool, self._clock, self.network.association_count)
        secure = bool(self.config.web and self.config.web.tls)
        return [
            *open_routes(checks),
            *behind_token([metrics], token),
            *status_routes(self.ledger, spool, token, secure, self._clock),
        ]

    def _run(self, part: Part) -> None:
        part.start()
        self._stack.callback(part.stop)

    def _clean_after(self, owner: str) -> None:
        """Remove what an owner that is gone had not finished."""
        spool = getattr(self, "spool", None)
        if spool is not None:
            remove_unfinished(self.ledger, spool, owner)
            remove_unknown(self.ledger, spool)

    def _clean(self, owner: str) -> None:
        """Remove what earlier runs left: files that no success was given for, work of leases that are lost."""
        living = living_owners(self.ledger) | {owner}
        for folder in (self.spool.root / "incoming").iterdir():
            if folder.name not in living:
                remove_unfinished(self.ledger, self.spool, folder.name)
        left = remove_unknown(self.ledger, self.spool) + remove_strangers(self.ledger, self.spool)
        if left:
            _log.info("%d files and folders that an earlier run left unfinished were removed", left)

    def _note(self, event: Event) -> None:
        with suppress(Exception), self.ledger.write() as connection:
            record(connection, self._clock.wall(), event, True)
