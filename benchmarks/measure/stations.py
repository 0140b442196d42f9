"""What a run visits in every round: bare engines, matrix-multiply peaks, a GPU, the chain (Triton: triton_station).

Each is loaded once, then measured row by row; a row that cannot be measured says why, and the others go on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Protocol

from swinunet.benchmarks.measure.chain import Chain
from swinunet.benchmarks.measure.children import Child, ChildError
from swinunet.benchmarks.measure.figures import Sample, Tally
from swinunet.benchmarks.measure.gpu import BATCHES as GPU_BATCHES
from swinunet.benchmarks.measure.gpu import MODES, Gpu, GpuRow
from swinunet.benchmarks.measure.plan import BASELINE, COMPILED
from swinunet.benchmarks.reports.result import EngineRows, Result
from swinunet.foundation.errors import SwinUNetError
from swinunet.serving import ServingError

Measured = tuple[Sample, Tally]
Step = Callable[[str], None]  # says what comes now

_PATIENCE_S = 600.0
SETTLE_S = 0.05  # thread pools spin for a moment after their last run
REASONS = (ServingError, ChildError, SwinUNetError)  # why a row has no figures, in one line


@dataclass(frozen=True)
class Place:
    """Where a run works. folder: its own, removed at the end. stack: ends what was started, last first."""

    result: Result
    folder: Path
    stack: ExitStack
    step: Step

    @property
    def slices(self) -> Path:
        """The slices, float16 [N, C, H, W], .npy."""
        return self.folder / "slices.npy"

    @property
    def reference(self) -> Path | None:
        """PyTorch's labels of them, uint8 [N, H, W], .npy; None until it has made them."""
        path = self.folder / "reference.npy"
        return path if path.is_file() else None


class Station(Protocol):
    """A part of the run. steps: calls of `Place.step` while loading, and in each round."""

    steps: tuple[int, int]

    def load(self) -> None:
        """Start what is measured."""

    def measure(self, label: str) -> None:
        """One round."""


class Engines:
    """Every engine by itself, each in its own process; the smallest batch of all first, then the next."""

    def __init__(self, place: Place) -> None:
        self._place, self._result = place, place.result
        self.steps = (len(self._result.engines), len(self._result.engines) * len(self._result.plan.batches))

    def load(self) -> None:
        """Load every engine, one after the other; only those that are compiled for minutes at once."""
        for together, engines in groupby(self._result.engines, lambda each: each.engine.loader == COMPILED):
            group = list(engines)
            for some in [group] if together else [[each] for each in group]:
                for load in (self._begin, self._finish):
                    for each in some:
                        try:
                            load(each)
                        except ChildError as error:
                            self._refuse(each, str(error))

    def _refuse(self, each: EngineRows, reason: str) -> None:
        """Why there is no engine, in words that name the version's files by their place in the repository."""
        each.refuse(reason.replace(f"{self._result.subject.repository.resolve()}{os.sep}", ""))
        if each.child:
            each.child.close()  # its memory is of use to the others

    def _begin(self, each: EngineRows) -> None:
        self._place.step(f"loading {each.engine.title}")
        each.child = self._place.stack.enter_context(Child("engine_worker"))
        engine, subject = each.engine, self._result.subject
        order = {"loader": engine.loader, "precision": engine.precision, "threads": self._result.threads}
        each.child.tell("load", folder=str(subject.folder.resolve()), slices=str(self._place.slices), **order)

    def _finish(self, each: EngineRows) -> None:
        """Take in what the worker has to say once it has loaded. Raises ChildError."""
        if each.rows[0].error is not None:
            return
        assert each.child is not None
        engine, subject = each.engine, self._result.subject
        said = each.child.hear(_PATIENCE_S)
        if engine == BASELINE:
            each.child.ask("labels", _PATIENCE_S, path=str(self._place.folder / "reference.npy"))
        self._result.process_mib = said["process_mib"]
        for row in each.rows:
            row.description, row.import_s, row.load_s = said["description"], said["import_s"], said["load_s"]
        if self._result.data:
            asked = {"data": str(self._result.data.resolve()), "split": str(subject.folder.resolve() / "split.json")}
            dice = each.child.ask("dice", _PATIENCE_S, spec=subject.spec.to_json(), **asked)["dice"]
            for row in each.rows:
                row.dice = dice

    def measure(self, label: str) -> None:
        """Every engine at every batch."""
        for index, batch in enumerate(self._result.plan.batches):
            for each in self._result.engines:
                row = each.rows[index]
                self._place.step(f"{label}: {row.title}, batch {batch}")
                if row.due(self._result.plan.once_over_s):
                    time.sleep(SETTLE_S)
                    try:
                        self._revive(each)
                        row.add(*run_engine(self._place, each, batch))
                    except ChildError as error:
                        row.error = str(error)

    def _revive(self, each: EngineRows) -> None:
        """A new process where the kernel killed the engine's, for want of memory: its other rows need none so large."""
        if each.child is not None and not each.child.alive:
            each.child.close()
            self._begin(each)
            self._finish(each)


