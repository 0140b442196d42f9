"""`swinunet benchmark graph`: what each change that export makes does to the graph, in nodes and in time.

The graph of the network as it was trained, and after each change on top of those before, run interleaved, in rounds.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from swinunet.benchmarks.measure.machine import physical_cores
from swinunet.benchmarks.measure.measurements import Measurements, Spread, spread_json
from swinunet.benchmarks.measure.rounds import Group, Progress, Run, Task, no_progress, run_interleaved
from swinunet.benchmarks.reports.numbers import number, spread_text
from swinunet.benchmarks.reports.report import Report
from swinunet.export.engines.loaded_engine import LoadedEngine
from swinunet.export.engines.registry import load_engine
from swinunet.export.file_names import GRAPH_FILE
from swinunet.export.graph.folding import CHANGES
from swinunet.export.graph.onnx_graph import export_onnx
from swinunet.export.graph.operator_counts import OperatorCounts, count_operators
from swinunet.foundation.tables import Table
from swinunet.imaging import ModelSpec
from swinunet.training.network.swin_unet import SwinUNet

ENGINES = ("onnxruntime-fp32", "openvino-f32")
AS_TRAINED = "as it was trained"
# Operators that compute nothing: they move or rename numbers.
_MOVES = frozenset({"Reshape", "Transpose", "Slice", "Concat", "Gather", "Squeeze", "Unsqueeze", "Split", "Expand"})
_LISTED = 5  # operators


@dataclass(frozen=True)
class GraphSettings:
    """`rounds` times through all graphs and engines, each for `seconds` s (one slice at least) at a time."""

    rounds: int = 5
    seconds: float = 1.0
    quick: bool = False


@dataclass(frozen=True)
class MeasuredGraph:
    """A graph. title: what was changed last. p50_ms: of a slice, one a round, by engine."""

    title: str
    operators: OperatorCounts
    p50_ms: dict[str, Measurements[float]] = field(default_factory=lambda: {name: Measurements() for name in ENGINES})


@dataclass
class GraphResult:
    """What a run found. title: of the model. threads: of each engine. run: set when it has ended."""

    title: str
    settings: GraphSettings
    threads: int = field(default_factory=physical_cores)
    graphs: list[MeasuredGraph] = field(default_factory=list)
    run: Run = field(default_factory=Run)


def run_graph_benchmark(
    title: str,
    network: SwinUNet,
    spec: ModelSpec,
    slices: np.ndarray,
    settings: GraphSettings,
    progress: Progress = no_progress,
) -> GraphResult:
    """Export `network` after none, one, ... all of CHANGES, and measure each. slices: float16 [N, C, H, W]."""
    result, engines = GraphResult(title, settings), dict[tuple[str, str], LoadedEngine]()

    def export(made: Path, count: int, words: str) -> None:
        folder = made / str(count)
        folder.mkdir()
        export_onnx(network, spec, folder / GRAPH_FILE, list(CHANGES.values())[:count])
        result.graphs.append(MeasuredGraph(words, count_operators(folder / GRAPH_FILE)))
        for name in ENGINES:
            engines[words, name] = load_engine(name, folder, result.threads)
            engines[words, name].run(slices[:1])  # the first run allocates

    def measure(count: int, words: str) -> None:
        for name, samples in result.graphs[count].p50_ms.items():
            samples.take(partial(_p50_ms, engines[words, name], slices, settings.seconds))

    with tempfile.TemporaryDirectory(prefix="swinunet-benchmark-") as made:
        wanted = list(enumerate((AS_TRAINED, *CHANGES)))
        load = [Task(f"exporting: {words}", partial(export, Path(made), count, words)) for count, words in wanted]
        turns = [Task(words, partial(measure, count, words)) for count, words in wanted]
        result.run = run_interleaved([Group(load, turns)], settings.rounds, progress)
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


def graph_report(result: GraphResult) -> Report:
    """graph.md and graph.json. Ratios are to the graph of the network as it was trained."""
    settings, first = result.settings, result.graphs[0]
    engines = [head for name in ENGINES for head in (f"{name}, ms", "times as fast")]
    heads = ("graph", "nodes", "moving data", "constants, MiB", *engines)
    return Report(
        name="graph",
        title=result.title,
        heading=f"the graph of {result.title}",
        command="swinunet benchmark graph",
        run=result.run,
        quick=settings.quick,
        tables=[Table("Each change on top of those above it", heads, [_cells(row, first) for row in result.graphs])],
        figures={
            "model": result.title,
            "plan": {**asdict(settings), "threads": result.threads},
            "rows": [_figures(row, first) for row in result.graphs],
        },
        schema_version=2,
        footnotes=[
            f"Milliseconds: median latency of one slice; median of {settings.rounds} rounds (lowest to highest), in "
            f"each of which every graph runs in turn for {settings.seconds:g} s; ratios are to the first row, taken "
            f"within a round. Threads of each engine: {result.threads}.",
            "Every graph is the exporter's own optimised one; nodes are counted before an engine fuses them. Moving "
            f"data: {', '.join(sorted(_MOVES))}.",
            *(f"{row.title}: {_most_frequent(row.operators)}" for row in (first, result.graphs[-1])),
        ],
    )


def _cells(row: MeasuredGraph, first: MeasuredGraph) -> tuple[str, ...]:
    moving = sum(count for operator, count in row.operators.nodes.items() if operator in _MOVES)
    engines = [text for name in ENGINES for text in (_spread(row, name), _times_as_fast(row, first, name))]
    title = row.title if row is first else f"+ {row.title}"
    return (title, str(row.operators.total), str(moving), number(_mib(row.operators)), *map(spread_text, engines))


def _figures(row: MeasuredGraph, first: MeasuredGraph) -> dict[str, Any]:
    return {
        "title": row.title,
        "nodes": row.operators.nodes,
        "parameters_mib": _mib(row.operators),
        "p50_ms": {name: spread_json(_spread(row, name)) for name in ENGINES},
        "ratio": {name: spread_json(_times_as_fast(row, first, name)) for name in ENGINES},
    }


def _spread(row: MeasuredGraph, name: str) -> Spread | None:
    """Milliseconds of a slice on an engine."""
    return row.p50_ms[name].spread(lambda ms: ms)


def _times_as_fast(row: MeasuredGraph, first: MeasuredGraph, name: str) -> Spread | None:
    return row.p50_ms[name].ratio(first.p50_ms[name], lambda ms: ms, inverse=True)


def _mib(operators: OperatorCounts) -> float:
    """Of all constants."""
    return operators.parameters_mb * 1e6 / 2**20


def _most_frequent(operators: OperatorCounts) -> str:
    """A graph's most frequent operators."""
    counted = [f"{count} {operator}" for operator, count in operators.nodes.items()]
    return f"{operators.total} nodes: {', '.join(counted[:_LISTED])} and {len(counted) - _LISTED} operators more."
