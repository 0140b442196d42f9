"""A result as tables of text, for the terminal and for Markdown alike."""

from __future__ import annotations

import math
from operator import attrgetter

from swinunet.benchmarks.measure.chain import STAGES, ChainResult
from swinunet.benchmarks.measure.figures import Row, Spread
from swinunet.benchmarks.measure.gpu import GpuResult
from swinunet.benchmarks.measure.subject import STANDARD, spec_name
from swinunet.benchmarks.reports.result import CallsRow, EngineRows, Result
from swinunet.benchmarks.reports.verdict import goals
from swinunet.benchmarks.reports.wording import NONE, number, percent_text, spread_text
from swinunet.foundation.tables import Table
from swinunet.serving.canary import MIN_FOREGROUND_AGREEMENT


def tables(result: Result) -> list[Table]:
    """The verdict, then everything it rests on."""
    rows = [(each, row) for each in result.engines for row in each.rows]
    found = [_verdict(result), _engines(result, rows)]
    if result.plan.hardware:
        found.append(_peaks(result))
    if result.triton:
        found.append(_triton(result.triton))
    if result.gpu.rows:
        found.append(_gpu(result.gpu))
    if result.wire:
        found.append(_wire(result))
    if result.chain and result.chain.jobs:
        found.append(_chain(result.chain))
    return found


def _verdict(result: Result) -> Table:
    standard = result.subject.spec.name == spec_name(STANDARD)
    title = "Verdict" if standard else f"Verdict (the goals are those of the recipe {STANDARD}, not of this network)"
    rows = [(each.text, each.found, each.verdict) for each in goals(result)]
    return Table(title, ("goal", "found", "reached"), rows)


def _peaks(result: Result) -> Table:
    heads = ("precision", "GFLOP/s", "library")
    rows = [
        (peak.precision, spread_text(peak.spread), peak.library)
        if peak.spread
        else (peak.precision, NONE, f"not measured: {result.peaks_error}")
        for peak in result.peaks.values()
    ]
    return Table("Matrix-multiply peak of this machine (1024 x 1024 x 1024)", heads, rows)


def _gpu(gpu: GpuResult) -> Table:
    heads = ("how", "batch", "p50 ms", "slices/s", "roofline ms", "bound by", "of the roofline", "GFLOP", "GB")
    rows = []
    for row in gpu.rows:
        spread = Spread(tuple(row.p50_ms)) if row.p50_ms else None
        speed = Spread(tuple(1e3 * row.batch / each for each in row.p50_ms)) if row.p50_ms else None
        share = Spread(tuple(row.roofline_ms / each for each in row.p50_ms)) if row.p50_ms else None
        figures = (spread_text(spread), spread_text(speed), number(row.roofline_ms), row.bound, percent_text(share))
        rows.append((row.title, str(row.batch), *figures, number(row.gflop), number(row.gb)))
    return Table(f"On the GPU: {gpu.description}", heads, rows)


def _wire(result: Result) -> Table:
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
        spread, own = chain.spread(stage), chain.own(stage)
        share = Spread(tuple(job.exposed_s[stage] / job.wall_s for job in chain.jobs))
        rows.append((stage, spread_text(spread), percent_text(share), spread_text(own)))
    rows.append(("all", spread_text(chain.wall), "100%", NONE))
    title = f"The whole chain: {chain.slices} DICOM slices of 512 x 512 to SEG, NIfTI, PNG and JSON"
    return Table(title, ("stage", "s of the wall time", "share", "s by itself"), rows)


def remark(row: Row) -> str:
    """Why a row has no figures, or why its figures are worth nothing; else an empty text."""
    if row.error is not None:
        return f"not measured: {row.error}"
    # Labels that differ are foreground in one of the two, so this counts every difference, however much is background.
    foreground = row.tally.foreground_agreement
    if foreground is not None and foreground < MIN_FOREGROUND_AGREEMENT:
        return "WRONG: its labels are not PyTorch's"
    return ""


def _seconds(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"


def _agreement(share: float | None) -> str:
    """In percent, rounded down: 100 means every pixel."""
    return NONE if share is None else f"{math.floor(share * 1e5) / 1e3:g}"


def _labels(row: Row) -> str:
    if not row.measured or not row.tally.pixels:
        return NONE
    return f"{_agreement(row.tally.agreement)} / {_agreement(row.tally.foreground_agreement)}"


def _dice(row: Row) -> str:
    return NONE if row.dice is None else f"{row.dice:.4f}"


def _loading(row: Row) -> str:
    return NONE if row.load_s is None else f"{_seconds(row.import_s)} + {_seconds(row.load_s)}"


def _rounds(row: Row) -> str:
    """How often the row was measured."""
    return str(len(row.samples)) if row.measured else NONE


def _memory(row: Row) -> str:
    return f"{row.peak_mib:.0f}" if row.measured else NONE


def _latency(row: Row) -> tuple[str, ...]:
    figures = (attrgetter(name) for name in ("p50_ms", "p95_ms", "p99_ms", "slices_per_s"))
    return tuple(spread_text(row.spread(figure)) for figure in figures)


_LATENCY = ("p50 ms", "p95 ms", "p99 ms", "slices/s")


def _engines(result: Result, rows: list[tuple[EngineRows, Row]]) -> Table:
    """An engine that did not run has one row, with the reason."""
    scored = "Dice" if result.data else "labels = PyTorch's, %"
    heads = (
        "engine",
        "batch",
        "rounds",
        *_LATENCY,
        "x PyTorch",
        "of the peak",
        "import + load s",
        "peak MiB",
        scored,
        "remark",
    )
    cells = []
    for each, row in rows:
        if each.rows[0].error is not None and row is not each.rows[0]:
            continue
        batch = NONE if each.rows[0].error is not None else str(row.size)
        ratio = row.ratio(result.baseline(row.size), lambda sample: sample.slices_per_s)
        cells.append(
            (
                row.title,
                batch,
                _rounds(row),
                *_latency(row),
                spread_text(ratio),
                percent_text(result.peak_share(each.engine, row)),
                _loading(row),
                _memory(row),
                _dice(row) if result.data else _labels(row),
                remark(row),
            )
        )
    return _without_empty_remarks(Table("Engines", heads, cells))


def _triton(rows: list[CallsRow]) -> Table:
    heads = (
        "load",
        "callers",
        "rounds",
        *_LATENCY,
        "mean batch",
        "queue ms",
        "share of bare engine",
        "callers' CPU",
        "peak MiB",
    )
    cells = []
    for row in rows:
        mean_batch, queue, cpu = (row.spread(attrgetter(name)) for name in ("mean_batch", "queue_ms", "caller_cpu"))
        share = percent_text(row.spread(attrgetter("share_of_bare")))
        cells.append(
            (
                row.calls.title,
                str(row.size),
                _rounds(row),
                *_latency(row),
                spread_text(mean_batch),
                spread_text(queue),
                share,
                percent_text(cpu),
                _memory(row),
                _labels(row),
                remark(row),
            )
        )
    return _without_empty_remarks(Table("Through Triton", (*heads, "labels = PyTorch's, %", "remark"), cells))


def _without_empty_remarks(table: Table) -> Table:
    if any(row[-1] for row in table.rows):
        return table
    return Table(table.title, table.heads[:-1], [row[:-1] for row in table.rows])
