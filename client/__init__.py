"""DICOM or NIfTI in, Triton over gRPC, results out. No torch, no training code.

from swinunet.client import TritonModel, load_input, segment_volume

with TritonModel("localhost:8001") as model:
    found = segment_volume(load_input(Path("study"), model.spec).study, model)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swinunet.client.inputs import LoadedInput, load_input
    from swinunet.client.job import JobResult, folders_called, output_folders, run_job
    from swinunet.client.results.options import OutputOptions
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

_MODULE_OF = {
    "JobControl": "triton",
    "JobResult": "job",
    "LoadedInput": "inputs",
    "Outcome": "study_queue",
    "OutputOptions": "results.options",
    "Roi": "rois",
    "Segmentation": "segmentation",
    "ServerOptions": "triton",
    "Study": "study_list",
    "Timeouts": "triton",
    "Tls": "triton",
    "TritonModel": "triton",
    "folders_called": "job",
    "load_input": "inputs",
    "output_folders": "job",
    "parse_headers": "triton",
    "parse_roi": "rois",
    "parse_timeouts": "triton",
    "run_job": "job",
    "segment_studies": "study_queue",
    "segment_volume": "segmentation",
    "segment_volume_async": "segmentation",
    "studies_at": "study_list",
    "studies_below": "study_list",
}

__all__ = [
    "JobControl",
    "JobResult",
    "LoadedInput",
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
    """Import a public name when it is first used: `swinunet inspect` need not load gRPC and Matplotlib (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__package__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    """The public names, imported or not yet."""
    return __all__
