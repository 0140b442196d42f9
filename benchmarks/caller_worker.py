"""The process of one caller: asks Triton for one slice, waits for the answer, asks again. See `benchmarks.served`."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import numpy as np
import tritonclient.grpc as grpcclient

from benchmarks.children import obey
from benchmarks.figures import Tally

_TIMEOUT_S = 120.0


class CallerWorker:
    """Holds the connection and the slices, float16 [N, C, H, W]."""

    def connect(self, *, url: str, model: str, version: str, slices: str) -> dict[str, Any]:
        """Connect and ask once."""
        # Without an http_proxy from the environment, which would catch loopback too.
        self._client = grpcclient.InferenceServerClient(url, channel_args=[("grpc.enable_http_proxy", 0)])
        self._model, self._version = model, version
        self._slices = np.load(slices)
        self._ask(0)
        return {}

    def call(self, *, first: int, start: float, seconds: float, reference: str | None) -> dict[str, Any]:
        """Ask for slices from `first` on for `seconds` from `start` on (time.monotonic, the same in every process)."""
        expected = None if reference is None else np.load(reference)
        tally = Tally()
        latencies_s: list[float] = []
        time.sleep(max(0.0, start - time.monotonic()))
        cpu = time.process_time()
        while not latencies_s or time.monotonic() < start + seconds:
            index = (first + len(latencies_s)) % len(self._slices)
            began = time.perf_counter()
            labels = self._ask(index)
            latencies_s.append(time.perf_counter() - began)
            if expected is not None:
                tally.add(labels, expected[index : index + 1])
        cpu_s = time.process_time() - cpu
        return {"latencies_s": latencies_s, "end": time.monotonic(), "cpu_s": cpu_s, "tally": asdict(tally)}

    def _ask(self, index: int) -> np.ndarray:
        """Labels uint8 [1, H, W] of one slice."""
        image = self._slices[index : index + 1]
        tensor = grpcclient.InferInput("image", image.shape, "FP16")
        tensor.set_data_from_numpy(image)
        outputs = [grpcclient.InferRequestedOutput("labels")]
        answer = self._client.infer(self._model, [tensor], self._version, outputs=outputs, client_timeout=_TIMEOUT_S)
        return np.asarray(answer.as_numpy("labels"))


if __name__ == "__main__":
    worker = CallerWorker()
    obey({"connect": worker.connect, "call": worker.call})
