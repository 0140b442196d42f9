"""The files beside model.onnx that engines run: FP16 always, int8 and the TensorRT plan where they are asked for."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np

from swinunet.export.engines.onnx_runtime import GRAPHS
from swinunet.export.gate.rows import Row
from swinunet.export.graph.fp16 import write_fp16
from swinunet.export.repository.version_files import GRAPH
from swinunet.foundation.progress import Say, say_nothing


def make_artefacts(
    folder: Path, wanted: Collection[Row], calibration: Callable[[], np.ndarray], say: Say = say_nothing
) -> None:
    """Make what the rows of `wanted` run, from the model.onnx in `folder`.

    calibration: slices for int8, float16 [N, C, H, W]; asked for once, and only where something is quantised.
    Raises InputError for a TensorRT plan on a machine without a GPU, or calibration slices that do not fit;
    ParityError if no int8 graph is close enough; MissingExtraError.
    """
    write_fp16(folder / GRAPH, folder / GRAPHS["fp16"])
    engines = {(row.loader, row.precision) for row in wanted}
    quantised = [loader for loader in ("onnxruntime", "openvino") if (loader, "int8") in engines]
    if quantised:
        from swinunet.export.graph.quantisation import quantise_onnxruntime, quantise_openvino

        quantise = {"onnxruntime": quantise_onnxruntime, "openvino": quantise_openvino}
        say("int8: reading calibration cases")
        slices = calibration()
        for loader in quantised:
            quantise[loader](folder, slices, say=say)
    if ("tensorrt", "fp16") in engines:
        from swinunet.export.engines.tensorrt_plan import build_plan

        say("tensorrt-fp16: building the plan")
        build_plan(folder, "fp16", shlex.join(["swinunet", *sys.argv[1:]]))
