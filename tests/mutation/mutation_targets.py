"""What is mutated, and which tests are to notice: fast ones, without a Triton and without a training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_COMMON = (
    "numpy", "scipy.ndimage", "scipy.stats", "scipy.sparse.csgraph", "nibabel", "cc3d", "pydantic", "onnx", "PIL.Image",
    "SimpleITK", "typer", "rich",
)  # fmt: skip
_DICOM = (
    *_COMMON, "pydicom", "highdicom", "matplotlib.figure", "matplotlib.backends.backend_agg", "tritonclient.grpc",
    "tenacity", "dicomanonymizer",
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """mutated: files (patterns) or folders. tests: files or folders. libraries: imported once, before all mutants."""

    name: str
    mutated: tuple[str, ...]
    tests: tuple[str, ...]
    libraries: tuple[str, ...] = _COMMON

    def files(self) -> list[str]:
        """Python files to mutate, relative to the repository."""
        return [str(path) for path in _python_files(self.mutated) if path.stat().st_size > 200]

    def test_files(self) -> list[Path]:
        """Python files of the tests."""
        return _python_files(self.tests)


def _python_files(names: tuple[str, ...]) -> list[Path]:
    found = [path for name in names for path in sorted(Path().glob(name if name.endswith(".py") else f"{name}/*.py"))]
    return list(dict.fromkeys(found))


_FROZEN = "tests/project/test_values_are_frozen.py"
TARGETS = (
    Target("imaging", ("imaging",), ("tests/imaging", _FROZEN)),
    Target(
        "geometry",
        ("client/dicom/geometry.py",),
        ("tests/client/dicom/test_geometry_rules.py", "tests/client/dicom/test_dicom_refusals.py"),
        _DICOM,
    ),
    Target(
        "overlay",
        ("client/results/overlay*.py",),
        ("tests/client/results/test_overlay_layout.py", "tests/client/results/test_results.py", _FROZEN),
        _DICOM,
    ),
    Target(
        "results",
        ("client/segments.py", "client/results/[!o]*.py", "client/results/o[!v]*.py"),
        ("tests/client/results", _FROZEN),
        _DICOM,
    ),
    Target(
        "metrics",
        ("training/metrics",),
        ("tests/training/test_metrics.py", "tests/training/test_metric_rules.py", _FROZEN),
        (*_COMMON, "surface_distance"),
    ),
    Target(
        "gate",
        ("export/gate",),
        ("tests/export/test_gate_tensors.py", "tests/export/test_limits.py", "tests/export/test_gate.py", _FROZEN),
        (*_COMMON, "torch", "onnxruntime"),
    ),
)
