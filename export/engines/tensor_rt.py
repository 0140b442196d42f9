"""The version's model.plan on TensorRT, on the GPU it was built for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from swinunet.export.engines.loaded_engine import LoadedEngine, Outputs
from swinunet.export.engines.tensorrt_plan import import_tensorrt
from swinunet.foundation.errors import InputError
from swinunet.serving import ServingError
from swinunet.serving.plan import check_plan, this_host


def load(plan: Path, precision: str, threads: int) -> LoadedEngine:
    """Raises InputError if this machine cannot load the plan, MissingExtraError without TensorRT and Polygraphy.

    `threads` says nothing to a GPU. The time of a run includes the copies to the GPU and back.
    """
    host = this_host()
    try:
        record = check_plan(plan.parent, host)
    except ServingError as error:
        raise InputError(str(error)) from None
    if record.precision != precision:
        raise InputError(f"{plan} is {record.precision}; export with --engine tensorrt-{precision}")
    tensorrt = import_tensorrt()
    from polygraphy.backend.common import BytesFromPath
    from polygraphy.backend.trt import EngineFromBytes, TrtRunner

    runner = TrtRunner(EngineFromBytes(BytesFromPath(str(plan))))
    runner.activate()

    def run(image: np.ndarray) -> Outputs:
        outputs = runner.infer({"image": image}, check_inputs=False)
        return Outputs(outputs["labels"], outputs["probabilities"])

    return LoadedEngine(run, lambda: f"TensorRT {tensorrt.__version__}, {record.precision}, {host.gpu}")
