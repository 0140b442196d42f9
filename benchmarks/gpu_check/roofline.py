"""The roofline of a machine: its measured peaks, and what each batch of a model takes of them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from swinunet.benchmarks.gpu_check.result import PreparedModel
from swinunet.benchmarks.inference.gpu import roofline
from swinunet.benchmarks.measure.processes import WorkerError, WorkerProcess

_CPU_SIZES = {"size": 1024, "copied": 2**26}  # a CPU's peak shows on less, and in less time


@dataclass
class Roofline:
    """device: what was measured, in words. reason: why something is missing.

    peaks: GFLOP/s and GB/s by precision. work: GFLOP and GB by model, precision and batch.
    """

    device: str = ""
    peaks: dict[str, dict[str, float]] = field(default_factory=dict)
    work: dict[tuple[str, str, int], tuple[float, float]] = field(default_factory=dict)
    reason: str = ""

    def limit(self, model: str, precision: str, batch: int) -> tuple[float, str] | None:
        """The least ms that a batch takes, and whether operations or bytes are the limit; None if it is not known."""
        taken, peaks = self.work.get((model, precision, batch)), self.peaks.get(precision)
        return None if taken is None or peaks is None else roofline(*taken, peaks)

    def measure(self, model: PreparedModel, on_gpu: bool, batches: Iterable[int], limit_s: float) -> None:
        """Count what the model takes, and measure the peaks if that is not done; what goes wrong is the reason."""
        end = time.monotonic() + limit_s
        precisions = ("fp32", "fp16") if on_gpu else ("fp32",)
        with WorkerProcess("gpu_worker") as worker:

            def ask(do: str, **order: Any) -> dict[str, Any]:
                return worker.ask(do, max(0.0, end - time.monotonic()), **order)

            try:
                order = {"folder": str(model.folder), "slices": str(model.slices)}
                loaded = ask("load", **order, device="cuda" if on_gpu else "cpu")
                self.device = loaded["description"]
                for precision in precisions:
                    if precision not in self.peaks:
                        sizes = {} if on_gpu else _CPU_SIZES
                        self.peaks[precision] = ask("roofline", precision=precision, **sizes)
                    for batch in batches:
                        taken = ask("work", precision=precision, batch=batch)
                        self.work[model.title, precision, batch] = taken["gflop"], taken["gb"]
            except WorkerError as error:
                self.reason = f"{model.title}: {error}"
