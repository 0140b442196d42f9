"""The files beside model.onnx that engines run: FP16 always, int8 and the TensorRT plan for those who ask."""

from __future__ import annotations

import functools
import pkgutil
import shlex
import sys
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np

from swinunet.export.engines.registry import Engine
from swinunet.export.file_names import FP16_GRAPH_FILE, GRAPH_FILE
from swinunet.export.graph.fp16 import write_fp16
from swinunet.foundation.progress import Say, say_nothing

Calibration = Callable[[], np.ndarray]  # slices for int8, float16 [N, C, H, W]


def make_artefacts(folder: Path, wanted: Collection[Engine], calibration: Calibration, say: Say = say_nothing) -> None:
    """Make what the engines of `wanted` run, from the model.onnx in `folder`.

    calibration: called once, and only where something is quantised.
    Raises InputError for a TensorRT plan on a machine without a GPU, or calibration slices that do not fit;
    ParityError if no int8 graph is close enough; MissingExtraError.
    """
    write_fp16(folder / GRAPH_FILE, folder / FP16_GRAPH_FILE)

    @functools.cache
    def read_once() -> np.ndarray:
        say("int8: reading calibration cases")
        return calibration()

    for engine in sorted(wanted, key=lambda engine: engine.name):
        if engine.make:
            make = pkgutil.resolve_name(f"swinunet.export.engines.{engine.make}")
            make(folder, read_once, say)


def make_onnxruntime_int8(folder: Path, calibration: Calibration, say: Say) -> None:
    """model_int8.onnx."""
    from swinunet.export.graph.quantisation import quantise_onnxruntime

    quantise_onnxruntime(folder, calibration(), say=say)


def make_openvino_int8(folder: Path, calibration: Calibration, say: Say) -> None:
    """openvino_int8.xml and .bin."""
    from swinunet.export.graph.quantisation import quantise_openvino

    quantise_openvino(folder, calibration(), say=say)


def make_tensorrt_plan(folder: Path, calibration: Calibration, say: Say) -> None:
    """model.plan and its sidecar, in FP16, which needs no calibration."""
    from swinunet.export.engines.tensorrt_plan import build_plan

    say("tensorrt-fp16: building the plan")
    build_plan(folder, "fp16", shlex.join(["swinunet", *sys.argv[1:]]))
