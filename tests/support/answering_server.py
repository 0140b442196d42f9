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
def answering_server(labels: np.ndarray, version: str, max_batch_size: int = 16) -> Iterator[str]:
    """host:port of the server. labels: uint8 [B, H, W]; probabilities are one class, certain.

    A request of fewer slices gets the first of the answers; one of more than max_batch_size is refused, as by Triton.
    """
    probabilities = np.ones((len(labels), 1, *labels.shape[1:]), np.float16)

    class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):
        def ModelConfig(self, request: Any, context: Any) -> Any:  # noqa: N802 - Triton's name
            answer = service_pb2.ModelConfigResponse()
            answer.config.max_batch_size = max_batch_size
            return answer

        def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802 - Triton's name
            slices = request.inputs[0].shape[0]
            if slices > max_batch_size:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"batch-size must be <= {max_batch_size}")
            answer = service_pb2.ModelInferResponse(model_name=request.model_name, model_version=version)
            for name, datatype, array in (("labels", "UINT8", labels), ("probabilities", "FP16", probabilities)):
                if name in [output.name for output in request.outputs]:
                    part = array[:slices]
                    answer.outputs.add(name=name, datatype=datatype, shape=part.shape)
                    answer.raw_output_contents.append(part.tobytes())
            return answer

    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
