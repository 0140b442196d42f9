"""The report of `swinunet benchmark`: report.md, report.json and three pictures."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

from swinunet.benchmarks.inference.charts import plot_chain, plot_engines, plot_triton
from swinunet.benchmarks.inference.explanations import explanations
from swinunet.benchmarks.inference.goals import goals
from swinunet.benchmarks.inference.result import BenchmarkResult, MeasuredEngine, MeasuredInference
from swinunet.benchmarks.inference.tables import tables
from swinunet.benchmarks.measure.measurements import spread_json
from swinunet.benchmarks.reports.report import Picture, Report


def benchmark_report(result: BenchmarkResult) -> Report:
    """Everything that a run found."""
    spec = result.version.spec
    height, width = spec.input_size
    rows = [each.rows[0] for each in result.engines] + list(result.triton[:1])
    return Report(
        name="report",
        title=result.version.title,
        heading=result.version.title,
        command="swinunet benchmark",
        run=result.run,
        quick=result.settings.quick,
        tables=tables(result),
        figures=_figures(result),
        footnotes=explanations(result),
        schema_version=2,
        introduction=f"Input {spec.in_channels} x {height} x {width}, {spec.num_classes} classes.",
        descriptions=[f"{row.title}: {row.description or row.remark}" for row in rows],
        pictures={
            "engines.png": Picture(
                partial(plot_engines, result), "Latency, throughput over the batch, and peak memory of each engine"
            ),
            "triton.png": Picture(
                partial(plot_triton, result),
                "Throughput, latency and time in Triton's queue over the number of callers",
            ),
            "chain.png": Picture(
                partial(plot_chain, result), "Time of each stage from DICOM to SEG, of the whole and by itself"
            ),
        },
    )


def _figures(result: BenchmarkResult) -> dict[str, Any]:
    settings, run = result.settings, result.run
    rounds = {"rounds": run.rounds, "rounds_s": run.rounds_s, "load_s": run.load_s}
    return {
        "model": {"name": result.version.spec.name, "version": result.version.folder.name},
        "plan": {**rounds, "seconds": settings.seconds, "threads": result.threads, "quick": settings.quick},
        "verdict": [asdict(goal) for goal in goals(result)],
        "gflop": result.gflop or None,
        "trained": result.trained,
        "slices": result.slices_from,
        "process_mib": result.process_mib,
        "served": asdict(result.served) if result.served else None,
        "engines": [_engine(result, each, row) for each in result.engines for row in each.rows],
        "peaks": {name: {"gflop_per_s": peak.samples} for name, peak in result.peaks.items()},
        "triton": [{**asdict(row.load), **row.to_json()} for row in result.triton],
        "wire_bytes": asdict(result.wire) if result.wire else None,
        "chain": result.chain.to_json() if result.chain else None,
        "gpu": result.gpu.to_json(),
    }


def _engine(result: BenchmarkResult, each: MeasuredEngine, row: MeasuredInference) -> dict[str, Any]:
    engine = {"engine": each.engine.name, "precision": each.engine.precision, "key": each.engine.key}
    ratio = row.ratio(result.baseline(row.size), lambda sample: sample.slices_per_s)
    ratios = {"speed_ratio": spread_json(ratio), "share_of_peak": spread_json(result.peak_share(each.engine, row))}
    return {**engine, "batch": row.size, **row.to_json(), **ratios}
