"""A gRPC proxy in front of a real Triton that lets another version answer, as a gateway with a wrong route does."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from tritonclient.grpc import service_pb2

_INFER = "/inference.GRPCInferenceService/ModelInfer"


class _Forward(grpc.GenericRpcHandler):
    """Passes every call on as bytes; a request for inference asks for no version, and its answer names `version`."""

    def __init__(self, channel: grpc.Channel, version: str) -> None:
        self._channel, self._version = channel, version

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        method = details.method
        call = self._channel.unary_unary(method)

        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            found: bytes = call(request, timeout=context.time_remaining())
            if method != _INFER:
                return found
            response = service_pb2.ModelInferResponse.FromString(found)
            response.model_version = self._version
            encoded: bytes = response.SerializeToString()
            return encoded

        return grpc.unary_unary_rpc_method_handler(answer)


@contextmanager
def misrouting_proxy(url: str, version: str) -> Iterator[str]:
    """The address of a proxy of the Triton at `url` whose answers say that they are of `version`."""
    limit = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(url, limit) as channel, ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool, [_Forward(channel, version)], options=limit)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(grace=None).wait()
