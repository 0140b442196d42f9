"""The Triton configs of a model version, generated from its spec. All keep the wire contract and carry the spec itself
in `parameters`, from where a client reads it.

default_config    config.pbtxt: ONNX Runtime, with TensorRT inside it on a GPU, on the CPU where there is none
tensorrt_config   configs/tensorrt.pbtxt: a plan that was built on the GPU that serves it (`make engine`)
openvino_config   configs/openvino.pbtxt: Triton's OpenVINO backend
cpu_config        configs/cpu.pbtxt: model.py in the Python backend, which is all that the bundled Triton has
"""

from __future__ import annotations

from swinunet.export.engines.loaded_engine import MAX_BATCH_SIZE
from swinunet.export.engines.tensorrt_profile import onnxruntime_profile
from swinunet.export.file_names import FP16_GRAPH_FILE, GRAPH_FILE, MODEL_PY_FILE, PLAN_FILE
from swinunet.export.repository.config_text import dims, head, parameter, powers_of_two, quoted, tensors, warm_up
from swinunet.imaging import SPEC_KEY, ModelSpec

_GPU_QUEUE_DELAY_US = 500
# Of the folders that are there and can be written in NVIDIA's image, the one that is meant to outlive a restart.
_CACHES = "/var/tmp"


def default_config(spec: ModelSpec, max_batch_size: int = MAX_BATCH_SIZE) -> str:
    """The text of `config.pbtxt`: `model_fp16.onnx` on ONNX Runtime, on any NVIDIA GPU and without one.

    KIND_AUTO becomes KIND_GPU where Triton finds a GPU, else KIND_CPU, where accelerators of GPUs are passed over.
    On a GPU TensorRT builds its engine during the warm-up, before Triton says `ready`, for every batch up to
    `max_batch_size`, and keeps it in a folder of this version's own: ONNX Runtime makes one level of folders only, and
    fails where two models make the same. What TensorRT cannot take is left to CUDA. No precision is asked for: without
    one the network is strongly typed, so it computes in the graph's own FP16, which is all that TensorRT 11 knows.
    """
    _require_batch(max_batch_size)
    return f"""{head(spec, max_batch_size)}
platform: "onnxruntime_onnx"
backend: "onnxruntime"
default_model_filename: "{FP16_GRAPH_FILE}"

{tensors(spec)}
instance_group [ {{ kind: KIND_AUTO, count: 1 }} ]
{_gpu_batching(max_batch_size)}
optimization {{
  execution_accelerators {{
    gpu_execution_accelerator [
      {{
        name: "tensorrt"
{_tensorrt_options(spec, max_batch_size)}
      }}
    ]
  }}
}}
{warm_up(spec, sorted({1, max_batch_size}))}

{parameter(SPEC_KEY, spec.to_json())}
"""


def tensorrt_config(spec: ModelSpec, max_batch_size: int = MAX_BATCH_SIZE) -> str:
    """The text of `configs/tensorrt.pbtxt`: `model.plan` on TensorRT, one CUDA graph for each preferred batch size.

    The plan must have been built with an optimisation profile for batches 1 to `max_batch_size`.
    """
    _require_batch(max_batch_size)
    image = dims(spec.in_channels, *spec.input_size)
    graphs = "\n".join(
        f'    graph_spec {{ batch_size: {batch}, input {{ key: "image", value {{ dim: {image} }} }} }}'
        for batch in powers_of_two(max_batch_size)
    )
    return f"""{head(spec, max_batch_size)}
platform: "tensorrt_plan"
backend: "tensorrt"
default_model_filename: "{PLAN_FILE}"

{tensors(spec)}
instance_group [ {{ kind: KIND_GPU, count: 1 }} ]
{_gpu_batching(max_batch_size)}
optimization {{
  cuda {{
    graphs: true
{graphs}
  }}
}}

{parameter(SPEC_KEY, spec.to_json())}
"""


def openvino_config(spec: ModelSpec) -> str:
    """The text of `configs/openvino.pbtxt`: `model.onnx` on Triton's OpenVINO backend, whose batch stands in `dims`.

    With Triton's batches that backend fixes the batch at `max_batch_size` and pads each request to it. It has no
    option for float32: on a processor with bf16 it computes in bf16, which the gate judges as openvino-bf16.
    """
    options = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}
    return f"""{head(spec, 0)}
backend: "openvino"
default_model_filename: "{GRAPH_FILE}"

{tensors(spec, batch_in_dims=True)}
instance_group [ {{ kind: KIND_CPU, count: 1 }} ]

{parameter(SPEC_KEY, spec.to_json())}
{chr(10).join(parameter(key, value) for key, value in options.items())}
"""


def cpu_config(
    spec: ModelSpec,
    engine: str = "openvino",
    *,
    precision: str = "f32",
    threads: int = 0,
    streams: int = 1,
    instances: int = 1,
    max_batch_size: int = MAX_BATCH_SIZE,
    max_queue_delay_us: int = 0,
) -> str:
    """The text of `configs/cpu.pbtxt`: `model.py` (`python_backend_model.py` here) in the Python backend.

    engine, precision, threads, streams: read by model.py, whose GRAPHS says which go together; 0 threads is every core.
    streams: parts of a batch that are computed at once, all with one copy of the weights. instances: processes, each
        with its own copy.
    max_queue_delay_us: how long the first request waits for company. None by default: what has come meanwhile is
        computed together, but a larger batch takes a CPU as long a slice, so nobody gains by waiting. There is no queue
        policy: with one instance it makes requests wait half a second.
    """
    _require_batch(max_batch_size)
    choices = {"engine": engine, "precision": precision, "threads": str(threads), "streams": str(streams)}
    return f"""{head(spec, max_batch_size)}
backend: "python"
default_model_filename: "{MODEL_PY_FILE}"

{tensors(spec)}
instance_group [ {{ kind: KIND_CPU, count: {instances} }} ]
dynamic_batching {{ max_queue_delay_microseconds: {max_queue_delay_us} }}

{parameter(SPEC_KEY, spec.to_json())}
{chr(10).join(parameter(key, value) for key, value in choices.items())}
"""


def _require_batch(max_batch_size: int) -> None:
    if max_batch_size < 1:
        raise ValueError(f"max_batch_size is {max_batch_size}, expected at least 1")


def _gpu_batching(max_batch_size: int) -> str:
    preferred = dims(*powers_of_two(max_batch_size))
    return f"""dynamic_batching {{
  preferred_batch_size: {preferred}
  max_queue_delay_microseconds: {_GPU_QUEUE_DELAY_US}
}}"""


def _tensorrt_options(spec: ModelSpec, max_batch_size: int) -> str:
    """One profile for all batches, so that none of them builds another engine; engine and timings kept on the disk."""
    cache = f"{_CACHES}/tensorrt-{spec.name}-{spec.version}"
    options = onnxruntime_profile((spec.in_channels, *spec.input_size), max_batch_size)
    options |= {
        "trt_engine_cache_enable": "true",
        "trt_engine_cache_path": cache,
        "trt_timing_cache_enable": "true",
        "trt_timing_cache_path": cache,
        "trt_force_sequential_engine_build": "true",  # on a host with several GPUs they would build on each other
    }
    return "\n".join(
        f"        parameters {{ key: {quoted(key)}, value: {quoted(value)} }}" for key, value in options.items()
    )
