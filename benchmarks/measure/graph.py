"""`swinunet benchmark graph`: what each change that folding makes does to the graph, in nodes and in time.

The graph of the network as it was trained, and after each change on top of those before, run interleaved, in rounds.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from swinunet.benchmarks.measure.figures import Spread
from swinunet.benchmarks.measure.machine import CpuWatch, Machine, describe_machine, physical_cores
from swinunet.export.engines.loaded_engine import LoadedEngine
from swinunet.export.engines.registry import load_engine
from swinunet.export.file_names import GRAPH_FILE
from swinunet.export.graph.folding import CHANGES
from swinunet.export.graph.onnx_graph import export_onnx
from swinunet.export.graph.operator_counts import OperatorCounts, count_operators
from swinunet.imaging import ModelSpec
from swinunet.training.network.swin_unet import SwinUNet

Progress = Callable[[int, int, str], None]  # steps done, steps in all, what comes now

ENGINES = ("onnxruntime-fp32", "openvino-f32")
AS_TRAINED = "as it was trained"
_SETTLE_S = 0.05  # thread pools spin for a moment after their last run


@dataclass(frozen=True)
class GraphPlan:
    """`rounds` times through all graphs and engines, each for `seconds` s (one slice at least) at a time."""

    rounds: int = 5
    seconds: float = 1.0
    quick: bool = False


@dataclass
class GraphRow:
    """A graph. title: what was changed last. p50_ms: of a slice, one for each round, by engine."""

    title: str
    census: OperatorCounts
    p50_ms: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in ENGINES})

    def spread(self, name: str) -> Spread:
        """Milliseconds of a slice on an engine."""
        return Spread(tuple(self.p50_ms[name]))

    def ratio(self, before: GraphRow, name: str) -> Spread:
        """How many times as fast as another graph, round by round."""
        pairs = zip(before.p50_ms[name], self.p50_ms[name], strict=True)
        return Spread(tuple(theirs / ours for theirs, ours in pairs))


@dataclass
class GraphResult:
    """What a run found. title: of the model. threads: of each engine. seconds: the whole run took."""

    title: str
    plan: GraphPlan
    machine: Machine
    threads: int
    rows: list[GraphRow] = field(default_factory=list)
    seconds: float = 0.0


def run_graph_benchmark(
    title: str,
    network: SwinUNet,
    spec: ModelSpec,
    slices: np.ndarray,
    plan: GraphPlan,
    progress: Progress = lambda done, total, text: None,
) -> GraphResult:
    """Export `network` after none, one, ... all of CHANGES, and measure as planned. slices: float16 [N, C, H, W]."""
    began, watch = time.monotonic(), CpuWatch()
    result = GraphResult(title, plan, describe_machine(), physical_cores())
    loaded: list[tuple[GraphRow, str, LoadedEngine]] = []
    total = (1 + len(CHANGES)) * (1 + plan.rounds)
    with tempfile.TemporaryDirectory(prefix="swinunet-benchmark-") as made:
        for count, words in enumerate((AS_TRAINED, *CHANGES)):
            progress(count, total, f"exporting: {words}")
            folder = Path(made) / str(count)
            folder.mkdir()
            export_onnx(network, spec, folder / GRAPH_FILE, list(CHANGES.values())[:count])
            result.rows.append(GraphRow(words, count_operators(folder / GRAPH_FILE)))
            for name in ENGINES:
                loaded.append((result.rows[-1], name, load_engine(name, folder, result.threads)))
    for _, _, each in loaded:
        each.run(slices[:1])  # the first run allocates
    for number in range(1, plan.rounds + 1):
        progress(number * len(result.rows), total, f"round {number} of {plan.rounds}")
        for row, name, each in loaded:
            time.sleep(_SETTLE_S)
            row.p50_ms[name].append(_p50_ms(each, slices, plan.seconds))
    progress(total, total, "done")
    result.machine = replace(result.machine, others_cpu=watch.others())
    result.seconds = time.monotonic() - began
    return result


def _p50_ms(loaded: LoadedEngine, slices: np.ndarray, seconds: float) -> float:
    """Median latency of a slice, over as many runs as fit."""
    latencies: list[float] = []
    while not latencies or sum(latencies) < seconds:
        at = len(latencies) % len(slices)
        began = time.perf_counter()
        loaded.run(slices[at : at + 1])
        latencies.append(time.perf_counter() - began)
    return 1e3 * float(np.median(latencies))
