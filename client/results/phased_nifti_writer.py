"""The masks of a series in time as one NIfTI file, the phase as the fourth axis."""

from __future__ import annotations

from pathlib import Path

from swinunet.client.dicom.phases import step_ms
from swinunet.client.results.result import Result
from swinunet.imaging.nifti import write_nifti_phases


def write(result: Result, path: Path) -> None:
    """Write the masks. Raises OutputError if they cannot be written."""
    found = result.phased
    assert found
    write_nifti_phases(found.stack, found.volume, step_ms(found.phases), path)
