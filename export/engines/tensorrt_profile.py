"""The one optimisation profile of every TensorRT engine: all batches that are served, so that none builds another."""

from __future__ import annotations

from collections.abc import Sequence

from swinunet.export.engines.loaded_engine import MAX_BATCH_SIZE

_OPTIMAL_BATCH = 8  # that TensorRT chooses its kernels for


def profile_batches(max_batch_size: int = MAX_BATCH_SIZE) -> dict[str, int]:
    """The batches of the profile, by TensorRT's words: min, opt, max."""
    return {"min": 1, "opt": min(_OPTIMAL_BATCH, max_batch_size), "max": max_batch_size}


def onnxruntime_profile(image: Sequence[int], max_batch_size: int = MAX_BATCH_SIZE) -> dict[str, str]:
    """The profile as options of ONNX Runtime's TensorRT provider. image: C, H, W of the input."""
    shape = "x".join(map(str, image))
    return {
        f"trt_profile_{name}_shapes": f"image:{batch}x{shape}"
        for name, batch in profile_batches(max_batch_size).items()
    }
