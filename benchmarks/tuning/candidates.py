"""Ways of serving a model on a CPU."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from swinunet.export.engines.loaded_engine import MAX_BATCH_SIZE
from swinunet.export.engines.registry import Engine, served_engines
from swinunet.export.file_names import GATE_JSON_FILE, MODEL_PY_FILE
from swinunet.export.repository.triton_config import cpu_config
from swinunet.imaging import ModelSpec
from swinunet.serving.processor import in_words, mattering

_FOUND_ON_EVERY_PROCESSOR = ("fp32", "fp16")  # what CPUs compute in float32
_MOST_INSTANCES = 4  # processes, each with its own copy of the weights
_BATCHES, _DELAYS_US = (1, 4), (1000, 5000)


@dataclass(frozen=True)
class Candidate:
    """One way. instances: processes, each with its own weights; streams: parts of a batch computed at once in each
    process, with one copy of the weights; threads: of each process."""

    engine: Engine
    threads: int
    instances: int = 1
    streams: int = 1
    max_batch_size: int = MAX_BATCH_SIZE
    queue_delay_us: int = 0

    @property
    def title(self) -> str:
        """In words, without what is as by default."""
        parts = [self.engine.name]
        if self.instances > 1:
            parts.append(f"{self.instances} processes")
        if self.streams > 1:
            parts.append(f"{self.streams} streams")
        if self.max_batch_size != MAX_BATCH_SIZE:
            parts.append(f"batches to {self.max_batch_size}")
        if self.queue_delay_us:
            parts.append(f"waits {self.queue_delay_us / 1000:g} ms")
        return ", ".join(parts)

    def config(self, spec: ModelSpec) -> str:
        """The text of its Triton config."""
        return cpu_config(
            spec,
            self.engine.library.name,
            precision=self.engine.served_precision,
            threads=self.threads,
            streams=self.streams,
            instances=self.instances,
            max_batch_size=self.max_batch_size,
            max_queue_delay_us=self.queue_delay_us,
        )


@dataclass(frozen=True)
class LeftOut:
    """What is not measured, and why."""

    title: str
    reason: str


def engines_to_try(version: Path, processor: frozenset[str]) -> tuple[list[Engine], list[LeftOut]]:
    """The engines that are exported in a version folder and passed its gate, where that counts on this `processor`.

    bf16 and int8 are other computations on other processors, so there the gate must have judged on this kind.
    """
    try:
        gate = json.loads((version / GATE_JSON_FILE).read_text())
        statuses = {each["engine"]: str(each["status"]) for each in gate["verdicts"]}
        judged_on = mattering(map(str, gate.get("processor", ())))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        statuses, judged_on = {}, frozenset()
    engines, left_out = [], []
    for engine in served_engines():
        status = statuses.get(engine.name, "not judged")
        if not (version / engine.artefact).is_file():
            left_out.append(LeftOut(engine.name, f"is not exported (swinunet export --engine {engine.name})"))
        elif status != "passed":
            left_out.append(LeftOut(engine.name, f"the gate of this version: {status}"))
        elif engine.arithmetic not in _FOUND_ON_EVERY_PROCESSOR and judged_on != processor:
            where = f"on {in_words(judged_on)}" if judged_on else "nobody knows where"
            left_out.append(LeftOut(engine.name, f"was judged {where}; export it on this machine as a new version"))
        else:
            engines.append(engine)
    return engines, left_out


def knows_streams(version: Path) -> bool:
    """Whether the version's model.py computes parts of a batch at once; one from before leaves the option unread."""
    path = version / MODEL_PY_FILE
    return path.is_file() and '"streams"' in path.read_text(errors="replace")


def with_other_engines(engines: list[Engine], cores: int) -> list[Candidate]:
    """Each engine in one process, on every core."""
    return [Candidate(engine, cores) for engine in engines]


def with_other_parallelism(best: Candidate, cores: int, *, streams: bool = True) -> Iterator[Candidate]:
    """The same on parts of the cores: in `streams` that share the weights, then in processes that do not."""
    for number in _powers_of_two(cores) if streams else []:
        yield dataclasses.replace(best, streams=number)
    for instances in _powers_of_two(min(cores, _MOST_INSTANCES)):
        yield dataclasses.replace(best, instances=instances, threads=cores // instances)


def with_other_batches(best: Candidate) -> Iterator[Candidate]:
    """The same with smaller batches, and with a wait for company."""
    for batch in _BATCHES:
        if batch >= best.streams:  # of fewer slices a stream would be idle
            yield dataclasses.replace(best, max_batch_size=batch)
    for delay in _DELAYS_US:
        yield dataclasses.replace(best, queue_delay_us=delay)


def _powers_of_two(limit: int) -> list[int]:
    """2, 4, 8 ... up to `limit`."""
    return [1 << power for power in range(1, limit.bit_length()) if 1 << power <= limit]
