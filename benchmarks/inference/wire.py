"""How many bytes a slice takes on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tritonclient.grpc as grpcclient
from tritonclient.grpc import service_pb2

from swinunet.benchmarks.inference.model_version import ModelVersion
from swinunet.serving.canary import connect

_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class WireBytes:
    """Sizes of the gRPC messages of one slice, as Protocol Buffers write them, bytes.

    request: with the image. labels, probabilities: the answer with labels alone, and with probabilities as well.
    shared_request, shared_answer: with labels alone, when the tensors are in shared memory and stay there.
    """

    request: int
    labels: int
    probabilities: int
    shared_request: int
    shared_answer: int


def wire_bytes(url: str, version: ModelVersion, slices: Path) -> WireBytes:
    """Ask the server at `url` for one slice of `slices` (.npy, float16 [N, C, H, W]). Raises ServingError."""
    image = np.load(slices)[:1]
    name, number = version.spec.name, version.folder.name
    request = service_pb2.ModelInferRequest(model_name=name, model_version=number)
    request.inputs.add(name="image", datatype="FP16", shape=image.shape)
    request.outputs.add(name="labels")
    bare = request.ByteSize()
    request.raw_input_contents.append(image.tobytes())
    answers = {}
    with connect(url) as client:
        for outputs in (("labels",), ("labels", "probabilities")):
            asked = grpcclient.InferInput("image", image.shape, "FP16")
            asked.set_data_from_numpy(image)
            wanted = [grpcclient.InferRequestedOutput(output) for output in outputs]
            answer = client.infer(name, [asked], number, outputs=wanted, client_timeout=_TIMEOUT_S)
            answers[outputs] = answer.get_response()
    labels, both = answers.values()
    empty = labels.ByteSize() - sum(map(len, labels.raw_output_contents))
    return WireBytes(request.ByteSize(), labels.ByteSize(), both.ByteSize(), bare, empty)
