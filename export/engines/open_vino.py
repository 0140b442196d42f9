"""The version's graph on OpenVINO's CPU plugin, with the settings of the served model.py."""

from __future__ import annotations

import ctypes
import mmap
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from swinunet.export.engines.loaded_engine import LoadedEngine, Outputs, require_file
from swinunet.foundation.errors import InputError

_madvise = ctypes.CDLL(None).madvise
_madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def load(path: Path, precision: str, threads: int) -> LoadedEngine:
    """f32 and bf16: how model.onnx is computed; int8: the graph that `export/graph/quantisation.py` made, the rest
    of it in bf16 on a CPU that has it, else in f32.

    Raises InputError for bf16 on a CPU without it.
    """
    core = openvino.Core()
    # Always set: left alone, OpenVINO takes bf16 on a CPU that has it, and openvino-f32 would compute in bf16.
    hint = float_precision(precision, core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    require_file(path, f"openvino-{precision}")
    hints = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    compiled = core.compile_model(_read_mapped(core, path), "CPU", hints)
    _let_go_of_weights()  # packed by now, but for those that the first run packs
    request = compiled.create_infer_request()
    labels, probabilities = compiled.output("labels"), compiled.output("probabilities")

    def run(image: np.ndarray) -> Outputs:
        found = request.infer({"image": image}, share_inputs=True, share_outputs=True)
        return Outputs(found[labels], found[probabilities])

    size = [axis.get_length() for axis in list(compiled.input("image").partial_shape)[1:]]
    run(np.zeros((1, *size), np.float16))
    _let_go_of_weights()

    def describe() -> str:
        used = compiled.get_property("INFERENCE_NUM_THREADS")
        release = openvino.__version__.split("-")[0]
        rest = f"all but int8 in {hint}, " if precision == "int8" else ""
        return f"openvino {release}, {rest}{_matrix_kernels(compiled)}, {used} threads"

    return LoadedEngine(run, describe)


def float_precision(precision: str, capabilities: Sequence[str]) -> str:
    """What is not int8 is computed in, by what the CPU can: bf16 where it exists and f32 is not asked for.

    Raises InputError for bf16 on a CPU without it.
    """
    has_bf16 = "BF16" in capabilities
    if precision == "bf16" and not has_bf16:
        raise InputError("this CPU has no bf16 instructions (AVX512-BF16, AMX-BF16); openvino-f32 runs on it")
    return "bf16" if has_bf16 and precision != "f32" else "f32"


def _read_mapped(core: Any, path: Path) -> Any:
    """The graph, its weights in a mapped file: from ONNX, OpenVINO keeps them in its heap for good.

    They take a detour through a temporary file, which goes when the mapping does. Without room for it, all is right
    but for the memory.
    """
    graph = core.read_model(path)
    if path.suffix == ".onnx":
        with suppress(OSError, RuntimeError), tempfile.TemporaryDirectory(prefix="swinunet_weights_") as folder:
            own = Path(folder, "model.xml")
            openvino.save_model(graph, own, compress_to_fp16=False)
            graph = core.read_model(own)
    return graph


def _let_go_of_weights() -> None:
    """Drop the pages of mapped weights: the kernels compute with copies. One touched again is read from the file."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.removesuffix(" (deleted)").endswith(".bin") and " r--" in line:
            start, end = (int(address, 16) for address in line.split()[0].split("-"))
            _madvise(start, end - start, mmap.MADV_DONTNEED)


def _matrix_kernels(compiled: Any) -> str:
    """The kernels that OpenVINO chose for the matrix products, most used first: they name the instruction set."""
    found: Counter[str] = Counter()
    for node in compiled.get_runtime_model().get_ordered_ops():
        info = node.get_rt_info()
        if "layerType" in info and info["layerType"].astype(str) in ("FullyConnected", "MatMul"):
            found[info["primitiveType"].astype(str)] += 1
    kernels = " and ".join(f"{count} {name}" for name, count in found.most_common())
    return f"matrix products: {kernels or 'not told'}"
