"""One engine with one model, in a process of its own: a crash or a hang costs this row and no other."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from swinunet.benchmarks.gpu_check.result import EngineRow, MeasuredBatch, PreparedModel
from swinunet.benchmarks.gpu_check.roofline import Roofline
from swinunet.benchmarks.gpu_check.settings import (
    BUILT,
    TENSORRT_RTX,
    engine_precision,
    lacks,
    missing_packages,
    row_batches,
)
from swinunet.benchmarks.measure.machine import physical_cores
from swinunet.benchmarks.measure.processes import WorkerError, WorkerProcess
from swinunet.export.engines.loaded_engine import MAX_BATCH_SIZE
from swinunet.export.engines.registry import ENGINES


@dataclass(frozen=True)
class RowOrder:
    """How rows are made. gpu, compute_capability: None without one. seconds: of measuring at each batch."""

    gpu: str | None
    compute_capability: str | None
    batches: tuple[int, ...]
    seconds: float


def make_row(engine: str, model: PreparedModel, order: RowOrder, roofline: Roofline, limit_s: float) -> EngineRow:
    """Build, load, compare and measure, all within `limit_s`. Whatever goes wrong is the row's reason."""
    row = EngineRow(model.title, engine)
    row.reason = lacks(engine, order.gpu)
    if model.error and not row.reason:
        row.reason = f"the model could not be prepared: {model.error}"
    if row.reason:
        return row
    with WorkerProcess("gpu_check_worker") as worker:
        steps = _Steps(worker, time.monotonic() + limit_s)
        try:
            _fill(row, steps, model, order, roofline)
        except WorkerError as error:
            row.reason = f"{steps.now}: {error}{_limit(error, limit_s)}{_missing(engine, row)}"
    return row


class _Steps:
    """Orders to a worker before a common end. now: what it is doing, in words."""

    def __init__(self, worker: WorkerProcess, end: float) -> None:
        self._worker, self._end, self.now = worker, end, "starting"

    def ask(self, words: str, do: str, **order: Any) -> dict[str, Any]:
        """The reply to an order. Raises WorkerError, also when the end has come."""
        self.now = words
        return self._worker.ask(do, max(0.0, self._end - time.monotonic()), **order)


def _fill(row: EngineRow, steps: _Steps, model: PreparedModel, order: RowOrder, roofline: Roofline) -> None:
    batches, folder = row_batches(row.engine, order.batches), str(model.folder)
    widest = max((*batches, MAX_BATCH_SIZE))
    if row.engine in BUILT:
        began, capability = time.monotonic(), order.compute_capability or ""
        how = {"engine": row.engine, "folder": folder, "max_batch": widest, "compute_capability": capability}
        built = steps.ask("building", "build", **how)
        row.build_s = time.monotonic() - began
        row.description = f"{built['description']}, {built['size'] / 2**20:.0f} MiB for batches 1 to {widest}"
    if row.engine == TENSORRT_RTX:
        row.outcome, row.reason = "built", "built only: this software does not run engines of TensorRT for RTX"
        return
    loader, _, precision = row.engine.rpartition("-")
    engine = {"loader": loader, "precision": precision, "folder": folder, "threads": physical_cores()}
    steps.ask("loading", "load", **engine, slices=str(model.slices))  # and the first answer
    compared = steps.ask("comparing", "compare", engine=row.engine, expected=str(model.expected))
    row.description = "; ".join(filter(None, (compared["description"], row.description)))
    row.tensors, row.reason = compared["tensors"], "; ".join(compared["failures"])
    row.outcome = "failed" if compared["failures"] else "passed"
    off_gpu = order.gpu is not None and ENGINES[row.engine].library.runs_on == "CPU"
    for batch in batches:
        how = {"batch": batch, "seconds": order.seconds, "reference": None}
        sample = steps.ask(f"measuring batch {batch}", "measure", **how)["sample"]
        known = None if off_gpu else roofline.limit(row.model, engine_precision(row.engine), batch)
        row.batches.append(
            MeasuredBatch(batch, sample["p50_ms"], sample["p95_ms"], sample["slices_per_s"], *(known or (None, None)))
        )


def _limit(error: WorkerError, limit_s: float) -> str:
    """Beside a worker's last wait, the limit of the whole row."""
    return f" (the row's limit is {limit_s:.0f} s)" if str(error).startswith("no answer within") else ""


def _missing(engine: str, row: EngineRow) -> str:
    """What is not installed, for a row that never ran."""
    missing = [] if row.tensors else missing_packages(engine)
    return f"; not installed: {', '.join(missing)}" if missing else ""
