"""How much memory a data set takes in training, by its size and by the setting `memory_mib`."""

from __future__ import annotations

from dataclasses import dataclass

from swinunet.benchmarks.measure.processes import WorkerProcess
from swinunet.foundation.tables import Table

IMAGES = (4, 24)
LIMITS_MIB = (0, 4096)
_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class MemoryRow:
    """images: of the data set, whose volumes and slices take data_mib. peak_mib: RSS of the process (VmHWM)."""

    images: int
    memory_mib: int
    data_mib: float
    peak_mib: float


def measure_memory(counts: tuple[int, ...] = IMAGES) -> list[MemoryRow]:
    """Preprocess data sets of `counts` images and draw an epoch, with each limit; a process for each."""
    rows = []
    for memory_mib in LIMITS_MIB:
        for images in counts:
            with WorkerProcess("memory_worker") as worker:
                found = worker.ask("hold", _TIMEOUT_S, images=images, memory_mib=memory_mib)
            rows.append(MemoryRow(images, memory_mib, **found))
    return rows


def memory_table(rows: list[MemoryRow]) -> Table:
    """A row for each data set and limit."""
    cells = [(f"{row.images}", f"{row.memory_mib}", f"{row.data_mib:.0f}", f"{row.peak_mib:.0f}") for row in rows]
    return Table("Memory of the data set", ("images", "memory_mib", "data MiB", "peak MiB"), tuple(cells))
