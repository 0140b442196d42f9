"""The pictures: engines.png (speed and memory), triton.png (throughput and queue), chain.png (where the time goes)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from swinunet.benchmarks.inference.chain import STAGES, ChainResult
from swinunet.benchmarks.inference.result import BenchmarkResult, MeasuredEngine, MeasuredInference, MeasuredLoad
from swinunet.benchmarks.inference.settings import CallerLoad
from swinunet.benchmarks.measure.measurements import Spread
from swinunet.benchmarks.reports.numbers import number

# One colour an engine, one line style a precision.
COLOURS = {
    "pytorch": "#8c8c8c",
    "torch-compile": "#c0475b",
    "torchscript": "#b59a2a",
    "onnxruntime": "#3b6fb6",
    "openvino": "#2a9d8f",
    "onnxruntime-cuda": "#e07b39",
    "tensorrt": "#76b900",
}
OTHER_COLOUR = "#9b5fc0"
_STYLES = {"bf16": "--", "fp16": "-.", "int8": ":"}
_STAGE_COLOURS = {
    "read": "#b7c9e2",
    "decode": "#7fa3d1",
    "preprocess": "#4a79b8",
    "wire": "#f2c48d",
    "queue": "#e2955a",
    "compute": "#76b900",
    "restore": "#2a9d8f",
    "measure": "#6dbdb2",
    "judge": "#a5d8d1",
    "seg": "#9b5fc0",
    "nifti": "#c79ad9",
    "sr": "#b98ad6",
    "png": "#dcc4e6",
    "other": "#cfcfcf",
}
_DARK = ("preprocess", "restore", "seg")
_NARROW = 0.05  # share of the bar below which a stage's name would not fit


def plot_engines(result: BenchmarkResult, path: Path) -> None:
    """Batch 1 latency and memory as bars, throughput over the batch as lines, every measured engine."""
    measured = [each for each in result.engines if each.rows[0].measured]
    figure = _figure(result, (14, 2.6 + 0.34 * max(len(measured), 6)))
    latency, throughput, memory = figure.subplots(1, 3, width_ratios=(4, 6, 3))
    for y, each in enumerate(measured):
        _draw_latency(latency, each, y)
        _draw_throughput(throughput, each)
        _bar(memory, y, each.rows[0].peak_mib, _colour(each), f"{each.rows[0].peak_mib:.0f}")
    for axes in (latency, memory):
        axes.set_ylim(len(measured) - 0.4, -0.6)
    latency.set_yticks(range(len(measured)), [_label(each) for each in measured], fontsize=9)
    memory.set_yticks([])
    dress(latency, "Latency of one slice, ms", "p50 (bar, figure), p95 and p99 (ticks)", grid="x")
    dress(throughput, "Throughput, slices per second", "batch; median and range of the rounds", grid="both")
    dress(memory, "Peak memory, one slice, MiB", "resident", grid="x")
    powers_of_two(throughput, result.settings.batches)
    throughput.set_ylim(0, throughput.get_ylim()[1])
    for axes in (latency, memory):
        axes.set_xlim(0, axes.get_xlim()[1] * 1.18)
    if measured:
        throughput.legend(fontsize=8, frameon=False, ncols=2, loc="upper left", bbox_to_anchor=(0, -0.16))
    figure.savefig(path, format="png")


def _draw_latency(axes: Axes, each: MeasuredEngine, y: int) -> None:
    row = each.rows[0]
    p50, p95, p99 = (_known(row, name) for name in ("p50_ms", "p95_ms", "p99_ms"))
    _bar(axes, y, p50.median, _colour(each), "", alpha=0.85)
    axes.plot([p95.median, p99.median], [y, y], "|-", color="#333333", markersize=9, linewidth=0.8)
    _write(axes, max(p50.median, p99.median), y, number(p50.median))


def _draw_throughput(axes: Axes, each: MeasuredEngine) -> None:
    rows = [row for row in each.rows if row.measured]
    _line(axes, rows, _colour(each), _STYLES.get(each.engine.precision, "-"), each.engine.title)


def plot_triton(result: BenchmarkResult, path: Path) -> None:
    """Throughput, latency and queue time over the callers, with dynamic batching on and off."""
    figure = _figure(result, (14, 4.6))
    throughput, latency, queue = figure.subplots(1, 3)
    groups: dict[str, list[MeasuredLoad]] = {}
    for row in result.triton:
        if row.measured:
            groups.setdefault(row.load.title, []).append(row)
    for title, rows in groups.items():
        colour, style = _load_style(rows[0].load)
        _line(throughput, rows, colour, style, title)
        _line(latency, rows, colour, style, title, "p50_ms")
        if rows[0].samples[0].queue_ms is not None:
            _line(queue, rows, colour, style, title, "queue_ms")
    bare = [row for row in result.triton if row.measured and row.load == CallerLoad(row.size)]
    if bare and bare[0].samples[0].bare_slices_per_s:
        _line(throughput, bare, "#333333", ":", "bare engine at the batch formed", "bare_slices_per_s")
    dress(throughput, "Throughput, slices per second", "callers", grid="both")
    dress(latency, "Latency of a request, p50, ms", "callers", grid="both")
    dress(queue, "Time in Triton's queue, mean, ms", "callers", grid="both")
    sizes = sorted({row.size for row in result.triton})
    for axes in (throughput, latency, queue):
        powers_of_two(axes, sizes)
        axes.set_ylim(0, axes.get_ylim()[1] * 1.05)
    if groups:
        handles, labels = throughput.get_legend_handles_labels()
        figure.legend(handles, labels, fontsize=8, frameon=False, ncols=5, loc="outside lower center")
    figure.savefig(path, format="png")


def _load_style(load: CallerLoad) -> tuple[str, str]:
    """Colour and line style."""
    if load.generator != "ours":
        return "#9b5fc0", "-."
    if load.transport != "gRPC":
        return "#e07b39", "--"
    return ("#76b900", "-") if load.batching else ("#3b6fb6", "-")


def plot_chain(result: BenchmarkResult, path: Path) -> None:
    """Every job's wall time by stage as a stacked bar, and under it what each stage took by itself."""
    chain = result.chain
    jobs = chain.samples if chain else []
    figure = _figure(result, (14, 5.2))
    stacked, own = figure.subplots(2, 1, height_ratios=(3, 2))
    if chain and jobs:
        for y in range(len(jobs)):
            _stack(stacked, chain, y)
        stacked.set_yticks(range(len(jobs)), [f"round {y + 1}" for y in range(len(jobs))], fontsize=9)
        stacked.set_ylim(len(jobs) - 0.4, -0.6)
        _own(own, chain)
        handles, labels = stacked.get_legend_handles_labels()
        known = dict(zip(labels, handles, strict=True))
        figure.legend(
            known.values(), known.keys(), fontsize=8, frameon=False, ncols=len(known), loc="outside lower center"
        )
    slices = f"{chain.slices} DICOM slices" if chain else "not measured"
    share = f"; the network computes {chain.compute_share.median:.0%} of it" if chain and jobs else ""
    dress(stacked, f"Wall time of the whole chain, {slices}{share}", "s; each moment counted once", grid="x")
    dress(own, "Each stage by itself", "s, median; stages overlap", grid="y")
    figure.savefig(path, format="png")


