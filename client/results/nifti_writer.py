"""The mask as NIfTI, on the input's grid."""

from __future__ import annotations

from pathlib import Path

from swinunet.client.results.result import Result
from swinunet.imaging import write_nifti


def write(result: Result, path: Path) -> None:
    """Write the mask. Raises OutputError if it cannot be written."""
    write_nifti(result.found.volume.with_voxels(result.found.mask), path)
