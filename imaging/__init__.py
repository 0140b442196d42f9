"""What a study is: Volume, ModelSpec, slices in, labels back out. NumPy only, shared by training and client.

What brings nibabel or SciPy with it (65 MiB) is imported when it is first asked for: an engine needs neither.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from swinunet.imaging.slices import PlaneSlices, plane_axes, plane_spacing_mm, plane_view
from swinunet.imaging.spec import SPEC_KEY, Code, Label, ModelSpec, Provenance, Window, ZScore
from swinunet.imaging.volume import Volume

if TYPE_CHECKING:
    from swinunet.imaging.nifti import read_nifti, read_nifti_labels, read_nifti_modalities, write_nifti
    from swinunet.imaging.phase_stack import PhaseStack
    from swinunet.imaging.study import read_labels, read_study
    from swinunet.imaging.study_slices import StudySlices

_LATER = {
    "PhaseStack": "phase_stack",
    "StudySlices": "study_slices",
    "read_labels": "study",
    "read_nifti": "nifti",
    "read_nifti_labels": "nifti",
    "read_nifti_modalities": "nifti",
    "read_study": "study",
    "write_nifti": "nifti",
}

__all__ = [
    "SPEC_KEY",
    "Code",
    "Label",
    "ModelSpec",
    "PhaseStack",
    "PlaneSlices",
    "Provenance",
    "StudySlices",
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


def __getattr__(name: str) -> Any:
    """A name of _LATER, from its module (PEP 562)."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__package__}.{_LATER[name]}"), name)


def __dir__() -> list[str]:
    """The public names, imported or not yet."""
    return __all__
