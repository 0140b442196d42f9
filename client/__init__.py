"""DICOM or NIfTI in, Triton over gRPC, results out. No torch, no training code.

from swinunet.client import TritonModel, load_input, segment_volume

with TritonModel("localhost:8001") as model:
    found = segment_volume(load_input(Path("study"), model.spec).study, model)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swinunet.client.job import JobResult, Loaded, folders_called, load_input, output_folders, run_job
    from swinunet.client.results.outputs import OutputOptions
    from swinunet.client.rois import Roi, parse_roi
    from swinunet.client.segmentation import Segmentation, segment_volume, segment_volume_async
    from swinunet.client.study_list import Study, studies_at, studies_below
    from swinunet.client.study_queue import Outcome, segment_studies
    from swinunet.client.triton import (
        JobControl,
        ServerOptions,
        Timeouts,
        Tls,
        TritonModel,
        parse_headers,
        parse_timeouts,
    )

_HOMES = {
    "swinunet.client.job": ("JobResult", "Loaded", "folders_called", "load_input", "output_folders", "run_job"),
    "swinunet.client.results.outputs": ("OutputOptions",),
    "swinunet.client.rois": ("Roi", "parse_roi"),
    "swinunet.client.segmentation": ("Segmentation", "segment_volume", "segment_volume_async"),
    "swinunet.client.study_list": ("Study", "studies_at", "studies_below"),
    "swinunet.client.study_queue": ("Outcome", "segment_studies"),
    "swinunet.client.triton": (
        "JobControl",
        "ServerOptions",
        "Timeouts",
        "Tls",
        "TritonModel",
        "parse_headers",
        "parse_timeouts",
    ),
}

__all__ = [
    "JobControl",
    "JobResult",
    "Loaded",
    "Outcome",
    "OutputOptions",
    "Roi",
    "Segmentation",
    "ServerOptions",
    "Study",
    "Timeouts",
    "Tls",
    "TritonModel",
    "folders_called",
    "load_input",
    "output_folders",
    "parse_headers",
    "parse_roi",
    "parse_timeouts",
    "run_job",
    "segment_studies",
    "segment_volume",
    "segment_volume_async",
    "studies_at",
    "studies_below",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: `swinunet inspect` need not load gRPC and Matplotlib."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
