"""Can this machine load that TensorRT plan? Read from the file beside it, since Triton's own message does not say why.

model.plan        an engine, for one version of TensorRT and one compute capability
model.plan.json   what it was built with and from; written by `swinunet export --engine tensorrt-fp16`
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import json
import subprocess
from dataclasses import dataclass, fields
from pathlib import Path

from swinunet.foundation.errors import ServingError
from swinunet.foundation.files import sha256_of_file

PLAN_FILE = "model.plan"
SIDECAR_FILE = "model.plan.json"

REBUILD = "build it anew on the GPU that serves it (make engine, or swinunet export with --engine tensorrt-fp16)"
INSTEAD = "the CPU engines work without a GPU (swinunet serve --config cpu)"
_SAME = 3  # parts of TensorRT's version that must agree; Python's `tensorrt.__version__` may lack the fourth


@dataclass(frozen=True)
class PlanRecord:
    """What a plan was built with and from.

    tensorrt: the library's version. compute_capability: of the GPU, such as "9.0". onnx: file name of the graph, in the
    same folder. precision: fp16 or int8. profile: [C, H, W] with each of the batches min, opt and max in front.
    """

    tensorrt: str
    gpu: str
    compute_capability: str
    onnx: str
    onnx_sha256: str
    plan_sha256: str
    precision: str
    profile: dict[str, list[int]]
    command: str


@dataclass(frozen=True)
class Host:
    """What this machine would load a plan with. None where there is none."""

    tensorrt: str | None
    gpu: str | None
    compute_capability: str | None


def read_record(folder: Path) -> PlanRecord:
    """The sidecar of the plan in a version folder. Raises ServingError if either is missing, or it cannot be read."""
    plan, sidecar = folder / PLAN_FILE, folder / SIDECAR_FILE
    if not plan.is_file():
        raise ServingError(f"{plan} is missing; {REBUILD}, or {INSTEAD}")
    if not sidecar.is_file():
        raise ServingError(f"{plan} has no {SIDECAR_FILE}, so nobody knows what can load it; {REBUILD}")
    try:
        said = json.loads(sidecar.read_text())
        return PlanRecord(**{field.name: said[field.name] for field in fields(PlanRecord)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ServingError(f"{sidecar} cannot be read ({type(error).__name__}: {error}); {REBUILD}") from None


def check_plan(folder: Path, host: Host) -> PlanRecord:
    """Check that `host` can load the plan in a version folder, and that it was built from the graph beside it.

    Raises ServingError, saying what to rebuild.
    """
    record = read_record(folder)
    plan, graph = folder / PLAN_FILE, folder / record.onnx
    if not graph.is_file() or sha256_of_file(graph) != record.onnx_sha256:
        raise ServingError(f"{plan} was built from another {record.onnx} than the one beside it; {REBUILD}")
    if sha256_of_file(plan) != record.plan_sha256:
        raise ServingError(f"{plan} is not the plan that {SIDECAR_FILE} describes; {REBUILD}")
    if host.compute_capability is None:
        raise ServingError(f"{plan} needs an NVIDIA GPU, and nvidia-smi finds none here; {INSTEAD}")
    if host.tensorrt is None:
        raise ServingError(f"{plan} needs TensorRT {record.tensorrt}, and no libnvinfer is found here; {INSTEAD}")
    if host.tensorrt.split(".")[:_SAME] != record.tensorrt.split(".")[:_SAME]:
        raise ServingError(f"{plan} was built with TensorRT {record.tensorrt}, here is {host.tensorrt}; {REBUILD}")
    if host.compute_capability != record.compute_capability:
        raise ServingError(
            f"{plan} was built on {record.gpu} (compute capability {record.compute_capability}), here is {host.gpu} "
            f"({host.compute_capability}); {REBUILD}"
        )
    return record


def check_plans(repository: Path, config_name: str | None) -> None:
    """Check the plan of each model whose chosen config names one, in the version that Triton would load: the latest."""
    for model in sorted(entry for entry in repository.iterdir() if entry.is_dir()):
        config = model / "configs" / f"{config_name}.pbtxt" if config_name else model / "config.pbtxt"
        versions = [entry for entry in model.iterdir() if entry.name.isdigit()]
        if versions and config.is_file() and f'"{PLAN_FILE}"' in config.read_text(errors="replace"):
            check_plan(max(versions, key=lambda entry: int(entry.name)), this_host())


def this_host() -> Host:
    """The first GPU that nvidia-smi lists, and the TensorRT that the dynamic loader finds."""
    gpu, capability = None, None
    query = ["nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader"]
    with contextlib.suppress(OSError, subprocess.SubprocessError, ValueError):
        said = subprocess.run(query, capture_output=True, text=True, check=True, timeout=30).stdout.splitlines()
        gpu, capability = (part.strip() for part in said[0].rsplit(",", 1)) if said else (None, None)
    return Host(_tensorrt_version(ctypes.util.find_library("nvinfer")), gpu, capability)


def _tensorrt_version(library: str | None) -> str | None:
    """MAJOR.MINOR.PATCH.BUILD of a TensorRT library, asked of the library itself."""
    if library is None:
        return None
    try:
        loaded = ctypes.CDLL(library)
        return ".".join(str(loaded[f"getInferLib{part}Version"]()) for part in ("Major", "Minor", "Patch", "Build"))
    except (OSError, AttributeError):
        return None
