"""The version's ONNX graphs on ONNX Runtime: its own CPU kernels, or the CUDA and TensorRT providers on a GPU host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime

from swinunet.export.engines.loaded_engine import LoadedEngine, Outputs, require_file
from swinunet.export.engines.tensorrt_profile import onnxruntime_profile
from swinunet.foundation.errors import InputError


def load_cpu(path: Path, precision: str, threads: int) -> LoadedEngine:
    """On the CPU, whose kernels are fp32 and int8: a graph in fp16 runs with casts around every node."""
    return _load(path, precision, threads, "CPUExecutionProvider")


def load_cuda(path: Path, precision: str, threads: int) -> LoadedEngine:
    """On a GPU. Raises InputError where onnxruntime has no CUDA provider, or it does not start."""
    return _load(path, precision, threads, "CUDAExecutionProvider")


def load_tensorrt(path: Path, precision: str, threads: int) -> LoadedEngine:
    """On a GPU, through TensorRT, with the profile of config.pbtxt: one engine for batches 1 to 16, built here.

    Raises InputError where onnxruntime has no such provider, or it does not start.
    """
    return _load(path, precision, threads, "TensorrtExecutionProvider", _profile)


def _no_options(path: Path) -> dict[str, str]:
    return {}


def _profile(path: Path) -> dict[str, str]:
    """The profile's options for the input of a graph."""
    import onnx

    (image,) = onnx.load(str(path), load_external_data=False).graph.input
    return onnxruntime_profile([int(size.dim_value) for size in list(image.type.tensor_type.shape.dim)[1:]])


def _load(
    path: Path, precision: str, threads: int, provider: str, options_for: Callable[[Path], dict[str, str]] = _no_options
) -> LoadedEngine:
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
    session = onnxruntime.InferenceSession(path, options, providers=[(provider, options_for(path))])
    if provider not in session.get_providers():  # it would compute on the CPU instead, without a word
        raise InputError(
            f"onnxruntime's {provider} did not start; does nvidia-smi see a GPU, and do CUDA's versions fit?"
        )

    def run(image: np.ndarray) -> Outputs:
        return Outputs(*session.run(["labels", "probabilities"], {"image": image}))

    description = f"onnxruntime {onnxruntime.__version__}, {title} provider, {path.name}, {threads} threads"
    return LoadedEngine(run, lambda: description)
