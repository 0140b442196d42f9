"""How many instances a second a program receives, and how much CPU time each takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from swinunet.benchmarks.gateway.receivers import Receiver, running_receiver
from swinunet.benchmarks.gateway.result import MeasuredReceiving, ReceivingSample
from swinunet.benchmarks.gateway.senders import Groups, divided, send_by_c_store, send_by_stow
from swinunet.benchmarks.measure.process_tree import cpu_seconds, wait_until_idle
from swinunet.foundation.errors import PeerError

_FIRST = 4  # instances before the clock starts: of a program that has just started they are slow
_AFTER_S = 0.5  # for what is still done for instances that are answered


def receive(row: MeasuredReceiving, files: Sequence[Path], folder: Path) -> ReceivingSample:
    """Send `files` to the row's program, started anew in a folder below `folder`.

    Raises ServerError for a program that is not there, and PeerError if it does not store each instance.
    """
    with TemporaryDirectory(dir=folder) as own, running_receiver(row.program, Path(own) / row.program) as receiver:
        _send(receiver, row, [files[:_FIRST]])
        wait_until_idle(receiver.pid)
        groups = divided(files[_FIRST:], row.associations)
        before, began = cpu_seconds(receiver.pid), time.perf_counter()
        _send(receiver, row, groups)
        seconds = time.perf_counter() - began
        time.sleep(_AFTER_S)
        sample = ReceivingSample(len(files) - _FIRST, seconds, cpu_seconds(receiver.pid) - before)
        if (held := receiver.held()) != len(files):
            raise PeerError(f"it has {held} of {len(files)} instances, all of which it took")
    return sample


def _send(receiver: Receiver, row: MeasuredReceiving, groups: Groups) -> None:
    if row.protocol == "c-store":
        send_by_c_store(receiver.dicom, groups)
    else:
        assert receiver.stow is not None
        send_by_stow(receiver.stow, groups)
