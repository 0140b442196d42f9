"""The files beside model.onnx that engines run: FP16 always, int8 and the TensorRT plan where they are asked for."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np

from export.engines.onnx_runtime import GRAPHS
from export.gate.rows import Row
from export.precision import write_fp16
from export.version_files import GRAPH


def make_artefacts(folder: Path, wanted: Collection[Row], calibration: Callable[[], np.ndarray]) -> None:
    """Make what the rows of `wanted` run, from the model.onnx in `folder`.

    calibration: slices for int8, float16 [N, C, H, W]; asked for only where something is quantised.
    Raises InputError for a TensorRT plan on a machine without a GPU, or calibration slices that do not fit;
    ParityError if no int8 graph is close enough; MissingExtraError.
    """
    write_fp16(folder / GRAPH, folder / GRAPHS["fp16"])
    engines = {(row.loader, row.precision) for row in wanted}
    if ("onnxruntime", "int8") in engines:
        from export.quantisation import quantise_onnxruntime

        quantise_onnxruntime(folder, calibration())
    if ("openvino", "int8") in engines:
        from export.quantisation import quantise_openvino

        quantise_openvino(folder, calibration())
    if ("tensorrt", "fp16") in engines:
        from export.tensorrt_plan import build_plan

        build_plan(folder, "fp16", shlex.join(["swinunet", *sys.argv[1:]]))
