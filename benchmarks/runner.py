"""The run: every row once a round, in turn, so that all meet the same machine; one thing computes at a time."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.children import Child, ChildError
from benchmarks.figures import Row, Sample, Tally
from benchmarks.machine import CpuWatch, Machine, describe_machine, physical_cores
from benchmarks.plan import BASELINE, Engine, Plan
from benchmarks.served import Load, ServedModel
from benchmarks.subject import Subject, real_slices
from serving import ServingError

Progress = Callable[[int, int, str], None]  # steps done, steps in all, what comes now
Measured = tuple[Sample, Tally]

_PATIENCE_S = 600.0
_SETTLE_S = 0.05  # thread pools spin for a moment after their last run


@dataclass
class EngineRows:
    """The rows of one engine, one a batch."""

    engine: Engine
    rows: list[Row]
    child: Child | None = None

    def refuse(self, reason: str) -> None:
        """Say in every row why there are no figures."""
        for row in self.rows:
            row.error = row.error or reason


@dataclass
class Result:
    """What a run found. threads: of each bare engine. origin: of the slices. seconds: the whole run took."""

    subject: Subject
    plan: Plan
    machine: Machine
    threads: int
    origin: str
    engines: list[EngineRows]
    triton: list[Row]
    served: ServedModel | None = None
    process_mib: float | None = None
    seconds: float = 0.0

    def baseline(self, batch: int) -> Row | None:
        """PyTorch's row at this batch."""
        return self._row(BASELINE, batch)

    def bare(self, callers: int) -> Row | None:
        """The row of the engine that Triton runs, at the largest batch that so many callers can form."""
        if self.served is None:
            return None
        precision = self.served.precision
        if precision == "auto":
            auto = [each for each in self.engines if each.engine.precision == "bf16" and each.rows[0].measured]
            precision = "bf16" if auto and self.served.engine == auto[0].engine.loader else "f32"
        batch = max((batch for batch in self.plan.batches if batch <= callers), default=0)
        for each in self.engines:
            if (each.engine.loader, each.engine.precision.replace("fp", "f")) == (self.served.engine, precision):
                return self._row(each.engine, batch)
        return None

    def _row(self, engine: Engine, batch: int) -> Row | None:
        rows = [row for each in self.engines if each.engine == engine for row in each.rows]
        return next((row for row in rows if row.size == batch), None)


def run_benchmark(subject: Subject, plan: Plan, progress: Progress = lambda done, total, text: None) -> Result:
    """Measure `subject` as planned. An engine that does not load or fails has its reason in its rows; the others go on.

    Raises InputError if there are no slices to measure with. Every process it starts has ended when it returns.
    """
    began, watch = time.monotonic(), CpuWatch()
    slices, origin = real_slices(subject)
    result = Result(
        subject=subject,
        plan=plan,
        machine=describe_machine(),
        threads=plan.threads or physical_cores(),
        origin=origin,
        engines=[EngineRows(e, [Row(e.title, batch) for batch in plan.batches]) for e in plan.engines],
        triton=[Row("Triton", callers) for callers in plan.callers],
    )
    with tempfile.TemporaryDirectory(prefix="swinunet-benchmark-") as folder, ExitStack() as stack:
        _Run(result, slices, Path(folder), stack, progress).go()
    others = watch.others()
    result.machine = replace(result.machine, others_cpu=others)
    result.seconds = time.monotonic() - began
    return result


class _Run:
    """One run. folder: for the slices and the reference labels. stack: ends what was started, last first."""

    def __init__(self, result: Result, slices: np.ndarray, folder: Path, stack: ExitStack, progress: Progress) -> None:
        self._result, self._plan, self._stack = result, result.plan, stack
        self._slices, self._reference = folder / "slices.npy", folder / "reference.npy"
        np.save(self._slices, slices)
        rows = len(self._plan.engines) * len(self._plan.batches) + len(self._plan.callers)
        self._steps, self._done, self._progress = len(self._plan.engines) + 1 + rows * self._plan.rounds, 0, progress
        self._load: Load | None = None

    def go(self) -> None:
        """Load everything, one after the other, then measure round by round."""
        for each in self._result.engines:
            self._step(f"loading {each.engine.title}")
            self._load_engine(each)
        self._step("starting Triton")
        self._start_triton()
        for number in range(1, self._plan.rounds + 1):
            self._round(f"round {number} of {self._plan.rounds}")
        self._progress(self._steps, self._steps, "done")

    def _step(self, text: str) -> None:
        self._progress(self._done, self._steps, text)
        self._done += 1

    def _load_engine(self, each: EngineRows) -> None:
        each.child = self._stack.enter_context(Child("benchmarks.engine_worker"))
        engine, subject = each.engine, self._result.subject
        order = {"loader": engine.loader, "precision": engine.precision, "threads": self._result.threads}
        try:
            said = each.child.ask(
                "load", _PATIENCE_S, folder=str(subject.folder.resolve()), slices=str(self._slices), **order
            )
            if engine == BASELINE:
                each.child.ask("labels", _PATIENCE_S, path=str(self._reference))
        except ChildError as error:
            each.refuse(str(error))
            each.child.close()  # its memory is of use to the others
            return
        self._result.process_mib = said["process_mib"]
        for row in each.rows:
            row.description, row.import_s, row.load_s = said["description"], said["import_s"], said["load_s"]

    def _start_triton(self) -> None:
        rows = self._result.triton
        if not rows:
            return
        try:
            load = Load(self._result.subject, max(self._plan.callers), self._slices)
            self._load = self._stack.enter_context(load)
        except (ServingError, ChildError) as error:
            for row in rows:
                row.error = str(error)
            return
        self._result.served = load.model
        for row in rows:
            row.description, row.load_s = f"{load.model.server}, running {load.model.description}", load.model.start_s

    def _round(self, label: str) -> None:
        """All engines at the smallest batch, then at the next; then Triton at each number of callers."""
        for index, batch in enumerate(self._plan.batches):
            for each in self._result.engines:
                self._step(f"{label}: {each.engine.title}, batch {batch}")
                self._measure(each.rows[index], partial(self._run_engine, each, batch))
        for row in self._result.triton:
            self._step(f"{label}: Triton, {row.size} callers")
            self._measure(row, partial(self._run_triton, row.size))

    def _measure(self, row: Row, run: Callable[[], Measured]) -> None:
        if row.error is not None:
            return
        time.sleep(_SETTLE_S)
        try:
            measured, tally = run()
        except (ServingError, ChildError) as error:
            row.error = str(error)
            return
        row.samples.append(measured)
        row.tally.merge(tally)

    def _run_engine(self, each: EngineRows, batch: int) -> Measured:
        assert each.child is not None
        seconds, reference = self._plan.seconds, self._known_reference()
        said = each.child.ask(
            "measure",
            _PATIENCE_S + seconds,
            batch=batch,
            seconds=seconds,
            reference=None if reference is None else str(reference),
        )
        return Sample(**said["sample"]), Tally(**said["tally"])

    def _run_triton(self, callers: int) -> Measured:
        assert self._load is not None
        return self._load.measure(callers, self._plan.seconds, self._known_reference())

    def _known_reference(self) -> Path | None:
        return self._reference if self._reference.is_file() else None