def _stack(axes: Axes, chain: ChainResult, y: int) -> None:
    job, left = chain.samples[y], 0.0
    for stage, seconds in job.exposed_s.items():
        axes.barh(y, seconds, 0.66, left=left, color=_STAGE_COLOURS[stage], label=stage)
        if seconds > _NARROW * job.wall_s:
            at = (left + seconds / 2, y)
            ink = "white" if stage in _DARK else "black"
            axes.annotate(f"{stage}\n{seconds:.2f}", at, ha="center", va="center", fontsize=8, color=ink)
        left += seconds


def _own(axes: Axes, chain: ChainResult) -> None:
    spreads = [(stage, spread) for stage in STAGES if (spread := chain.own(stage)) is not None]
    for x, (stage, spread) in enumerate(spreads):
        whisker = [[spread.median - spread.low], [spread.high - spread.median]]
        axes.bar(x, spread.median, 0.66, color=_STAGE_COLOURS[stage], yerr=whisker, error_kw={"ecolor": "#333333"})
        axes.annotate(
            f"{spread.median:.2f}", (x, spread.high), (0, 3), textcoords="offset points", ha="center", fontsize=8
        )
    axes.set_xticks(range(len(spreads)), [stage for stage, _ in spreads], fontsize=9)
    axes.margins(y=0.22)


def _figure(result: BenchmarkResult, size: tuple[float, float]) -> Figure:
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    machine = result.run.machine
    figure.suptitle(
        f"{result.version.title}, interleaved rounds: {result.run.rounds}, threads: {result.threads}, "
        f"{machine.started[:10]}\n{machine.cpu}",
        fontsize=10,
    )
    return figure


def _line(
    axes: Axes, rows: Sequence[MeasuredInference], colour: str, style: str, label: str, figure: str = "slices_per_s"
) -> None:
    """A figure over the sizes of the rows, with the range of the rounds."""
    spreads = [_known(row, figure) for row in rows]
    medians = [spread.median for spread in spreads]
    below = [spread.median - spread.low for spread in spreads]
    above = [spread.high - spread.median for spread in spreads]
    axes.errorbar(
        [row.size for row in rows], medians, [below, above], color=colour, linestyle=style, marker="o", markersize=4,
        linewidth=1.6, elinewidth=0.8, capsize=2, label=label,
    )  # fmt: skip


def _known(row: MeasuredInference, figure: str) -> Spread:
    spread = row.spread(lambda sample: getattr(sample, figure))
    assert spread is not None
    return spread


def _bar(axes: Axes, y: float, value: float, colour: str, text: str, alpha: float = 1.0) -> None:
    axes.barh(y, value, 0.72, color=colour, alpha=alpha)
    if text:
        _write(axes, value, y, text)


def _write(axes: Axes, x: float, y: float, text: str) -> None:
    """`text` just right of a mark."""
    axes.annotate(text, (x, y), (6, 0), textcoords="offset points", va="center", fontsize=8)


def _label(each: MeasuredEngine) -> str:
    return each.engine.title + (" (WRONG LABELS)" if any(row.measured and row.remark for row in each.rows) else "")


def _colour(each: MeasuredEngine) -> str:
    return COLOURS.get(each.engine.loader, OTHER_COLOUR)


def dress(axes: Axes, title: str, label: str, grid: str) -> None:
    """Title, label of the x axis, and a pale grid along the axis `grid`."""
    axes.set_title(title, loc="left", fontweight="bold", fontsize=11)
    axes.set_xlabel(label, fontsize=9)
    axes.grid(axis=grid, color="#e9e9e9", linewidth=0.7)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def powers_of_two(axes: Axes, sizes: Sequence[int]) -> None:
    """An x axis of batches or callers, each of `sizes` with its number."""
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(list(sizes)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
