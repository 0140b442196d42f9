"""A TensorRT plan for the GPU of this machine, and the sidecar by which `serving` knows what can load it.

`write_plan` takes the `tensorrt` module that it works with, because TensorRT for RTX has the same interface and builds
without a GPU.
"""

from __future__ import annotations

import dataclasses
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from swinunet.export.engines.loaded_engine import MAX_BATCH_SIZE, require_file
from swinunet.export.engines.registry import engine_named
from swinunet.export.engines.tensorrt_builder import build_engine
from swinunet.export.file_names import TIMING_CACHE_FILE
from swinunet.foundation.errors import InputError, MissingExtraError
from swinunet.foundation.files import sha256_of_file, write_whole
from swinunet.serving.plan import INSTEAD, PLAN_FILE, SIDECAR_FILE, Host, PlanRecord, this_host


def import_tensorrt() -> Any:
    """The `tensorrt` module. Raises MissingExtraError where it is not installed."""
    try:
        import tensorrt
    except ImportError:
        raise MissingExtraError(
            "tensorrt is not installed; on a GPU host `make gpu` installs it, or `make engine` builds the plan in "
            f"NVIDIA's container; {INSTEAD}"
        ) from None
    return tensorrt


def build_plan(folder: Path, precision: str, command: str, *, max_batch_size: int = MAX_BATCH_SIZE) -> PlanRecord:
    """Build model.plan and its sidecar in a version folder, for the GPU and the TensorRT of this machine.

    precision: fp16 (from model_fp16.onnx) or int8 (from the Q/DQ of model_int8.onnx). command: what the user typed, for
    the sidecar. max_batch_size: of the config that will serve it. The old plan stays until the new one is whole.
    Raises InputError without a GPU, EngineError for a graph that TensorRT does not take, MissingExtraError without it.
    """
    host = this_host()
    if host.gpu is None:
        raise InputError(
            f"a TensorRT plan is built on the GPU that serves it, and nvidia-smi finds none here; {INSTEAD}"
        )
    return write_plan(import_tensorrt(), host, folder, precision, command, max_batch_size)


def write_plan(
    trt: Any, host: Host, folder: Path, precision: str, command: str, max_batch_size: int = MAX_BATCH_SIZE
) -> PlanRecord:
    """What `build_plan` does, with the TensorRT and for the host that it is given."""
    source = engine_named(f"onnxruntime-{precision}")  # its graph holds the precision
    graph = require_file(folder / source.artefact, source.name)
    cache = folder / TIMING_CACHE_FILE
    built = build_engine(
        trt,
        graph,
        max_batch_size,
        configure=lambda config: _use_timing_cache(config, cache),
        built=lambda config: write_whole(cache, bytes(config.get_timing_cache().serialize())),
    )
    write_whole(folder / PLAN_FILE, built.plan)
    record = PlanRecord(
        tensorrt=trt.__version__,
        gpu=host.gpu or "",
        compute_capability=host.compute_capability or "",
        onnx=graph.name,
        onnx_sha256=sha256_of_file(graph),
        plan_sha256=sha256_of_file(folder / PLAN_FILE),
        precision=precision,
        profile=built.profile,
        command=command,
    )
    # After the plan: a sidecar that a killed run left behind describes another plan, and is refused for it.
    write_whole(folder / SIDECAR_FILE, (json.dumps(dataclasses.asdict(record), indent=1) + "\n").encode())
    return record


def _use_timing_cache(config: Any, path: Path) -> None:
    """The cache of an earlier build, or an empty one if there is none for this GPU and this TensorRT."""
    content = b""
    with suppress(OSError):
        content = path.read_bytes()
    if not config.set_timing_cache(config.create_timing_cache(content), ignore_mismatch=False):
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
