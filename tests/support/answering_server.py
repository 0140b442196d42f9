"""A gRPC server in this process that answers every inference with given labels, as any version it is told to be."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc


@contextmanager
def answering_server(labels: np.ndarray, version: str) -> Iterator[str]:
    """host:port of the server. labels: uint8 [B, H, W]; probabilities are one class, certain."""
    probabilities = np.ones((len(labels), 1, *labels.shape[1:]), np.float16)

    class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):
        def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802 - Triton's name
            answer = service_pb2.ModelInferResponse(model_name=request.model_name, model_version=version)
            for name, datatype, array in (("labels", "UINT8", labels), ("probabilities", "FP16", probabilities)):
                if name in [output.name for output in request.outputs]:
                    answer.outputs.add(name=name, datatype=datatype, shape=array.shape)
                    answer.raw_output_contents.append(array.tobytes())
            return answer

    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
