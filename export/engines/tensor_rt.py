"""The version's model.plan on TensorRT, on the GPU it was built for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from swinunet.export.engines.contract import Loaded, Outputs
from swinunet.export.engines.tensorrt_plan import import_tensorrt
from swinunet.foundation.errors import InputError
from swinunet.serving import ServingError
from swinunet.serving.plan import PLAN_FILE, check_plan, this_host


def load(folder: Path, precision: str, threads: int) -> Loaded:
    """Raises InputError if this machine cannot load the plan, MissingExtraError without TensorRT and Polygraphy.

    `threads` says nothing to a GPU. The time of a run includes the copies to the GPU and back.
    """
    host = this_host()
    try:
        record = check_plan(folder, host)
    except ServingError as error:
        raise InputError(str(error)) from None
    if record.precision != precision:
        raise InputError(f"{folder / PLAN_FILE} is {record.precision}; export with --engine tensorrt-{precision}")
    tensorrt = import_tensorrt()
    from polygraphy.backend.common import BytesFromPath
    from polygraphy.backend.trt import EngineFromBytes, TrtRunner

    runner = TrtRunner(EngineFromBytes(BytesFromPath(str(folder / PLAN_FILE))))
    runner.activate()

    def run(image: np.ndarray) -> Outputs:
        found = runner.infer({"image": image}, check_inputs=False)
        return Outputs(found["labels"], found["probabilities"])

    return Loaded(run, lambda: f"TensorRT {tensorrt.__version__}, {record.precision}, {host.gpu}")
