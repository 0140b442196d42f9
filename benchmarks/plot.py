"""latency.png: how long one request takes, how many slices a second come out, and the memory it needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmarks.figures import Row, Spread
from benchmarks.runner import Result
from benchmarks.tables import number, remark

_COLOURS = ("#8c8c8c", "#3b6fb6", "#2a9d8f", "#e07b39", "#9b5fc0", "#c0475b", "#5f7f3f", "#b59a2a")  # by engine
_TRITON_COLOUR = "#76b900"
_GAP = 1.1  # rows of space above a group, for its head


@dataclass(frozen=True)
class _Line:
    """One line of the plot. y: from the top, in rows. group: the head above it, where it is the first of its group."""

    row: Row
    label: str
    colour: str
    group: str
    y: float


def plot(result: Result, path: Path) -> None:
    """Draw every measured row of `result` into `path` (.png)."""
    lines = _lines(result)
    height = lines[-1].y if lines else 1.0
    figure = Figure(figsize=(13, 2.0 + 0.34 * height), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    latency, throughput, memory = figure.subplots(1, 3, sharey=True, width_ratios=(5, 5, 3))
    for line in lines:
        _draw_latency(latency, line)
        _draw_throughput(throughput, line, _aside(result, line.row))
        _draw_memory(memory, line)
    _dress(latency, "Latency of a request", "ms, log scale; each round's p50 (dots) and p95 (ticks)")
    _dress(throughput, "Throughput", "slices per second; median, lowest to highest round")
    _dress(memory, "Peak memory", "MiB resident")
    if lines:
        _scale(latency, throughput, memory, lines)
    machine = result.machine
    figure.suptitle(
        f"{result.subject.title}, {result.plan.rounds} interleaved rounds, threads: {result.threads}, "
        f"{machine.started[:10]}\n{machine.cpu}",
        fontsize=10,
    )
    figure.savefig(path, format="png")


def _lines(result: Result) -> list[_Line]:
    """Grouped by batch, so that what is comparable stands together; Triton last."""
    groups: list[tuple[str, list[tuple[Row, str, str]]]] = []
    for index, batch in enumerate(result.plan.batches):
        rows = [(each.rows[index], _COLOURS[at % len(_COLOURS)]) for at, each in enumerate(result.engines)]
        groups.append((f"batch {batch}", [(row, row.title, colour) for row, colour in rows]))
    if result.served:
        callers = [(row, f"{row.size} caller{'s' * (row.size > 1)}", _TRITON_COLOUR) for row in result.triton]
        groups.append((f"Triton, {result.served.engine} {result.served.precision}", callers))
    lines: list[_Line] = []
    y = -1.0
    for group, members in groups:
        measured = [member for member in members if member[0].measured]
        for at, (row, label, colour) in enumerate(measured):
            y += 1 if at else 1 + _GAP
            wrong = " (WRONG LABELS)" if remark(row) else ""
            lines.append(_Line(row, label + wrong, colour, "" if at else group, y))
    return lines


def _draw_latency(axes: Axes, line: _Line) -> None:
    p50, p95 = line.row.spread(lambda sample: sample.p50_ms), line.row.spread(lambda sample: sample.p95_ms)
    assert p50 is not None
    assert p95 is not None
    axes.plot([p50.low, p95.high], [line.y, line.y], color=line.colour, alpha=0.35, linewidth=6, solid_capstyle="butt")
    axes.plot(p95.rounds, [line.y] * len(p95.rounds), "|", color=line.colour, markersize=11, markeredgewidth=1.6)
    axes.plot(p50.rounds, [line.y] * len(p50.rounds), "o", color=line.colour, markersize=5, markeredgecolor="white")
    _write(axes, p95.high, line.y, number(p50.median))


def _draw_throughput(axes: Axes, line: _Line, aside: str) -> None:
    speed = line.row.spread(lambda sample: sample.slices_per_s)
    assert speed is not None
    whisker = [[speed.median - speed.low], [speed.high - speed.median]]
    axes.barh(line.y, speed.median, 0.72, color=line.colour, xerr=whisker, error_kw={"ecolor": "#333333", "capsize": 3})
    _write(axes, speed.high, line.y, number(speed.median) + aside)


def _draw_memory(axes: Axes, line: _Line) -> None:
    axes.barh(line.y, line.row.peak_mib, 0.72, color=line.colour)
    _write(axes, line.row.peak_mib, line.y, f"{line.row.peak_mib:.0f}")


def _write(axes: Axes, x: float, y: float, text: str) -> None:
    """`text` just right of a mark."""
    axes.annotate(text, (x, y), (6, 0), textcoords="offset points", va="center", fontsize=8)


def _dress(axes: Axes, title: str, label: str) -> None:
    axes.set_title(title, loc="left", fontweight="bold", fontsize=11)
    axes.set_xlabel(label, fontsize=9)
    axes.grid(axis="x", which="both", color="#e9e9e9", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)


def _scale(latency: Axes, throughput: Axes, memory: Axes, lines: list[_Line]) -> None:
    """Room for the figures right of the marks, names and group heads on the left."""
    latency.set_yticks([line.y for line in lines], [line.label for line in lines], fontsize=9)
    latency.set_ylim(lines[-1].y + 0.7, lines[0].y - 1.4)
    latency.set_xscale("log")
    low, high = latency.get_xlim()
    latency.set_xlim(low, high * (high / low) ** 0.12)
    latency.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    latency.xaxis.set_minor_formatter(NullFormatter())
    for line in lines:
        if line.group:
            at = latency.get_yaxis_transform()
            latency.text(-0.015, line.y - 0.9, line.group, transform=at, ha="right", va="center", fontweight="bold")
    throughput.set_xlim(0, throughput.get_xlim()[1] * 1.3)
    memory.set_xlim(0, memory.get_xlim()[1] * 1.15)


def _aside(result: Result, row: Row) -> str:
    """Beside the slices a second: how many times PyTorch's at this batch, or the batch that Triton formed."""
    if row in result.triton:
        formed = row.spread(lambda sample: sample.mean_batch)
        return f"   in batches of {formed.median:.1f}" if formed else ""
    baseline = result.baseline(row.size)
    ratio: Spread | None = None if row is baseline else row.ratio(baseline, lambda sample: sample.slices_per_s)
    return f"   {number(ratio.median)} x PyTorch" if ratio else ""
