"""The process that reads one folder once: so that its peak memory is the reading's.

`plain` is what a script does: pydicom, one file after the other, in one thread. `client` is `swinunet.client.dicom`.
"""

from __future__ import annotations

import resource
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from swinunet.benchmarks.measure.machine import peak_mib
from swinunet.benchmarks.measure.processes import serve_orders
from swinunet.client.dicom import read_volume, scan_folder

Stages = tuple[np.ndarray, int, float, float]  # voxels int16 [K, rows, columns]; files; seconds to inspect, to read


def measure(*, folder: str, way: str) -> dict[str, Any]:
    """Inspect a folder and read the first of its series by UID."""
    imported_mib = peak_mib()
    read: Callable[[Path], Stages] = {"plain": read_plainly, "client": read_as_client}[way]
    cpu_s = _cpu_seconds()
    voxels, files, inspect_s, read_s = read(Path(folder))
    cpu_s = _cpu_seconds() - cpu_s
    used_mib = peak_mib() - imported_mib
    return {
        "files": files,
        "slices": len(voxels),
        "inspect_s": inspect_s,
        "read_s": read_s,
        "cpu_s": cpu_s,
        "peak_mib": used_mib,
        "volume_mib": voxels.nbytes / 2**20,
        "helper_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        "checksum": zlib.crc32(np.ascontiguousarray(voxels).data),
    }


def read_plainly(folder: Path) -> Stages:
    """Headers first, then the pixels of one series, stacked by position."""
    began = time.perf_counter()
    series: dict[str, list[tuple[float, Path]]] = {}
    for path in folder.iterdir():
        header = pydicom.dcmread(path, stop_before_pixels=True)
        series.setdefault(header.SeriesInstanceUID, []).append((header.ImagePositionPatient[2], path))
    inspected = time.perf_counter()
    slices = []
    for _, path in sorted(series[min(series)]):
        dataset = pydicom.dcmread(path)
        slices.append(dataset.pixel_array.astype(np.int16) + np.int16(dataset.RescaleIntercept))
    voxels = np.stack(slices)
    return voxels, sum(map(len, series.values())), inspected - began, time.perf_counter() - inspected


def read_as_client(folder: Path) -> Stages:
    """As `swinunet segment` reads."""
    began = time.perf_counter()
    scan = scan_folder(folder)
    inspected = time.perf_counter()
    dicom = read_volume(min(scan.series, key=lambda one: one.uid))
    read = time.perf_counter()
    files = sum(len(one.files) for one in scan.series)
    return dicom.volume.voxels.transpose(2, 1, 0), files, inspected - began, read - inspected


def _cpu_seconds() -> float:
    """Of this process and of those that it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    serve_orders({"measure": measure})
