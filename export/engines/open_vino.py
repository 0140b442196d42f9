"""The version's graph on OpenVINO's CPU plugin, with the settings of the served model.py."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from export.engines.contract import Loaded, Outputs, expect_file
from swinunet.errors import InputError

GRAPHS = {"f32": "model.onnx", "bf16": "model.onnx", "int8": "openvino_int8.xml"}


def load(folder: Path, precision: str, threads: int) -> Loaded:
    """f32 and bf16: how model.onnx is computed; int8: the graph that `export.quantisation` made.

    Raises InputError for bf16 on a CPU without it.
    """
    core = openvino.Core()
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise InputError("this CPU has no bf16 instructions (AVX512-BF16, AMX-BF16); openvino-f32 runs on it")
    path = expect_file(folder / GRAPHS[precision], f"export this version again with --engine openvino-{precision}")
    # Always set: left alone, OpenVINO takes bf16 on a CPU that has it, and the f32 row would be a bf16 row.
    hint = "bf16" if precision == "bf16" else "f32"
    hints = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    compiled = core.compile_model(path, "CPU", hints)
    request = compiled.create_infer_request()
    labels, probabilities = compiled.output("labels"), compiled.output("probabilities")

    def run(image: np.ndarray) -> Outputs:
        found = request.infer({"image": image}, share_inputs=True, share_outputs=True)
        return Outputs(found[labels], found[probabilities])

    def describe() -> str:
        used = compiled.get_property("INFERENCE_NUM_THREADS")
        release = openvino.__version__.split("-")[0]
        return f"openvino {release}, {_matrix_kernels(compiled)}, {used} threads"

    return Loaded(run, describe)


def _matrix_kernels(compiled: Any) -> str:
    """The kernels that OpenVINO chose for the matrix products, most used first: they name the instruction set."""
    found: Counter[str] = Counter()
    for node in compiled.get_runtime_model().get_ordered_ops():
        said = node.get_rt_info()
        if "layerType" in said and said["layerType"].astype(str) in ("FullyConnected", "MatMul"):
            found[said["primitiveType"].astype(str)] += 1
    kernels = " and ".join(f"{count} {name}" for name, count in found.most_common())
    return f"matrix products: {kernels or 'not told'}"
