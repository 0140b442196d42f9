"""DICOM or NIfTI in, Triton over gRPC, results out. No torch, no training code.

from client import TritonModel, load_input, segment_volume

with TritonModel("localhost:8001") as model:
    found = segment_volume(load_input(Path("study"), model.spec).volume, model)
"""

from client.job import JobResult, Loaded, load_input, output_folders, run_job
from client.model import TritonModel
from client.rois import Roi, parse_roi
from client.segmentation import Segmentation, segment_volume

__all__ = [
    "JobResult",
    "Loaded",
    "Roi",
    "Segmentation",
    "TritonModel",
    "load_input",
    "output_folders",
    "parse_roi",
    "run_job",
    "segment_volume",
]
