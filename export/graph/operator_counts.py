"""What a graph is made of, before an engine sees it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import onnx

from swinunet.export.graph.attention_constants import constant_nodes

# A graph of fixed height and width has no use for these: they compute shapes at run time.
SHAPE_ARITHMETIC = frozenset({"Shape", "Size", "ConstantOfShape", "Range", "Expand", "NonZero", "If", "Loop"})


@dataclass(frozen=True)
class OperatorCounts:
    """nodes: number of nodes by operator, most frequent first, without those that depend on constants alone, which an
    engine computes when it loads the graph. parameters_mb: of all constants, 10 ** 6 bytes."""

    nodes: dict[str, int]
    parameters_mb: float

    @property
    def total(self) -> int:
        """Number of nodes."""
        return sum(self.nodes.values())

    @property
    def shape_arithmetic(self) -> dict[str, int]:
        """Nodes that compute shapes at run time; none in a folded graph."""
        return {operator: count for operator, count in self.nodes.items() if operator in SHAPE_ARITHMETIC}

    def __str__(self) -> str:
        """One line: `494 nodes (123 MatMul, 105 Add, ...), 117.0 MB`."""
        listed = ", ".join(f"{count} {operator}" for operator, count in self.nodes.items())
        return f"{self.total} nodes ({listed}), {self.parameters_mb:.1f} MB"


def count_operators(path: Path) -> OperatorCounts:
    """Count the nodes of the ONNX graph at `path`."""
    graph = onnx.load(str(path)).graph
    nodes = Counter(node.op_type for node in graph.node)
    nodes.subtract(node.op_type for node in constant_nodes(graph))
    size = sum(len(tensor.SerializeToString()) for tensor in graph.initializer)
    return OperatorCounts(dict((+nodes).most_common()), size / 1e6)
