"""DICOM or NIfTI in, Triton over gRPC, results out. No torch, no training code.

from client import TritonModel, load_input, segment_volume

with TritonModel("localhost:8001") as model:
    found = segment_volume(load_input(Path("study"), model.spec).study, model)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from client.job import JobResult, Loaded, load_input, output_folders, run_job
    from client.model import TritonModel
    from client.results.outputs import OutputOptions
    from client.rois import Roi, parse_roi
    from client.segmentation import Segmentation, segment_volume

_HOMES = {
    "client.job": ("JobResult", "Loaded", "load_input", "output_folders", "run_job"),
    "client.model": ("TritonModel",),
    "client.results.outputs": ("OutputOptions",),
    "client.rois": ("Roi", "parse_roi"),
    "client.segmentation": ("Segmentation", "segment_volume"),
}

__all__ = [
    "JobResult",
    "Loaded",
    "OutputOptions",
    "Roi",
    "Segmentation",
    "TritonModel",
    "load_input",
    "output_folders",
    "parse_roi",
    "run_job",
    "segment_volume",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: `swinunet inspect` need not load gRPC and Matplotlib."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'client' has no attribute {name!r}")
