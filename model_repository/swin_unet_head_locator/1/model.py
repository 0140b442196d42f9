"""The served model on a CPU: a graph beside this file, run by OpenVINO or ONNX Runtime in Triton's Python backend.

`swinunet export` copies this file as `model.py` into every version directory, so it stands alone: NumPy and the engine.
The model's config.pbtxt chooses in its `parameters`: `engine` and `precision` (a key of GRAPHS), `threads` (0 is every
core) and `streams`, the parts of a batch that are computed at once, all with one copy of the weights.

    image          float16 [B, C, H, W]   normalised, finite
    labels         uint8   [B, H, W]
    probabilities  float16 [B, K, H, W]   computed for every slice, sent to those who ask
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

# Before either engine is imported: neither may report its use to its maker (swinunet/foundation/telemetry.py).
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

_USED = b"used_dltensor"  # a capsule keeps the pointer, so it must outlive them all
_set_capsule_name = ctypes.pythonapi.PyCapsule_SetName
_set_capsule_name.argtypes = [ctypes.py_object, ctypes.c_char_p]
_madvise = ctypes.CDLL(None).madvise
_madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

# The graph that each engine runs in each precision. auto: bf16 on a CPU that has it, else f32.
GRAPHS = {
    "openvino": {"f32": "model.onnx", "bf16": "model.onnx", "auto": "model.onnx", "int8": "openvino_int8.xml"},
    "onnxruntime": {
        "f32": "model.onnx",
        "auto": "model.onnx",
        "fp16": "model_fp16.onnx",
        "int8": "model_int8.onnx",
    },
}

# Pixels of the slices that are computed at once: two of 224 x 224. More gain no speed on a CPU and cost memory: under
# eight callers the server took 772 MiB without this limit, and takes 430 with it (the paper's network, f32).
_PIXELS_AT_ONCE = 2 * 224 * 224

Outputs = dict[str, np.ndarray]
Engine = Callable[[Sequence[np.ndarray]], list[Outputs]]  # as many images at once as it has streams, at most

# Triton 24.10's stub was built against NumPy 1. Under NumPy 2 its as_numpy() reads wrong values and Tensor(name, array)
# sends empty ones, both in silence; DLPack is right. Under NumPy 1 it is the other way round: its from_dlpack loops.
_DLPACK = int(np.__version__.split(".")[0]) >= 2


class TritonPythonModel:
    """What Triton's Python backend looks for in a model.py."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the graph and run it once; an exception here is the reason in Triton's log."""
        started = time.perf_counter()
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
        self._shape = tuple(int(size) for size in config["input"][0]["dims"])  # C, H, W
        name, precision, threads = (parameters[key] for key in ("engine", "precision", "threads"))
        self._streams = int(parameters.get("streams", "1"))
        path = _graph(Path(args["model_repository"], args["model_version"]), name, precision)
        try:
            self._run, description = _LOADERS[name](path, precision, int(threads), self._streams)
        except Exception as error:  # each engine raises what it likes on a damaged graph
            reason = " ".join(str(error).split())[-200:]
            raise pb_utils.TritonModelException(f"{path} cannot be loaded by {name} ({reason})") from None
        self._at_once = max(1, _PIXELS_AT_ONCE // (self._shape[1] * self._shape[2]))
        for batch in {1, min(self._at_once, config["max_batch_size"])}:
            image = np.zeros((batch, *self._shape), np.float16)
            self._run([image] * self._streams)  # a first run allocates; no caller should wait
        _let_go_of_weights()
        model = f"{args['model_name']} {args['model_version']}"
        pb_utils.Logger.log_info(f"{model}: {description}, {time.perf_counter() - started:.1f} s to load")

    def execute(self, requests: list[Any]) -> list[Any]:
        """Run all requests as one batch, part by part, and give each its share; a bad request fails alone."""
        images = [self._image(request) for request in requests]
        good = [image for image in images if isinstance(image, np.ndarray)]
        outputs: Outputs = {}
        if good:
            wanted = {name for request in requests for name in request.requested_output_names()}
            outputs = self._infer(good[0] if len(good) == 1 else np.concatenate(good), wanted)
        responses, start = [], 0
        for request, image in zip(requests, images, strict=True):
            if not isinstance(image, np.ndarray):
                responses.append(pb_utils.InferenceResponse(error=image))
                continue
            stop = start + len(image)
            asked = [name for name in outputs if name in request.requested_output_names()]
            tensors = [_to_tensor(name, outputs[name][start:stop]) for name in asked]
            responses.append(pb_utils.InferenceResponse(tensors))
            start = stop
        return responses

    def _infer(self, images: np.ndarray, wanted: set[str]) -> Outputs:
        """The outputs that are `wanted`, of all slices, no more than `_at_once` in each stream at a time."""
        size = min(self._at_once, -(-len(images) // self._streams))  # so that no stream is idle
        parts = [images[start : start + size] for start in range(0, len(images), size)]
        if len(parts) == 1:
            return self._run(parts)[0]
        found: dict[str, list[np.ndarray]] = {name: [] for name in wanted}
        for start in range(0, len(parts), self._streams):
            for outputs in self._run(parts[start : start + self._streams]):
                for name, arrays in found.items():
                    arrays.append(outputs[name].copy())  # the next run writes over it
        return {name: np.concatenate(arrays) for name, arrays in found.items()}

    def _image(self, request: Any) -> Any:
        """The request's image, or a TritonError: raising would fail the requests of other callers in the batch."""
        tensor = pb_utils.get_input_tensor_by_name(request, "image")
        if tensor is None:
            return pb_utils.TritonError("input 'image' is missing")
        image = np.from_dlpack(tensor) if _DLPACK else tensor.as_numpy()
        if image.dtype != np.float16 or image.shape[1:] != self._shape:
            found = f"{image.dtype} {list(image.shape)}"
            return pb_utils.TritonError(f"image is {found}, expected float16 [B, {str(list(self._shape))[1:]}")
        if not np.isfinite(image).all():
            return pb_utils.TritonError("image has NaN or infinite values; normalise it before sending")
        return image


