"""The memory of one gateway while it receives more and more instances."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from swinunet.benchmarks.gateway.instances import write_study
from swinunet.benchmarks.gateway.receivers import running_receiver
from swinunet.benchmarks.gateway.result import MemorySample
from swinunet.benchmarks.gateway.senders import send_by_c_store
from swinunet.benchmarks.gateway.settings import GatewayBenchmarkSettings
from swinunet.benchmarks.measure.process_tree import processes_under, resident_mib, wait_until_idle

_PIXELS = 16


def remember(settings: GatewayBenchmarkSettings, folder: Path) -> list[MemorySample]:
    """Send `settings.remembered` instances, each study on an association, and read the memory after each step.

    Raises ServerError and PeerError.
    """
    associations, found = max(settings.associations), list[MemorySample]()
    with TemporaryDirectory(dir=folder) as own, running_receiver("gateway", Path(own) / "gateway") as receiver:
        for sent in range(settings.remembered_step, settings.remembered + 1, settings.remembered_step):
            slices = settings.remembered_step // associations
            studies = [
                write_study(Path(own) / "sent", f"memory{sent}-{number}", slices, _PIXELS)
                for number in range(associations)
            ]
            send_by_c_store(receiver.dicom, studies)
            wait_until_idle(receiver.pid)
            everything = resident_mib(processes_under({receiver.pid}))
            found.append(MemorySample(receiver.held(), resident_mib([receiver.pid]), everything))
    return found
