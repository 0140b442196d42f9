"""The checkpoint on PyTorch, on the GPU where there is one: eager, compiled by Inductor, or as TorchScript."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from swinunet.export.engines.loaded_engine import LoadedEngine, Outputs
from swinunet.foundation.errors import InputError
from swinunet.training.network.checkpoint import load_checkpoint
from swinunet.training.network.swin_unet import SwinUNet

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}

Forward = Callable[[Tensor], Tensor]  # image float32 [B, C, H, W] to logits [B, K, H, W]


def load_eager(checkpoint: Path, precision: str, threads: int) -> LoadedEngine:
    """The checkpoint as it was trained. bf16 and fp16: under autocast; fp16 on a GPU only (InputError)."""
    network, device = _network(checkpoint, precision, threads)
    return _loaded(network, "eager", device, precision)


def load_compiled(checkpoint: Path, precision: str, threads: int) -> LoadedEngine:
    """Through torch.compile: for each batch anew on a GPU, as CUDA graphs want it; once for all on a CPU.

    Raises InputError on a CPU without a C++ compiler.
    """
    network, device = _network(checkpoint, precision, threads)
    if device.type == "cuda":
        forward = torch.compile(network, dynamic=False, mode="reduce-overhead")
        return _loaded(forward, "compiled by Inductor with CUDA graphs", device, precision)
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        raise InputError(
            "torch.compile needs a C++ compiler, and none is installed (g++); torchscript-* needs none"
        ) from None
    forward = torch.compile(network, dynamic=True, options={"freezing": True})
    return _loaded(forward, "compiled by Inductor", device, precision)


def load_torchscript(checkpoint: Path, precision: str, threads: int) -> LoadedEngine:
    """Traced at a batch that is not run, frozen."""
    network, device = _network(checkpoint, precision, threads)
    config = network.config
    example = torch.zeros(2, config.in_channels, *config.input_size, device=device)
    # The cache would put the casts of weights outside of the trace.
    with warnings.catch_warnings(), torch.inference_mode(), _autocast(device, precision, cache=False):
        warnings.simplefilter("ignore")  # TorchScript is deprecated, which is not news to those who ask for it
        script = torch.jit.freeze(torch.jit.trace(network, example, check_trace=False))
    return _loaded(script, "TorchScript, frozen", device, precision)


def _network(checkpoint: Path, precision: str, threads: int) -> tuple[SwinUNet, torch.device]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if precision == "fp16" and device.type == "cpu":
        raise InputError("PyTorch in fp16 needs a GPU, and there is none here; bf16 and fp32 run on a CPU")
    torch.set_num_threads(threads)
    torch.backends.cudnn.allow_tf32 = False  # fp32 is fp32, in the convolution too
    network, _ = load_checkpoint(checkpoint)
    return network.to(device), device


def _autocast(device: torch.device, precision: str, *, cache: bool = True) -> torch.autocast:
    dtype = _AUTOCAST.get(precision)
    return torch.autocast(device.type, dtype, enabled=dtype is not None, cache_enabled=cache)


def _loaded(forward: Forward, how: str, device: torch.device, precision: str) -> LoadedEngine:
    def run(image: np.ndarray) -> Outputs:
        with torch.inference_mode(), _autocast(device, precision):
            logits = forward(torch.from_numpy(image).to(device).float()).float()
            labels = logits.argmax(dim=1).to(torch.uint8)
            probabilities = logits.softmax(dim=1).half()
        return Outputs(labels.cpu().numpy(), probabilities.cpu().numpy())

    def describe() -> str:
        where = f"{torch.backends.cpu.get_cpu_capability()} kernels, {torch.get_num_threads()} threads"
        if device.type == "cuda":
            where = torch.cuda.get_device_name(device)
        return f"torch {torch.__version__}, {how}, {where}"

    return LoadedEngine(run, describe)