def run_engine(place: Place, each: EngineRows, batch: int) -> Measured:
    """One engine at one batch for the plan's time. Raises ChildError."""
    assert each.child is not None
    seconds, reference = place.result.plan.seconds, place.reference
    said = each.child.ask(
        "measure",
        _PATIENCE_S + seconds,
        batch=batch,
        seconds=seconds,
        reference=None if reference is None else str(reference),
    )
    return Sample(**said["sample"]), Tally(**said["tally"])


class Peaks:
    """How fast this machine multiplies matrices, in each precision."""

    steps = (1, 1)

    def __init__(self, place: Place) -> None:
        self._place, self._result = place, place.result
        self._child: Child | None = None

    def load(self) -> None:
        """Start the process that multiplies."""
        self._place.step("loading matrices")
        child = self._place.stack.enter_context(Child("gemm_worker"))
        try:
            child.ask("load", _PATIENCE_S, threads=self._result.threads)
        except ChildError as error:
            self._result.peaks_error = str(error)
            return
        self._child = child

    def measure(self, label: str) -> None:
        """Each precision once."""
        self._place.step(f"{label}: matrix products")
        if self._child is None or self._result.peaks_error:
            return
        try:
            for peak in self._result.peaks.values():
                time.sleep(SETTLE_S)
                seconds = self._result.plan.seconds
                peak.rounds.append(self._child.ask("measure", _PATIENCE_S, precision=peak.precision, seconds=seconds))
        except ChildError as error:
            self._result.peaks_error = str(error)


class GpuStation:
    """The network on a GPU, where there is one."""

    def __init__(self, place: Place) -> None:
        self._place, self._result = place, place.result.gpu
        self._gpu = Gpu(self._result, place.result.subject.folder, place.slices)
        self.steps = (1, 1)

    def load(self) -> None:
        """Look for a GPU."""
        self._place.step("looking for a GPU")
        self._gpu.load(self._place.stack)
        if self._result.reason is None:
            self._result.rows = [GpuRow(*mode, batch) for mode in MODES for batch in GPU_BATCHES]

    def measure(self, label: str) -> None:
        """Every way at every batch."""
        self._place.step(f"{label}: GPU")
        for row in self._result.rows:
            self._gpu.measure(row, self._place.result.plan.seconds)


class WholeChain:
    """A series through the client and Triton to DICOM SEG."""

    steps = (1, 1)

    def __init__(self, place: Place) -> None:
        self._place = place
        self._result = place.result.chain
        self._chain: Chain | None = None

    def load(self) -> None:
        """Write the series, start a Triton that traces."""
        assert self._result is not None
        self._place.step(f"writing a series of {self._result.slices} slices, starting a Triton that traces")
        folder = self._place.folder / "chain"
        folder.mkdir()
        self._try(partial(self._start, folder))

    def _start(self, folder: Path) -> None:
        assert self._result is not None
        self._chain = self._place.stack.enter_context(Chain(self._place.result.subject, self._result.slices, folder))

    def measure(self, label: str) -> None:
        """One job."""
        self._place.step(f"{label}: the whole chain")
        if self._chain:
            self._try(self._chain.run)

    def finish(self) -> None:
        """Read the trace."""
        if self._chain and self._result:
            self._try(partial(self._chain.finish, self._result))

    def _try(self, what: Callable[[], None]) -> None:
        assert self._result is not None
        if self._result.error:
            return
        try:
            what()
        except REASONS as error:
            self._result.error = str(error)
