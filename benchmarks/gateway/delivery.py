"""From the last instance of a study to its SEG in the PACS: what the gateway adds to segmenting."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, SegmentationStorage
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import ComprehensiveSRStorage  # type: ignore[attr-defined]

from swinunet.benchmarks.gateway.instances import write_study
from swinunet.benchmarks.gateway.result import DeliverySample
from swinunet.benchmarks.gateway.settings import GatewayBenchmarkSettings
from swinunet.benchmarks.inference.untrained import export_untrained
from swinunet.client.results.report import read_report
from swinunet.foundation.errors import PeerError, ServerError
from swinunet.gateway.network.dimse.association import (
    DimseAddress,
    DimseTimeouts,
    close_association,
    open_association,
)
from swinunet.samples.closed_network import LOOPBACK, free_port
from swinunet.samples.gateway_process import GatewayProcess, running_gateway
from swinunet.serving import TritonServer

RECIPE = "tiny"
_SILENCE_S = 1.0
_LONGEST_S = 600.0

_CONFIGURATION = """\
spool = "spool"

[listener]
port = {dicom}

[disk]
least_free_gb = 0
most_used_percent = 100

[models]
url = "{triton}"

[[peers]]
name = "pacs"
kind = "dimse"
called_ae = "PACS"
host = "127.0.0.1"
port = {pacs}

[[peers]]
name = "folder"
kind = "folder"
folder = "results"

[[routes]]
name = "all"
destinations = ["pacs", "folder"]
outputs = ["seg", "sr", "json"]

[routes.complete]
study_silence_s = 600
series_silence_s = {silence_s}
"""


class DeliveryBench:
    """A gateway with a Triton that serves an untrained network, and a PACS that notes when a SEG has come."""

    def __init__(self, settings: GatewayBenchmarkSettings, folder: Path, resources: ExitStack) -> None:
        self._settings, self._folder, self._resources = settings, folder / "delivery", resources
        self._studies = 0

    def start(self) -> None:
        """Export, serve, start the gateway, and let a first study through. Raises ServerError and PeerError."""
        version = export_untrained(RECIPE, self._folder / "repository")
        triton = self._resources.enter_context(TritonServer(version.repository))
        self._pacs = self._resources.enter_context(_running_pacs())
        self._port = free_port()
        configuration = _CONFIGURATION.format(
            dicom=self._port, triton=triton.url, pacs=self._pacs.port, silence_s=_SILENCE_S
        )
        self._gateway: GatewayProcess = self._resources.enter_context(
            running_gateway(configuration, self._folder / "gateway", self._port)
        )
        self.sample()

    def sample(self) -> DeliverySample:
        """A new study, until its SEG is in the PACS. Raises ServerError and PeerError."""
        self._studies += 1
        folder = self._folder / "sent"
        settings, name = self._settings, f"delivery{self._studies}"
        files = write_study(folder, name, settings.study_slices, settings.study_pixels)
        known = set(self._reports())
        began = _send(self._port, files)
        arrived = self._wait(lambda: self._pacs.arrived.get(dcmread(files[0]).StudyInstanceUID), "its SEG")
        report = self._wait(lambda: next(iter(set(self._reports()) - known), None), "its report")
        segmentation_s = sum(read_report(report).timings_s.values())
        return DeliverySample(arrived - began, _SILENCE_S, segmentation_s)

    def _reports(self) -> Iterator[Path]:
        return (self._folder / "gateway" / "results").glob("*/report.json")

    def _wait(self, look: Any, what: str) -> Any:
        deadline = time.monotonic() + _LONGEST_S
        while not (found := look()):
            self._gateway.require_running()
            if time.monotonic() > deadline:
                raise ServerError(f"a study was sent, and {what} did not come within {_LONGEST_S:g} s")
            time.sleep(0.02)
        return found


class _Pacs:
    """arrived: the moment (`time.monotonic`) at which the SEG of each study had come, by Study Instance UID."""

    def __init__(self) -> None:
        self.port, self.arrived = free_port(), dict[str, float]()
        self._lock = threading.Lock()

    def store(self, event: Any) -> int:
        """Take an instance."""
        dataset = event.dataset
        if dataset.SOPClassUID == SegmentationStorage:
            with self._lock:
                self.arrived.setdefault(str(dataset.StudyInstanceUID), time.monotonic())
        return 0x0000


@contextmanager
def _running_pacs() -> Iterator[_Pacs]:
    pacs, ae = _Pacs(), AE("PACS")
    for sop_class in (SegmentationStorage, ComprehensiveSRStorage):
        ae.add_supported_context(sop_class, ExplicitVRLittleEndian)
    server = ae.start_server((LOOPBACK, pacs.port), block=False, evt_handlers=[(evt.EVT_C_STORE, pacs.store)])
    assert server is not None
    try:
        yield pacs
    finally:
        server.shutdown()


def _send(port: int, files: Sequence[Path]) -> float:
    """Send a study on one association; returns the moment before its last instance. Raises PeerError."""
    began, context = 0.0, build_context(MRImageStorage, ExplicitVRLittleEndian)
    association = open_association(DimseAddress("SWINUNET", LOOPBACK, port), "BENCHMARK", [context], DimseTimeouts())
    try:
        for file in files:
            dataset, began = dcmread(file), time.monotonic()
            status = association.send_c_store(dataset).get("Status")
            if status != 0x0000:
                told = "nothing" if status is None else f"0x{status:04X}"
                raise PeerError(f"an instance was sent to the gateway, which answered {told}")
    except RuntimeError:
        raise PeerError("the gateway ended the association") from None
    finally:
        close_association(association)
    return began
