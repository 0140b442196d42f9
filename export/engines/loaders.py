"""How each engine loads a model version and runs it.

All do the same work, that of the wire contract: `image` float16 in, `labels` uint8 and `probabilities` float16 out.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from swinunet.errors import InputError, MissingExtraError


class Outputs(NamedTuple):
    """labels: uint8 [B, H, W]; probabilities: float16 [B, K, H, W]."""

    labels: np.ndarray
    probabilities: np.ndarray


Run = Callable[[np.ndarray], Outputs]


@dataclass(frozen=True)
class Loaded:
    """An engine ready to run.

    run: image float16 [B, C, H, W] to Outputs, which are good until the next run.
    describe: what it is and how it computes, asked after the first run. import_s: its library's import, s.
    """

    run: Run
    describe: Callable[[], str]
    import_s: float


@dataclass(frozen=True)
class Loader:
    """load: (version folder, precision, threads) to an engine. extra: the part of this software that it comes with."""

    load: Callable[[Path, str, int], Loaded]
    extra: str


def load_engine(loader: str, folder: Path, precision: str, threads: int) -> Loaded:
    """Load an engine of LOADERS. Raises MissingExtraError if it is not installed, InputError if it cannot run here."""
    chosen = LOADERS[loader]
    try:
        return chosen.load(folder, precision, threads)
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{error.name} is not installed; pip install 'swinunet[{chosen.extra}]'") from None


def _pytorch(folder: Path, precision: str, threads: int) -> Loaded:
    """The checkpoint beside the ONNX file, run eagerly."""
    began = time.perf_counter()
    import torch

    from training.checkpoint import load_checkpoint

    import_s = time.perf_counter() - began
    _expect(precision, "fp32")
    torch.set_num_threads(threads)
    network, _ = load_checkpoint(folder / "checkpoint.safetensors")

    def run(image: np.ndarray) -> Outputs:
        with torch.inference_mode():
            logits = network(torch.from_numpy(image).float())
            labels = logits.argmax(dim=1).to(torch.uint8)
            probabilities = logits.softmax(dim=1).half()
        return Outputs(labels.numpy(), probabilities.numpy())

    def describe() -> str:
        kernels = torch.backends.cpu.get_cpu_capability()
        return f"torch {torch.__version__}, {kernels} kernels, {torch.get_num_threads()} threads"

    return Loaded(run, describe, import_s)


def _onnxruntime(folder: Path, precision: str, threads: int) -> Loaded:
    """model.onnx on ONNX Runtime's own CPU kernels."""
    began = time.perf_counter()
    import onnxruntime

    import_s = time.perf_counter() - began
    _expect(precision, "fp32")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])

    def run(image: np.ndarray) -> Outputs:
        return Outputs(*session.run(["labels", "probabilities"], {"image": image}))

    return Loaded(run, lambda: f"onnxruntime {onnxruntime.__version__}, CPU provider, {threads} threads", import_s)


def _openvino(folder: Path, precision: str, threads: int) -> Loaded:
    """model.onnx on OpenVINO's CPU plugin, with the settings of the served model.py."""
    began = time.perf_counter()
    import openvino

    import_s = time.perf_counter() - began
    _expect(precision, "f32", "bf16")
    core = openvino.Core()
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise InputError("this CPU has no bf16 instructions (AVX512-BF16, AMX-BF16)")
    # Always set: left alone, OpenVINO takes bf16 on a CPU that has it, and the f32 row would be a bf16 row.
    hints = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    compiled = core.compile_model(folder / "model.onnx", "CPU", hints)
    request = compiled.create_infer_request()
    labels, probabilities = compiled.output("labels"), compiled.output("probabilities")

    def run(image: np.ndarray) -> Outputs:
        found = request.infer({"image": image}, share_inputs=True, share_outputs=True)
        return Outputs(found[labels], found[probabilities])

    def describe() -> str:
        used = compiled.get_property("INFERENCE_NUM_THREADS")
        release = openvino.__version__.split("-")[0]
        return f"openvino {release}, {_matrix_kernels(compiled)}, {used} threads"

    return Loaded(run, describe, import_s)


def _matrix_kernels(compiled: Any) -> str:
    """The kernels that OpenVINO chose for the matrix products, most used first: they name the instruction set."""
    found: Counter[str] = Counter()
    for node in compiled.get_runtime_model().get_ordered_ops():
        said = node.get_rt_info()
        if "layerType" in said and said["layerType"].astype(str) in ("FullyConnected", "MatMul"):
            found[said["primitiveType"].astype(str)] += 1
    kernels = " and ".join(f"{count} {name}" for name, count in found.most_common())
    return f"matrix products: {kernels or 'not told'}"


def _expect(precision: str, *known: str) -> None:
    if precision not in known:
        raise InputError(f"precision is {precision!r}; this engine knows {', '.join(known)}")


LOADERS: dict[str, Loader] = {
    "pytorch": Loader(_pytorch, "training"),
    "onnxruntime": Loader(_onnxruntime, "server"),
    "openvino": Loader(_openvino, "server"),
}
