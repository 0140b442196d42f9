"""How fast this machine multiplies matrices, in each precision: what engines are compared with."""

from __future__ import annotations

from functools import partial

from swinunet.benchmarks.inference.result import MatrixPeak, Workspace
from swinunet.benchmarks.measure.measurements import attempt_for_all
from swinunet.benchmarks.measure.processes import WorkerProcess
from swinunet.benchmarks.measure.rounds import Group, Task, sampling

_TIMEOUT_S = 600.0


def peak_tasks(work: Workspace) -> Group:
    """Start the process that multiplies; each precision once a round."""
    peaks = list(work.result.peaks.values())
    workers: list[WorkerProcess] = []

    def load() -> None:
        workers.append(work.resources.enter_context(WorkerProcess("gemm_worker")))
        attempt_for_all(peaks, partial(workers[0].ask, "load", _TIMEOUT_S, threads=work.result.threads))

    def measure(peak: MatrixPeak) -> dict[str, float]:
        return workers[0].ask("measure", _TIMEOUT_S, precision=peak.precision, seconds=work.result.settings.seconds)

    turns = [sampling(f"matrix products, {peak.precision}", peak, partial(measure, peak)) for peak in peaks]
    return Group([Task("loading matrices", load)], turns)
