"""The process of one caller: asks Triton for one slice, waits for the answer, asks again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as grpcclient
from tritonclient.utils import shared_memory

from swinunet.benchmarks.measure.processes import serve_orders
from swinunet.benchmarks.measure.samples import LabelComparison
from swinunet.foundation.triton_channel import channel_options

_TIMEOUT_S = 120.0


class CallerWorker:
    """Holds the connection and the slices, float16 [N, C, H, W]."""

    def connect(
        self, *, url: str, model: str, version: str, slices: str, headers: dict[str, str], region: str
    ) -> dict[str, Any]:
        """Connect and ask once by each transport.

        headers: gRPC metadata that opens the server's shared-memory protocol. region: a name for this caller's own.
        """
        # Without an http_proxy from the environment, which would catch loopback too.
        self._client = grpcclient.InferenceServerClient(url, channel_args=channel_options())
        self._model, self._version = model, version
        self._slices = np.load(slices)
        self._labels_shape = (1, *self._slices.shape[2:])
        self._share(region, headers)
        self._asks: dict[str, Callable[[int], np.ndarray]] = {"gRPC": self._ask, "shared memory": self._ask_shared}
        for ask in self._asks.values():
            ask(0)
        return {}

    def call(
        self, *, first: int, start: float, seconds: float, reference: str | None, transport: str
    ) -> dict[str, Any]:
        """Ask for slices from `first` on for `seconds` from `start` on (time.monotonic, the same in every process)."""
        expected = None if reference is None else np.load(reference)
        ask, comparison = self._asks[transport], LabelComparison()
        latencies_s: list[float] = []
        time.sleep(max(0.0, start - time.monotonic()))
        cpu = time.process_time()
        while not latencies_s or time.monotonic() < start + seconds:
            index = (first + len(latencies_s)) % len(self._slices)
            began = time.perf_counter()
            labels = ask(index)
            latencies_s.append(time.perf_counter() - began)
            if expected is not None:
                comparison.add(labels, expected[index : index + 1])
        cpu_s = time.process_time() - cpu
        return {"latencies_s": latencies_s, "end": time.monotonic(), "cpu_s": cpu_s, "comparison": asdict(comparison)}

    def _ask(self, index: int) -> np.ndarray:
        """Labels uint8 [1, H, W] of one slice, all in the messages."""
        image = self._slices[index : index + 1]
        tensor = grpcclient.InferInput("image", image.shape, "FP16")
        tensor.set_data_from_numpy(image)
        return np.asarray(self._infer(tensor, grpcclient.InferRequestedOutput("labels")).as_numpy("labels"))

    def _ask_shared(self, index: int) -> np.ndarray:
        """The same with the tensors in system shared memory."""
        image = self._slices[index : index + 1]
        shared_memory.set_shared_memory_region(self._image, [image])
        tensor = grpcclient.InferInput("image", image.shape, "FP16")
        tensor.set_shared_memory(self._image_name, image.nbytes)
        output = grpcclient.InferRequestedOutput("labels")
        output.set_shared_memory(self._labels_name, int(np.prod(self._labels_shape)))
        self._infer(tensor, output)
        return np.asarray(shared_memory.get_contents_as_numpy(self._labels, np.uint8, self._labels_shape))

    def _infer(self, tensor: grpcclient.InferInput, output: grpcclient.InferRequestedOutput) -> grpcclient.InferResult:
        return self._client.infer(self._model, [tensor], self._version, outputs=[output], client_timeout=_TIMEOUT_S)

    def _share(self, region: str, headers: dict[str, str]) -> None:
        """Register a region for the image and one for the labels."""
        self._image_name, self._labels_name = f"{region}_image", f"{region}_labels"
        sizes = {self._image_name: self._slices[:1].nbytes, self._labels_name: int(np.prod(self._labels_shape))}
        handles = []
        for name, size in sizes.items():
            handles.append(shared_memory.create_shared_memory_region(name, f"/{name}", size))
            try:
                self._client.register_system_shared_memory(name, f"/{name}", size, headers=headers)
            finally:
                # Both sides have mapped it: without its name nothing stays behind, however this process ends.
                Path("/dev/shm", name).unlink(missing_ok=True)
        self._image, self._labels = handles


if __name__ == "__main__":
    worker = CallerWorker()
    serve_orders({"connect": worker.connect, "call": worker.call})
