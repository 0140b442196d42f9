"""What `swinunet benchmark` measures. A new batch or number of callers is one more entry here."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from swinunet.export.engines.registry import measured_engines
from swinunet.foundation.errors import InputError
from swinunet.foundation.nearest import did_you_mean


@dataclass(frozen=True)
class Engine:
    """One engine in one precision.

    name: as people write it. loader: the library's name in `export/engines/registry.py`. precision: in its word.
    """

    name: str
    loader: str
    precision: str

    @property
    def title(self) -> str:
        """Name and precision, as a row is headed."""
        return f"{self.name} {self.precision}"

    @property
    def key(self) -> str:
        """As the command line names it."""
        return f"{self.loader}-{self.precision}"


BASELINE = Engine("PyTorch eager", "pytorch", "fp32")  # ratios and label agreement are against it
COMPILED = "torch-compile"  # the loader that takes minutes, most of it one thread


def engines() -> tuple[Engine, ...]:
    """Every engine that is measured; `export/engines/registry.py` is where one is added."""
    return tuple(Engine(each.library.title, each.library.name, each.precision) for each in measured_engines())


BATCHES = (1, 2, 4, 8, 16, 32)  # slices; ascending, because the peak memory of a process never falls
CALLERS = (1, 2, 4, 8, 16)  # at once on Triton, each waiting for its answer before it asks again; ascending too

Transport = Literal["gRPC", "shared memory"]
Generator = Literal["ours", "perf_analyzer"]


@dataclass(frozen=True)
class CallerLoad:
    """One load on Triton.

    callers: requests of one slice in flight. batching: Triton's dynamic batching. transport: of the tensors.
    generator: who asks: our caller processes, or NVIDIA's perf_analyzer.
    """

    callers: int
    batching: bool = True
    transport: Transport = "gRPC"
    generator: Generator = "ours"

    @property
    def title(self) -> str:
        """As a row is headed."""
        by = "" if self.generator == "ours" else f", {self.generator}"
        return f"batching {'on' if self.batching else 'off'}, {self.transport}{by}"


def caller_loads(callers: tuple[int, ...] = CALLERS, compared: tuple[int, ...] = (1, 4, 16)) -> tuple[CallerLoad, ...]:
    """Batching on and off for each number of callers; at `compared`, shared memory and perf_analyzer beside them."""
    return (
        *(CallerLoad(number) for number in callers),
        *(CallerLoad(number, batching=False) for number in callers),
        *(CallerLoad(number, transport="shared memory") for number in compared),
        *(CallerLoad(number, generator="perf_analyzer") for number in compared),
    )


def choose_engines(names: str) -> tuple[Engine, ...]:
    """Engines by their keys, separated by commas, in the table's order; the baseline always among them.

    Raises InputError for a name that is not in the table.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    known = {engine.key: engine for engine in engines()}
    unknown = next((name for name in wanted if name not in known), None)
    if unknown is not None or not wanted:
        raise InputError(
            f"--engines: there is no engine {unknown or ''!r}; choose from {', '.join(known)}"
            f"{did_you_mean(unknown or '', known)}"
        )
    return tuple(engine for engine in engines() if engine == BASELINE or engine.key in wanted)


def choose_sizes(text: str, option: str, limit: int = 64) -> tuple[int, ...]:
    """Whole numbers separated by commas, ascending. Raises InputError for others, or outside 1 to `limit`."""
    try:
        sizes = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        sizes = ()
    if not sizes or not 1 <= sizes[0] <= sizes[-1] <= limit:
        raise InputError(f"{option} is {text!r}; expected numbers from 1 to {limit}, as 1,8")
    return sizes


@dataclass(frozen=True)
class BenchmarkSettings:
    """One run: `rounds` times through all rows, each row for `seconds` s at a time, one request at least.

    once_over_s: a row whose request takes longer than this, s, is measured in the first round alone.
    triton: loads on the server. chain_slices: of the series that goes through the whole chain; 0 leaves it out.
    hardware: measure the matrix-multiply peaks too, and the network on a GPU where there is one.
    threads: of each engine; None is the physical cores that this process may use.
    budget_s: no round but the first begins later than this after the start, s.
    perf_analyzer: fetch NVIDIA's load generator where it is not there yet.
    """

    engines: tuple[Engine, ...] = field(default_factory=engines)
    batches: tuple[int, ...] = BATCHES
    triton: tuple[CallerLoad, ...] = caller_loads()
    chain_slices: int = 200
    hardware: bool = True
    rounds: int = 3
    seconds: float = 0.5
    once_over_s: float = 1.0
    threads: int | None = None
    budget_s: float = 900.0
    perf_analyzer: bool = False
    quick: bool = False

    @property
    def summary(self) -> str:
        """What will be done, in a sentence."""
        parts = [f"{len(self.engines)} engines at {len(self.batches)} batches", f"{len(self.triton)} loads of Triton"]
        if self.chain_slices:
            parts.append(f"a DICOM chain of {self.chain_slices} slices")
        once = f", those with requests over {self.once_over_s:g} s once" if math.isfinite(self.once_over_s) else ""
        rounds = f"in {self.rounds} rounds of {self.seconds:g} s a row{once}"
        return f"{', '.join(parts)}; {rounds}; no round begins after {self.budget_s:g} s"

    @staticmethod
    def short(seconds: float = 0.1) -> BenchmarkSettings:
        """Two short rounds: shows that everything runs and computes the same, not how fast it is."""
        triton, once_over_s = caller_loads((1, 4), compared=(4,)), math.inf
        return BenchmarkSettings(
            batches=(1, 4), triton=triton, chain_slices=20, rounds=2, seconds=seconds, once_over_s=once_over_s,
            budget_s=45.0, quick=True,
        )  # fmt: skip