def _graph(folder: Path, engine: str, precision: str) -> Path:
    if engine not in GRAPHS:
        raise pb_utils.TritonModelException(f"engine is {engine!r}; this model.py knows {', '.join(GRAPHS)}")
    if precision not in GRAPHS[engine]:
        known = ", ".join(GRAPHS[engine])
        raise pb_utils.TritonModelException(f"precision is {precision!r}; {engine} here knows {known}")
    path = folder / GRAPHS[engine][precision]
    if not path.is_file():
        raise pb_utils.TritonModelException(f"{path} is missing; export the model again")
    return path


def _to_tensor(name: str, array: np.ndarray) -> Any:
    if not _DLPACK:
        return pb_utils.Tensor(name, array)
    exporter = _Exporter(array)
    tensor = pb_utils.Tensor.from_dlpack(name, exporter)
    exporter.close()
    return tensor


class _Exporter:
    """An array as DLPack. Triton marks a capsule as used by a name that NumPy does not know, and NumPy then prints a
    traceback for every output; `close` gives it the name of the DLPack standard."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self._capsule: Any = None

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()

    def __dlpack__(self, **_: Any) -> Any:
        self._capsule = self._array.__dlpack__()
        return self._capsule

    def close(self) -> None:
        if self._capsule is not None:
            _set_capsule_name(self._capsule, _USED)


def _openvino(path: Path, precision: str, threads: int, streams: int) -> tuple[Engine, str]:
    import openvino

    core = openvino.Core()
    # Always set: left alone, OpenVINO takes bf16 on a CPU that has it, and f32 would depend on the machine.
    hint = _float_precision(precision, core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
    if streams > 1:
        config["NUM_STREAMS"] = streams
    if threads:
        config["INFERENCE_NUM_THREADS"] = threads
    compiled = core.compile_model(_read_mapped(core, path), "CPU", config)
    _let_go_of_weights()  # packed by now, but for those that the first run packs
    requests = [compiled.create_infer_request() for _ in range(streams)]
    names = {port: port.get_any_name() for port in compiled.outputs}

    def run(images: Sequence[np.ndarray]) -> list[Outputs]:
        # Shared arrays live until the next run; Triton has copied the responses into its shared memory by then.
        if len(images) == 1:
            results = requests[0].infer({"image": images[0]}, share_inputs=True, share_outputs=True)
            return [{name: results[port] for port, name in names.items()}]
        busy = requests[: len(images)]
        for request, image in zip(busy, images, strict=True):
            request.start_async({"image": image}, share_inputs=True)
        for request in busy:
            request.wait()
        return [{name: request.get_tensor(port).data for port, name in names.items()} for request in busy]

    used = compiled.get_property("INFERENCE_NUM_THREADS")
    said = f"int8 and {hint}" if precision == "int8" else hint
    return run, f"openvino {openvino.__version__.split('-')[0]}, precision {said}, {_sharing(used, streams)}"


def _float_precision(precision: str, capabilities: list[str]) -> str:
    """What is computed in, by what the CPU can: `auto`, and all that int8 leaves, in bf16 where it exists."""
    fastest = "bf16" if "BF16" in capabilities else "f32"
    return fastest if precision in ("auto", "int8") else precision


def _read_mapped(core: Any, path: Path) -> Any:
    """The graph, its weights in a mapped file: from ONNX, OpenVINO keeps them in its heap for good.

    They take a detour through a temporary file, which goes when the mapping does. Without room for it, all is right
    but for the memory.
    """
    import openvino

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


def _onnxruntime(path: Path, precision: str, threads: int, streams: int) -> tuple[Engine, str]:
    import onnxruntime

    if precision == "auto":
        precision = "f32"
    options = onnxruntime.SessionOptions()
    # A run computes with its caller's thread and with those of the session, which all runs share.
    options.intra_op_num_threads = threads if streams == 1 else max(1, (threads or _cores()) // streams)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    callers = ThreadPoolExecutor(streams)

    def run_one(image: np.ndarray) -> Outputs:
        return dict(zip(names, session.run(names, {"image": image}), strict=True))

    def run(images: Sequence[np.ndarray]) -> list[Outputs]:
        return [run_one(images[0])] if len(images) == 1 else list(callers.map(run_one, images))

    said = _sharing(threads or "all", streams)
    return run, f"onnxruntime {onnxruntime.__version__}, precision {precision}, {said}"


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _sharing(threads: int | str, streams: int) -> str:
    return f"{threads} threads" + (f" in {streams} streams" if streams > 1 else "")


_LOADERS = {"openvino": _openvino, "onnxruntime": _onnxruntime}
