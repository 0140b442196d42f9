"""A PACS of pynetdicom for the gateway's tests: it keeps what it gets, and refuses when it is told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage
from pynetdicom import AE, evt
from pynetdicom.sop_class import ComprehensiveSRStorage  # type: ignore[attr-defined]

from swinunet.samples.closed_network import free_port


class Pacs:
    """A storage SCP that keeps what it gets, in the order in which it came, and can refuse."""

    def __init__(self, sop_classes: tuple[str, ...]) -> None:
        self.received: list[Dataset] = []
        self.refuse_with: int | None = None
        self.refused = 0
        self.port = free_port()
        self._lock = threading.Lock()
        self._ae = AE("PACS")
        for sop_class in sop_classes:
            self._ae.add_supported_context(sop_class, ExplicitVRLittleEndian)

    def start(self) -> None:
        handlers = [(evt.EVT_C_STORE, self._store)]
        self._server = self._ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)

    def stop(self) -> None:
        self._server.shutdown()

    def _store(self, event: Any) -> int:
        with self._lock:
            if self.refuse_with is not None:
                self.refused += 1
                return self.refuse_with
            self.received.append(event.dataset)
        return 0x0000


@contextmanager
def pacs(*sop_classes: str) -> Iterator[Pacs]:
    made = Pacs(sop_classes or (SegmentationStorage, ComprehensiveSRStorage))
    made.start()
    try:
        yield made
    finally:
        made.stop()


def route_to_pacs(port: int, **more: Any) -> dict[str, Any]:
    return {
        "peers": [{"name": "pacs", "kind": "dimse", "called_ae": "PACS", "host": "127.0.0.1", "port": port} | more],
        "route": {"destinations": ["pacs"]},
    }
