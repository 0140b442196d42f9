"""A TensorRT plan for the GPU of this machine, and the sidecar by which `serving` knows what can load it.

TensorRT 11 has strongly typed networks only: the precision is the graph's own. Every function takes the `tensorrt`
module that it works with, because TensorRT for RTX has the same interface and builds without a GPU.
"""

from __future__ import annotations

import dataclasses
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from swinunet.export.engines.loaded_engine import MAX_BATCH_SIZE, require_file
from swinunet.export.engines.registry import engine_named
from swinunet.export.file_names import TIMING_CACHE_FILE
from swinunet.foundation.errors import InputError, MissingExtraError
from swinunet.foundation.files import sha256_of_file, write_whole
from swinunet.serving.plan import INSTEAD, PLAN_FILE, SIDECAR_FILE, Host, PlanRecord, this_host

_OPTIMAL_BATCH = 8


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
    Raises InputError without a GPU, or for a graph that TensorRT does not take; MissingExtraError without TensorRT.
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
    plan, profile = _build(trt, graph, max_batch_size, folder / TIMING_CACHE_FILE)
    write_whole(folder / PLAN_FILE, plan)
    record = PlanRecord(
        tensorrt=trt.__version__,
        gpu=host.gpu or "",
        compute_capability=host.compute_capability or "",
        onnx=graph.name,
        onnx_sha256=sha256_of_file(graph),
        plan_sha256=sha256_of_file(folder / PLAN_FILE),
        precision=precision,
        profile=profile,
        command=command,
    )
    # After the plan: a sidecar that a killed run left behind describes another plan, and is refused for it.
    write_whole(folder / SIDECAR_FILE, (json.dumps(dataclasses.asdict(record), indent=1) + "\n").encode())
    return record


def _build(trt: Any, graph: Path, max_batch_size: int, timing_cache: Path) -> tuple[bytes, dict[str, list[int]]]:
    """The serialised engine, and its profile."""
    logger = _quiet_logger(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(graph)):
        errors = (parser.get_error(index) for index in range(parser.num_errors))
        reasons = "; ".join(f"{error.node_operator()}: {error.desc()}" for error in errors)
        raise InputError(f"{graph}: TensorRT {trt.__version__} does not take this graph ({reasons}); export it again")
    image = network.get_input(0)
    sizes = [int(size) for size in image.shape][1:]
    batches = {"min": 1, "opt": min(_OPTIMAL_BATCH, max_batch_size), "max": max_batch_size}
    profile = {name: [batch, *sizes] for name, batch in batches.items()}
    shapes = builder.create_optimization_profile()
    shapes.set_shape(image.name, *profile.values())
    config = builder.create_builder_config()
    config.add_optimization_profile(shapes)
    _use_timing_cache(config, timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise InputError(
            f"{graph}: TensorRT {trt.__version__} builds no plan from it ({logger.last_error or 'no reason'})"
        )
    write_whole(timing_cache, bytes(config.get_timing_cache().serialize()))
    return bytes(plan), profile


def _use_timing_cache(config: Any, path: Path) -> None:
    """The cache of an earlier build, or an empty one if there is none for this GPU and this TensorRT."""
    content = b""
    with suppress(OSError):
        content = path.read_bytes()
    if not config.set_timing_cache(config.create_timing_cache(content), ignore_mismatch=False):
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)


def _quiet_logger(trt: Any) -> Any:
    """A logger that keeps the last error for the one line that the user gets, and prints nothing."""

    class QuietLogger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.last_error = ""

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.last_error = " ".join(message.split())

    return QuietLogger()
