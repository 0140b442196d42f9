"""A result as tables of text, for the terminal and for Markdown alike."""

from __future__ import annotations

import math
from functools import partial
from operator import attrgetter, truediv

from swinunet.benchmarks.inference.chain import STAGES, ChainResult
from swinunet.benchmarks.inference.goals import RECIPE, goals
from swinunet.benchmarks.inference.gpu import GpuResult
from swinunet.benchmarks.inference.model_version import spec_name
from swinunet.benchmarks.inference.result import BenchmarkResult, MeasuredInference, MeasuredLoad
from swinunet.benchmarks.measure.measurements import Spread
from swinunet.benchmarks.reports.goals import verdict_table
from swinunet.benchmarks.reports.numbers import NONE, number, percent_text, spread_text
from swinunet.benchmarks.reports.report import table_with_remarks
from swinunet.foundation.tables import Table

_LATENCY = ("rounds", "p50 ms", "p95 ms", "p99 ms", "slices/s")
_LABELS = "labels = PyTorch's, %"


def tables(result: BenchmarkResult) -> list[Table]:
    """Which goals were reached, then everything that rests on."""
    found = [_goals(result), _engines(result)]
    if result.settings.hardware:
        found.append(_peaks(result))
    if result.triton:
        found.append(_triton(result.triton))
    if result.gpu.rows:
        found.append(_gpu(result.gpu))
    if result.wire:
        found.append(_wire(result))
    if result.chain and result.chain.samples:
        found.append(_chain(result.chain))
    return found


def _goals(result: BenchmarkResult) -> Table:
    stated_for = result.version.spec.name == spec_name(RECIPE)
    title = "Verdict" if stated_for else f"Verdict (the goals are those of the recipe {RECIPE}, not of this network)"
    return verdict_table(goals(result), title)


def _engines(result: BenchmarkResult) -> Table:
    """An engine that did not run has one row, with the reason."""
    scored = "Dice" if result.data else _LABELS
    heads = ("engine", "batch", *_LATENCY, "x PyTorch", "of the peak", "import + load s", "peak MiB", scored)
    rows = []
    for each, row in [(measured, row) for measured in result.engines for row in measured.rows]:
        missing = each.rows[0].error is not None
        if missing and row is not each.rows[0]:
            continue
        ratio = row.ratio(result.baseline(row.size), lambda sample: sample.slices_per_s)
        compared = (spread_text(ratio), percent_text(result.peak_share(each.engine, row)))
        labels = _dice(row) if result.data else _labels(row)
        batch = NONE if missing else str(row.size)
        rows.append((row.title, batch, *_latency(row), *compared, _loading(row), _memory(row), labels, row.remark))
    return table_with_remarks("Engines", (*heads, "remark"), rows)


def _peaks(result: BenchmarkResult) -> Table:
    rows = [
        (peak.precision, spread_text(peak.best), peak.library if peak.best else peak.remark)
        for peak in result.peaks.values()
    ]
    title = "Matrix-multiply peak of this machine (1024 x 1024 x 1024)"
    return Table(title, ("precision", "GFLOP/s", "library"), rows)


def _triton(loads: list[MeasuredLoad]) -> Table:
    shares = ("mean batch", "queue ms", "share of bare engine", "callers' CPU")
    heads = ("load", "callers", *_LATENCY, *shares, "peak MiB", _LABELS, "remark")
    rows = []
    for row in loads:
        mean_batch, queue, share, cpu = (
            row.spread(attrgetter(name)) for name in ("mean_batch", "queue_ms", "share_of_bare", "caller_cpu")
        )
        batches = (spread_text(mean_batch), spread_text(queue), percent_text(share), percent_text(cpu))
        load = (row.load.title, str(row.size))
        rows.append((*load, *_latency(row), *batches, _memory(row), _labels(row), row.remark))
    return table_with_remarks("Through Triton", heads, rows)


def _gpu(gpu: GpuResult) -> Table:
    heads = ("how", "batch", "p50 ms", "slices/s", "roofline ms", "bound by", "of the roofline", "GFLOP", "GB")
    rows = []
    for row in gpu.rows:
        milliseconds, speed, share = (
            Spread(tuple(map(figure, row.samples))) if row.samples else None
            for figure in (float, partial(truediv, 1e3 * row.batch), partial(truediv, row.roofline_ms))
        )
        figures = (spread_text(milliseconds), spread_text(speed), number(row.roofline_ms), row.bound)
        rows.append((row.title, str(row.batch), *figures, percent_text(share), number(row.gflop), number(row.gb)))
    return Table(f"On the GPU: {gpu.description}", heads, rows)


def _wire(result: BenchmarkResult) -> Table:
    wire = result.wire
    assert wire is not None
    cells = [
        ("gRPC, labels alone", f"{wire.request:,}", f"{wire.labels:,}"),
        ("gRPC, labels and probabilities", f"{wire.request:,}", f"{wire.probabilities:,}"),
        ("system shared memory, labels alone", f"{wire.shared_request:,}", f"{wire.shared_answer:,}"),
    ]
    return Table("Bytes on the wire for a slice", ("how", "request", "answer"), cells)


def _chain(chain: ChainResult) -> Table:
    rows = []
    for stage in STAGES:
        spread, own = chain.exposed(stage), chain.own(stage)
        share = Spread(tuple(job.exposed_s[stage] / job.wall_s for job in chain.samples))
        rows.append((stage, spread_text(spread), percent_text(share), spread_text(own)))
    rows.append(("all", spread_text(chain.wall), "100%", NONE))
    title = f"The whole chain: {chain.slices} DICOM slices of 512 x 512 to SEG, NIfTI, PNG and JSON"
    return Table(title, ("stage", "s of the wall time", "share", "s by itself"), rows)


def _seconds(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"


def _agreement(share: float | None) -> str:
    """In percent, rounded down: 100 means every pixel."""
    return NONE if share is None else f"{math.floor(share * 1e5) / 1e3:g}"


def _labels(row: MeasuredInference) -> str:
    if not row.measured or not row.comparison.pixels:
        return NONE
    return f"{_agreement(row.comparison.agreement)} / {_agreement(row.comparison.foreground_agreement)}"


def _dice(row: MeasuredInference) -> str:
    return NONE if row.dice is None else f"{row.dice:.4f}"


def _loading(row: MeasuredInference) -> str:
    return NONE if row.load_s is None else f"{_seconds(row.import_s)} + {_seconds(row.load_s)}"


def _memory(row: MeasuredInference) -> str:
    return f"{row.peak_mib:.0f}" if row.measured else NONE


def _latency(row: MeasuredInference) -> tuple[str, ...]:
    """How often it was measured, then latencies and throughput."""
    figures = (attrgetter(name) for name in ("p50_ms", "p95_ms", "p99_ms", "slices_per_s"))
    return (str(len(row.samples)) if row.measured else NONE, *(spread_text(row.spread(figure)) for figure in figures))
