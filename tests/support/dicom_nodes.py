"""Real DICOM nodes for tests, which skip where they are not installed."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from swinunet.samples import dicom_nodes
from swinunet.samples.dicom_nodes import Orthanc, why_no_orthanc

T = TypeVar("T")


def require_dcmtk() -> None:
    """Skip the test where dcmtk's programs are not installed."""
    if not shutil.which("storescu") or not shutil.which("dcmsend"):
        pytest.skip("needs dcmtk (make debian)")


def wait_until(condition: Callable[[], T], what: str, seconds: float = 120) -> T:
    """The first true value of `condition`; fails the test after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)
    return found


@contextmanager
def running_orthanc(folder: Path, **options: Any) -> Iterator[Orthanc]:
    """An Orthanc, or a skipped test."""
    if reason := why_no_orthanc():
        pytest.skip(reason)
    with dicom_nodes.running_orthanc(folder, **options) as running:
        yield running


def dcmtk(program: str, *arguments: object, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
    """Run a program of dcmtk to its end."""
    require_dcmtk()
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, timeout=timeout_s, check=False
    )
