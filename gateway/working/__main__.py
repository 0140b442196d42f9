"""A worker process. Its first line of standard input is its setup as JSON; `finish` ends it after the job under way.

The end of the input ends it at once: whoever started it is gone, and what it leased is taken up by others.
"""

from __future__ import annotations

import os
import sys
import threading

from swinunet.client.triton import ServerOptions, Tls
from swinunet.gateway.ledger.database import Ledger
from swinunet.gateway.ledger.owners import Watch
from swinunet.gateway.logs import configure_logs
from swinunet.gateway.spool import Spool
from swinunet.gateway.working.model_server import ServedModels
from swinunet.gateway.working.setup import WorkerSetup
from swinunet.gateway.working.worker import Worker


def main() -> None:
    """Run until told, or until nobody is there to tell."""
    os.umask(0o077)
    configure_logs()
    setup = WorkerSetup.from_json(sys.stdin.readline())
    config, spool = setup.config, Spool(setup.config.spool)
    tls = Tls(config.models.ca) if config.models.tls or config.models.ca else None
    models = ServedModels(setup.url, ServerOptions(tls=tls, headers=setup.headers, traces=config.models.traces))
    ledger = Ledger(setup.ledger_url)
    watch = Watch(ledger, setup.owner, config.working.lease_s, beat_only=True)
    watch.start(alone=False)
    worker = Worker(config, spool, ledger, models, setup.owner, stage=setup.stage())
    threading.Thread(target=_listen, args=(worker,), name="orders", daemon=True).start()
    worker.run()
    watch.stop()
    models.drop()


def _listen(worker: Worker) -> None:
    for line in sys.stdin:
        if line.strip() == "finish":
            worker.finish()
        elif line.strip() == "cancel":
            worker.cancel()
    os._exit(1)  # without a word: there is nobody to hear it


if __name__ == "__main__":
    main()
