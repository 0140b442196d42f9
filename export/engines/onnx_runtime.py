"""The version's ONNX graphs on ONNX Runtime: its own CPU kernels, or the CUDA and TensorRT providers on a GPU host."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from swinunet.export.engines.loaded_engine import LoadedEngine, Outputs, require_file
from swinunet.foundation.errors import InputError


def load_cpu(path: Path, precision: str, threads: int) -> LoadedEngine:
    """On the CPU, whose kernels are fp32 and int8: a graph in fp16 runs with casts around every node."""
    return _load(path, precision, threads, "CPUExecutionProvider")


def load_cuda(path: Path, precision: str, threads: int) -> LoadedEngine:
    """On a GPU. Raises InputError where onnxruntime has no CUDA provider, or it does not start."""
    return _load(path, precision, threads, "CUDAExecutionProvider")


def load_tensorrt(path: Path, precision: str, threads: int) -> LoadedEngine:
    """On a GPU, through TensorRT. Raises InputError where onnxruntime has no such provider, or it does not start."""
    return _load(path, precision, threads, "TensorrtExecutionProvider")


def _load(path: Path, precision: str, threads: int, provider: str) -> LoadedEngine:
    title = provider.removesuffix("ExecutionProvider")
    if provider not in (known := onnxruntime.get_available_providers()):
        raise InputError(
            f"onnxruntime {onnxruntime.__version__} has no {provider} (only {', '.join(known)}); on a GPU host "
            f"`make gpu` installs onnxruntime-gpu; the engine onnxruntime-{precision} runs on any CPU"
        )
    require_file(path, f"onnxruntime-{precision}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=[provider])
    if provider not in session.get_providers():  # it would compute on the CPU instead, without a word
        raise InputError(
            f"onnxruntime's {provider} did not start; does nvidia-smi see a GPU, and do CUDA's versions fit?"
        )

    def run(image: np.ndarray) -> Outputs:
        return Outputs(*session.run(["labels", "probabilities"], {"image": image}))

    description = f"onnxruntime {onnxruntime.__version__}, {title} provider, {path.name}, {threads} threads"
    return LoadedEngine(run, lambda: description)
