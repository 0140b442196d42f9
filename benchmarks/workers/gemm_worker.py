"""The process that multiplies matrices: how fast this machine can, in each precision, with the best library at hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from swinunet.benchmarks.measure.processes import serve_orders

_SIZE = 1024  # square; operands of 4 MiB in float32, larger than a core's cache and far larger than a tile
_FLOP = 2.0 * _SIZE**3
Multiply = Callable[[], object]


class GemmWorker:
    """Holds the operands, once for each precision and library."""

    def load(self, *, threads: int) -> dict[str, Any]:
        """Make the operands and compile the graphs. Replies with the libraries of each precision."""
        self._multiply: dict[str, dict[str, Multiply]] = {"f32": {}, "bf16": {}, "int8": {}}
        _add_torch(self._multiply, threads)
        _add_openvino(self._multiply, threads)
        return {precision: list(libraries) for precision, libraries in self._multiply.items()}

    def measure(self, *, precision: str, seconds: float) -> dict[str, Any]:
        """GFLOP/s of the fastest run of each library within `seconds`, a multiply-add counting as two."""
        libraries = self._multiply[precision]
        return {name: _fastest(multiply, seconds / len(libraries)) for name, multiply in libraries.items()}


def _fastest(multiply: Multiply, seconds: float) -> float:
    multiply()
    shortest = float("inf")
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or shortest == float("inf"):
        began = time.perf_counter()
        multiply()
        shortest = min(shortest, time.perf_counter() - began)
    return _FLOP / shortest / 1e9


def _add_torch(found: dict[str, dict[str, Multiply]], threads: int) -> None:
    """PyTorch: MKL or oneDNN."""
    try:
        import torch
    except ModuleNotFoundError:
        return
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(_SIZE, _SIZE, generator=generator) for _ in range(2))
    a16, b16 = a.bfloat16(), b.bfloat16()
    a8, b8 = ((matrix * 30).clamp(-127, 127).to(torch.int8) for matrix in (a, b))
    found["f32"]["torch"] = lambda: a @ b
    found["bf16"]["torch"] = lambda: a16 @ b16
    found["int8"]["torch"] = lambda: torch._int_mm(a8, b8)


def _add_openvino(found: dict[str, dict[str, Multiply]], threads: int) -> None:
    """OpenVINO: oneDNN or MLAS, by its own choice; for int8 one operand is quantised first, as in a network."""
    import openvino
    from openvino import opset13 as ops

    core = openvino.Core()
    generator = np.random.default_rng(0)
    image = generator.normal(size=(_SIZE, _SIZE)).astype(np.float32)
    weight = ops.constant(generator.normal(size=(_SIZE, _SIZE)).astype(np.float32))
    low, high, bound = np.float32(-2.56), np.float32(2.54), np.float32(2.54)

    def compiled(precision: str) -> Multiply:
        x = ops.parameter([_SIZE, _SIZE], np.float32)
        a, b = x, weight
        if precision == "int8":
            a = ops.fake_quantize(x, low, high, low, high, 256)
            b = ops.fake_quantize(weight, -bound, bound, -bound, bound, 255)
        model = openvino.Model([ops.result(ops.matmul(a, b, False, True))], [x])
        hint = "bf16" if precision == "bf16" else "f32"
        hints = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
        request = core.compile_model(model, "CPU", hints).create_infer_request()
        return lambda: request.infer({0: image}, share_inputs=True, share_outputs=True)

    for precision, libraries in found.items():
        libraries["openvino"] = compiled(precision)


if __name__ == "__main__":
    worker = GemmWorker()
    serve_orders({"load": worker.load, "measure": worker.measure})
