"""A working folder in which files are called as modules are; each writes a line when it is executed."""

from __future__ import annotations

from pathlib import Path

_NAMES = (
    "json", "random", "types", "pickle", "subprocess", "ctypes", "numpy", "pydicom", "highdicom", "torch", "openvino",
    "onnxruntime", "tritonclient", "swinunet", "client", "triton_python_backend_utils",
)  # fmt: skip


def poison(folder: Path) -> Path:
    """Fill `folder`; returns the file that exists if any of it is executed, and says which."""
    folder.mkdir(parents=True, exist_ok=True)
    ran = folder.parent / f"{folder.name}.ran"
    for name in _NAMES:
        (folder / f"{name}.py").write_text(f"open({str(ran)!r}, 'a').write({name!r} + '\\n')\n")
    return ran
