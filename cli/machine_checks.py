"""What this machine has and lacks: each check with what was found and the one command that mends it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from swinunet.foundation.errors import SwinUNetError

Status = Literal["ok", "limited", "missing"]

EXTRAS = {  # a module of each optional part that only that part brings
    "client": ("pydicom", "highdicom", "tritonclient", "matplotlib", "tenacity"),
    "server": ("openvino", "onnxruntime"),
    "training": ("torch", "safetensors", "tensorboard"),
    "export": ("onnx", "onnxscript", "nncf", "polygraphy"),
    "gateway": ("pynetdicom", "sqlalchemy", "starlette", "uvicorn"),
}
_DEBIAN = {"dciodvfy": "dicom3tools", "dcmsend": "dcmtk", "Orthanc": "orthanc", "chromium": "chromium"}
_MEMORY_GIB, _DISK_GIB, _SHARED_MIB = 4.0, 2.0, 256.0


@dataclass(frozen=True)
class Check:
    """One thing. needed_for: verbs that do not work without it. mend: the command that helps, empty if none does."""

    name: str
    status: Status
    found: str
    needed_for: tuple[str, ...] = ()
    mend: str = ""


def check_machine() -> list[Check]:
    """Every check, in the order in which a person mends them."""
    checks = [_python, _processor, _memory, _disk, _shared_memory, *map(_extra, EXTRAS), _triton, _models, _gpu]
    return [check() for check in checks] + list(_debian())


def verbs_that_work(checks: list[Check]) -> dict[str, bool]:
    """Each verb that some check is needed for, and whether nothing it needs is missing."""
    missing = {verb for each in checks if each.status == "missing" for verb in each.needed_for}
    return {verb: verb not in missing for each in checks for verb in each.needed_for}


def _python() -> Check:
    found = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    fits = sys.version_info >= (3, 11) and platform.system() == "Linux" and platform.machine() == "x86_64"
    return Check("python", "ok" if fits else "limited", found if fits else f"{found}; tried on Linux x86_64 only")


def _processor() -> Check:
    from swinunet.serving.processor import adds_int8_exactly, has_bf16, in_words, this_processor

    flags = this_processor()
    kinds = [name for name, there in (("bf16", has_bf16(flags)), ("int8", adds_int8_exactly(flags))) if there]
    served = f"fast in {' and '.join(kinds)}" if kinds else "f32 only: neither bf16 nor exact int8"
    return Check(
        "processor", "ok" if kinds else "limited", f"{len(os.sched_getaffinity(0))} cores, {in_words(flags)}; {served}"
    )


def _memory() -> Check:
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    available, total = (int(fields[name].split()[0]) / 2**20 for name in ("MemAvailable", "MemTotal"))
    enough = available >= _MEMORY_GIB
    found = f"{available:.1f} of {total:.1f} GiB free" + ("" if enough else f"; {_MEMORY_GIB:g} are comfortable")
    return Check("memory", "ok" if enough else "limited", found)


def _disk() -> Check:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free / 2**30
    enough = free >= _DISK_GIB
    found = f"{free:.1f} GiB free in {folder}" + ("" if enough else f"; {_DISK_GIB:g} are comfortable")
    return Check("disk", "ok" if enough else "limited", found, mend="" if enough else "export TMPDIR=/a/larger/folder")


def _shared_memory() -> Check:
    folder = Path("/dev/shm")
    free = shutil.disk_usage(folder).free / 2**20 if folder.is_dir() else 0.0
    enough = free >= _SHARED_MIB
    mend = "" if enough else "swinunet segment ... --shared-memory off (in Docker: --shm-size 1g)"
    return Check("shared memory", "ok" if enough else "limited", f"{free:.0f} MiB free in {folder}", mend=mend)


def _extra(name: str) -> Callable[[], Check]:
    needed_for = {
        "client": ("segment", "inspect", "convert"),
        "server": ("serve", "segment"),
        "training": ("train", "evaluate", "import"),
        "export": ("export", "benchmark"),
        "gateway": ("gateway",),
    }[name]

    def check() -> Check:
        lacks = [module for module in EXTRAS[name] if importlib.util.find_spec(module) is None]
        mend = f"pip install 'swinunet[{name}]'" if lacks else ""
        found = f"lacks {', '.join(lacks)}" if lacks else "installed"
        return Check(f"extra {name}", "missing" if lacks else "ok", found, needed_for, mend)

    return check


def _triton() -> Check:
    from swinunet.serving.locate import INSTALL_COMMAND, find_tritonserver

    needed_for = ("serve", "segment")
    try:
        found = find_tritonserver()
    except SwinUNetError:
        said = "no tritonserver; segment --url asks one elsewhere"
        return Check("triton", "missing", said, needed_for, INSTALL_COMMAND)
    return Check("triton", "ok", "of the wheel nvidia-pytriton" if found.root else str(found.executable), needed_for)


def _models() -> Check:
    from swinunet.foundation.paths import MODELS_VARIABLE, default_repository

    needed_for = ("serve", "segment")
    repository, mend = default_repository(), f"export {MODELS_VARIABLE}=/a/model/repository"
    try:
        from swinunet.imaging.repository_specs import specs_in_repository

        names = [f"{spec.name} {spec.version}" for spec in specs_in_repository(repository)]
    except ImportError:
        return Check(
            "models", "missing", "cannot be read without the client", needed_for, "pip install 'swinunet[client]'"
        )
    except SwinUNetError as error:
        return Check("models", "missing", str(error), needed_for, mend)
    if not names:
        return Check(
            "models", "missing", f"none in {repository}", needed_for, f"export {MODELS_VARIABLE}=/a/model/repository"
        )
    return Check("models", "ok", f"{', '.join(names)} in {repository}", needed_for)


def _gpu() -> Check:
    program = shutil.which("nvidia-smi")
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False) if program else None
    except (OSError, subprocess.TimeoutExpired):
        done = None
    if done is None or done.returncode:
        return Check("gpu", "limited", "no NVIDIA GPU that answers; the CPU engines need none")
    has_tensorrt = importlib.util.find_spec("tensorrt") is not None
    found = "; ".join(done.stdout.strip().splitlines()) + ("" if has_tensorrt else "; no TensorRT")
    return Check("gpu", "ok" if has_tensorrt else "limited", found, mend="" if has_tensorrt else "make gpu")


def _debian() -> Iterator[Check]:
    lacks = [package for program, package in _DEBIAN.items() if shutil.which(program) is None]
    found = f"lacks {', '.join(lacks)}; tests that need them skip" if lacks else "all that tests use"
    mend = f"apt-get install --no-install-recommends {' '.join(lacks)}" if lacks else ""
    yield Check("debian", "limited" if lacks else "ok", found, mend=mend)
