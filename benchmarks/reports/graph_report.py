"""The files of `swinunet benchmark graph`: graph.md (ready to paste) and graph.json (every round)."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from swinunet.benchmarks.measure.graph import ENGINES, GraphResult, GraphRow
from swinunet.benchmarks.reports.notes import closing_notes
from swinunet.benchmarks.reports.report import page, staged_files
from swinunet.benchmarks.reports.tables import number, spread_text
from swinunet.foundation.tables import Table

SCHEMA_VERSION = 1
FILES = ("graph.md", "graph.json")
# Operators that compute nothing: they move or rename numbers.
_MOVES = frozenset({"Reshape", "Transpose", "Slice", "Concat", "Gather", "Squeeze", "Unsqueeze", "Split", "Expand"})
_MOST = 5


def graph_table(result: GraphResult) -> Table:
    """A row for each graph; ratios are to the graph of the network as it was trained."""
    engines = [head for name in ENGINES for head in (f"{name}, ms", "times as fast")]
    heads = ("graph", "nodes", "moving data", "constants, MB", *engines)
    return Table("Each change on top of those above it", heads, [_cells(result, row) for row in result.rows])


def graph_notes(result: GraphResult) -> list[str]:
    """What a reader of the table must know."""
    plan = result.plan
    found = [
        f"Milliseconds: median latency of one slice; median of {plan.rounds} rounds (lowest to highest), in each of "
        f"which every graph runs in turn for {plan.seconds:g} s; ratios are to the first row, taken within a round. "
        f"Threads of each engine: {result.threads}.",
        "Every graph is the exporter's own optimised one; nodes are counted before an engine fuses them. Moving data: "
        f"{', '.join(sorted(_MOVES))}.",
        *(f"{row.title}: {_most_of(row)}" for row in (result.rows[0], result.rows[-1])),
    ]
    return found + closing_notes(result.machine, plan.quick)


def write_graph_report(result: GraphResult, folder: Path) -> list[Path]:
    """Write FILES into `folder`, each whole or not at all, in place of an earlier report. Raises OutputError."""
    with staged_files(folder, FILES) as (report, figures):
        report.write_text(graph_markdown(result))
        figures.write_text(json.dumps(graph_json(result), indent=1) + "\n")
    return [folder / name for name in FILES]


def graph_markdown(result: GraphResult) -> str:
    """The report, as Markdown."""
    table, notes = graph_table(result), graph_notes(result)
    return page(
        f"the graph of {result.title}", "swinunet benchmark graph", result.machine, result.seconds, table, notes
    )


def graph_json(result: GraphResult) -> dict[str, Any]:
    """The report, for programs: the figures of every round, not only their spread."""
    return {
        "schema_version": SCHEMA_VERSION,
        "model": result.title,
        "machine": asdict(result.machine),
        "plan": {**asdict(result.plan), "threads": result.threads},
        "seconds": result.seconds,
        "rows": [
            {
                "title": row.title,
                "nodes": row.census.nodes,
                "parameters_mb": row.census.parameters_mb,
                "p50_ms": {name: row.spread(name).to_json() for name in ENGINES},
                "ratio": {name: row.ratio(result.rows[0], name).to_json() for name in ENGINES},
            }
            for row in result.rows
        ],
        "notes": graph_notes(result),
    }


def _cells(result: GraphResult, row: GraphRow) -> tuple[str, ...]:
    moving = sum(count for operator, count in row.census.nodes.items() if operator in _MOVES)
    times = [text for name in ENGINES for text in (row.spread(name), row.ratio(result.rows[0], name))]
    first = row is result.rows[0]
    return (
        row.title if first else f"+ {row.title}",
        str(row.census.total),
        str(moving),
        number(row.census.parameters_mb),
        *map(spread_text, times),
    )


def _most_of(row: GraphRow) -> str:
    """A graph's most frequent operators."""
    counted = [f"{count} {operator}" for operator, count in row.census.nodes.items()]
    return f"{row.census.total} nodes: {', '.join(counted[:_MOST])} and {len(counted) - _MOST} operators more."
