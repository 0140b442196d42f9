"""How this software starts a Python process of its own: never with the working folder on its module path.

A study's folder may hold a `pydicom.py`, a researcher's a `random.py`; Python would import them in place of the real
ones. All Python processes are started here, and a test asserts it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_PACKAGE_PARENT = str(Path(__file__).absolute().parents[2])  # the checkout, or site-packages


def start_module(
    module: str, *arguments: str, environment: Mapping[str, str] | None = None, **options: Any
) -> subprocess.Popen[Any]:
    """`python -m MODULE ARGUMENTS` with this process's import path but for the working folder.

    environment: variables in addition to this process's. options: of `subprocess.Popen`.
    """
    return subprocess.Popen(
        _module_command(module, arguments), env={**python_environment(), **(environment or {})}, **options
    )


def run_module(module: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[Any]:
    """The same, run to its end. options: of `subprocess.run`; raises what that raises."""
    return subprocess.run(_module_command(module, arguments), env=python_environment(), **options)


def start_script(
    script: Path, *arguments: str, environment: Mapping[str, str] | None = None, **options: Any
) -> subprocess.Popen[Any]:
    """`python SCRIPT ARGUMENTS` for a script that needs the standard library only: isolated, without site-packages.

    environment: the whole of it; None is this process's. options: of `subprocess.Popen`.
    """
    return subprocess.Popen([sys.executable, "-I", "-S", str(script), *arguments], env=environment, **options)


def python_environment() -> dict[str, str]:
    """This process's environment, its import path in it, for a Python that must not import from the working folder."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(import_path()), "PYTHONSAFEPATH": "1"}


def import_path() -> list[str]:
    """This process's `sys.path`, absolute, without the working folder, from which only this package may come."""
    entries = [str(Path(entry).absolute()) for entry in sys.path]
    working_folder = os.path.realpath(os.curdir)
    kept = [entry for entry in entries if os.path.realpath(entry) != working_folder]
    if os.path.realpath(_PACKAGE_PARENT) == working_folder and len(kept) < len(entries):
        kept.append(_PACKAGE_PARENT)  # last, so that nothing else that lies in a checkout hides a library
    return kept


def _module_command(module: str, arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-P", "-m", module, *arguments]


def interpreter_folder() -> Path:
    """The folder of the Python that runs this."""
    return Path(sys.executable).parent
