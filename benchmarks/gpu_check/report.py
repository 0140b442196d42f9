"""The report folder of `make gpu-check`: gpu-check.md, .json, .png and .html, small enough to be sent."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from swinunet.benchmarks.gpu_check.result import EngineRow, GpuCheckResult, MeasuredBatch
from swinunet.benchmarks.gpu_check.settings import engine_precision
from swinunet.benchmarks.inference.charts import COLOURS, OTHER_COLOUR, dress, powers_of_two
from swinunet.benchmarks.reports.numbers import NONE, number
from swinunet.benchmarks.reports.report import Picture, Report
from swinunet.foundation.errors import InputError
from swinunet.foundation.tables import Table

NAME = "gpu-check"
_FILES = tuple(f"{NAME}.{kind}" for kind in ("md", "json", "png", "html"))
_EXPENDABLE = tuple(f"{NAME}.{kind}" for kind in ("html", "png"))  # what goes first from a folder that is too large


def gpu_check_report(result: GpuCheckResult) -> Report:
    """Tables of outcomes, of speed and of the peaks, and the picture of throughput over the batch."""
    where = result.gpu or "a machine without a GPU"
    return Report(
        name=NAME,
        title=f"GPU check on {where}",
        heading=f"GPU check on {where}",
        command="make gpu-check",
        run=result.run,
        quick=result.gpu is None,
        tables=[_outcomes(result), _speed(result), _peaks(result)],
        figures=result.to_json(),
        footnotes=_footnotes(result),
        descriptions=[f"{row.model}, {row.title}: {row.description}" for row in result.rows if row.description],
        pictures={
            f"{NAME}.png": Picture(partial(draw_throughput, result), "Slices per second of each engine over the batch")
        },
    )


def require_own_folder(folder: Path) -> None:
    """Raises InputError for a folder that holds anything but an earlier report: the whole folder is sent."""
    others = sorted(path.name for path in folder.iterdir() if path.name not in _FILES) if folder.is_dir() else []
    if others:
        raise InputError(
            f"{folder} holds {others[0]} and must hold this report only, as the whole folder is sent; choose another "
            "with --output"
        )


def keep_small(folder: Path, max_bytes: int) -> list[str]:
    """Remove the page, then the picture, until the folder holds at most `max_bytes`; the names of what was removed.

    Raises InputError if Markdown and JSON alone are more.
    """
    removed = []
    for name in _EXPENDABLE:
        if _size(folder) > max_bytes and (folder / name).is_file():
            (folder / name).unlink()
            removed.append(name)
    if (size := _size(folder)) > max_bytes:
        raise InputError(f"{folder} holds {size} bytes, and at most {max_bytes} can be sent; send {NAME}.md alone")
    return removed


def draw_throughput(result: GpuCheckResult, path: Path) -> None:
    """Slices a second over the batch, a panel for each model; the dotted lines are the rooflines."""
    models = [model.title for model in result.models]
    figure = Figure(figsize=(6.5 * max(1, len(models)), 5.6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{result.gpu or 'No GPU: CPU rows only'}, {result.run.machine.started[:10]}", fontsize=10)
    for axes, model in zip(figure.subplots(1, max(1, len(models)), squeeze=False)[0], models, strict=False):
        _draw_model(axes, model, [row for row in result.rows_of(model) if row.batches], result.batches)
    figure.savefig(path, format="png")


def _draw_model(axes: Axes, model: str, rows: Iterable[EngineRow], sizes: tuple[int, ...]) -> None:
    limits: dict[str, list[MeasuredBatch]] = {}
    for row in rows:
        precision = engine_precision(row.engine)
        colour = COLOURS.get(row.engine.rpartition("-")[0], OTHER_COLOUR)
        style = "--" if precision == "fp16" else "-"
        label = row.title + (" (BEYOND TOLERANCE)" if row.outcome == "failed" else "")
        speeds = [each.slices_per_s for each in row.batches]
        axes.plot([each.batch for each in row.batches], speeds, style, color=colour, marker="o", ms=4, label=label)
        known = [each for each in row.batches if each.roofline_ms]
        limits[precision] = max(limits.get(precision, []), known, key=len)
    for precision, known in limits.items():
        if known:
            speeds = [1e3 * each.batch / (each.roofline_ms or 1) for each in known]
            colour = {"fp32": "#333333"}.get(precision, "#999999")
            axes.plot([each.batch for each in known], speeds, ":", color=colour, label=f"roofline {precision}")
    dress(axes, f"{model}: slices per second", "batch", grid="both")
    powers_of_two(axes, sizes)
    if limits:
        axes.set_yscale("log")
        axes.legend(fontsize=8, frameon=False)
    else:
        axes.text(0.5, 0.5, "nothing was measured", ha="center", transform=axes.transAxes)


def _outcomes(result: GpuCheckResult) -> Table:
    heads = (
        *("model", "engine", "outcome", "largest error", "labels that differ", "built in, s"),
        *("most slices/s", "at batch", "of the roofline", "what it lacks, or what went wrong"),
    )
    return Table("Every engine with every model", heads, [_outcome(row) for row in result.rows])


def _outcome(row: EngineRow) -> tuple[str, ...]:
    fastest, differing = row.fastest(), row.worst("differing_labels")
    speed = (NONE, NONE, NONE)
    if fastest is not None:
        speed = (number(fastest.slices_per_s), str(fastest.batch), _share(fastest))
    compared = (number(row.worst("max_probability_error")), NONE if differing is None else str(differing))
    return (row.model, row.title, row.outcome, *compared, number(row.build_s), *speed, row.reason)


def _speed(result: GpuCheckResult) -> Table:
    heads = ("model", "engine", "batch", "p50 ms", "p95 ms", "slices/s", "roofline ms", "bound by", "of the roofline")
    rows = []
    for row in result.rows:
        for each in row.batches:
            times = (number(each.p50_ms), number(each.p95_ms), number(each.slices_per_s), number(each.roofline_ms))
            rows.append((row.model, row.title, str(each.batch), *times, each.bound or NONE, _share(each)))
    return Table("Speed at each batch", heads, rows)


def _peaks(result: GpuCheckResult) -> Table:
    rows = [
        (precision, number(peaks["gflop_per_s"]), number(peaks["gb_per_s"]))
        for precision, peaks in result.peaks.items()
    ]
    where = result.peaks_of or "not measured"
    return Table(f"Measured peaks: {where}", ("precision", "GFLOP/s of a matrix product", "GB/s of a copy"), rows)


def _footnotes(result: GpuCheckResult) -> list[str]:
    notes = [
        "Outcome: outputs compared with the checkpoint in float32 on the CPU, on real slices at several batches, with "
        "the tolerances by which `swinunet export` promotes a model. Largest error: of a probability.",
        "Times: of a whole batch from host memory to host memory, copies to the GPU and back included. Roofline: the "
        "longer of its operations at the measured peak of a matrix product and its bytes at the measured peak of a "
        "copy; bytes are weights once and what each layer reads and writes, so an engine that fuses layers or a cache "
        "can beat it.",
        "A compiled network is measured at fewer batches, as each is compiled anew.",
        *(f"{model.title}: {model.slices_from}." for model in result.models if model.slices_from),
    ]
    if result.roofline_reason:
        notes.append(f"The roofline is not known everywhere: {result.roofline_reason}.")
    if result.gpu is None:
        notes.append("No GPU was found: nothing in this report ran on one.")
    return notes


def _share(each: MeasuredBatch) -> str:
    return NONE if each.share_of_roofline is None else f"{each.share_of_roofline:.0%}"


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
