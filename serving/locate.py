"""Where tritonserver is, and what it needs around it to start."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from swinunet.foundation.errors import ServingError
from swinunet.foundation.python_process import interpreter_folder

INSTALL_COMMAND = "pip install --no-deps nvidia-pytriton==0.7.0"


@dataclass(frozen=True)
class Installation:
    """A tritonserver. `root` is the wheel's folder with its backends and stubs; None for a server on PATH."""

    executable: Path
    root: Path | None


def find_tritonserver() -> Installation:
    """The pytriton wheel's server, or else `tritonserver` on PATH, as in NVIDIA's container.

    Raises ServingError, with the command that installs it, if there is neither.
    """
    package = importlib.util.find_spec("pytriton")  # found, not imported: the package itself wants NumPy 1
    for place in (package.submodule_search_locations or []) if package else []:
        root = Path(place) / "tritonserver"
        if (root / "bin" / "tritonserver").is_file():
            return Installation(root / "bin" / "tritonserver", root)
    found = shutil.which("tritonserver")
    if found:
        return Installation(Path(found).resolve(), None)
    raise ServingError(f"tritonserver is not installed (no wheel, not on PATH); {INSTALL_COMMAND}")


def prepare_backends(installation: Installation, folder: Path) -> list[str]:
    """Lay out the wheel's Python backend in `folder` as tritonserver looks for it; returns the options to add.

    The wheel keeps one stub for each Python beside the backends; the server wants the right one inside the backend.
    A server on PATH finds its own backends. Raises ServingError if the wheel has no stub for this Python.
    """
    if installation.root is None:
        return []
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = installation.root / "python_backend_stubs" / python / "triton_python_backend_stub"
    if not stub.is_file():
        known = ", ".join(sorted(entry.name for entry in stub.parent.parent.iterdir()))
        raise ServingError(
            f"the tritonserver wheel has no Python {python} stub, only {known}; use one of these Pythons"
        )
    backend = folder / "backends" / "python"
    backend.mkdir(parents=True)
    for entry in (installation.root / "backends" / "python").iterdir():
        (backend / entry.name).symlink_to(entry)
    (backend / stub.name).symlink_to(stub)
    # GPU metrics need DCGM, which the wheel does not carry.
    return [f"--backend-directory={backend.parent}", "--allow-gpu-metrics=false"]


def environment(installation: Installation) -> dict[str, str]:
    """The server's environment. The wheel's stub must meet this very Python and this virtual environment."""
    variables = dict(os.environ)
    if installation.root is not None:
        # The stub takes its packages from the first `python` on PATH and its libpython from the library path.
        variables["PATH"] = os.pathsep.join([str(interpreter_folder()), variables.get("PATH", os.defpath)])
        libraries = [str(Path(sys.base_prefix) / "lib"), variables.get("LD_LIBRARY_PATH", "")]
        variables["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, libraries))
        variables.pop("PYTHONHOME", None)
    return variables
