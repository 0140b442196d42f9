"""What a worker process is told when it starts, on its standard input: it holds secrets."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pydantic
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from swinunet.gateway.config.settings import GatewayConfig
from swinunet.gateway.ledger.jobs import LeasedJob

_KILLED_AT = "SWINUNET_TEST_KILL_WORKER_AT"


@dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))
class WorkerSetup:
    """config: of the gateway. ledger_url: with its password. url, headers: of Triton's gRPC. owner: of its leases."""

    config: GatewayConfig
    ledger_url: str
    url: str
    headers: dict[str, str]
    owner: str

    def to_json(self) -> str:
        """As one line."""
        return _ADAPTER.dump_json(self).decode()

    @staticmethod
    def from_json(line: str) -> WorkerSetup:
        """What `to_json` wrote."""
        return _ADAPTER.validate_json(line)

    def stage(self) -> Callable[[str, LeasedJob], None]:
        """Does nothing; in tests that say so by an environment variable, kills this process at a stage of a job."""
        fatal = os.environ.get(_KILLED_AT)

        def at(name: str, job: LeasedJob) -> None:
            if name == fatal and job.fence == 1:
                os.kill(os.getpid(), signal.SIGKILL)

        return at


_ADAPTER: TypeAdapter[WorkerSetup] = TypeAdapter(WorkerSetup)
