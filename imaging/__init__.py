"""What a study is: Volume, ModelSpec, slices in, labels back out. NumPy only, shared by training and client."""

from imaging.nifti import read_nifti, read_nifti_labels, read_nifti_modalities, write_nifti
from imaging.slices import SliceSampler, plane_axes, plane_spacing_mm, plane_view
from imaging.spec import SPEC_KEY, Code, Label, ModelSpec, Provenance, Window, ZScore
from imaging.study import read_labels, read_study
from imaging.study_sampler import StudySampler
from imaging.volume import Volume

__all__ = [
    "SPEC_KEY",
    "Code",
    "Label",
    "ModelSpec",
    "Provenance",
    "SliceSampler",
    "StudySampler",
    "Volume",
    "Window",
    "ZScore",
    "plane_axes",
    "plane_spacing_mm",
    "plane_view",
    "read_labels",
    "read_nifti",
    "read_nifti_labels",
    "read_nifti_modalities",
    "read_study",
    "write_nifti",
]
