"""What tuning found: a row a way, the picture (latency against throughput), and why the winner won."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from swinunet.benchmarks.measure.samples import LatencySample
from swinunet.benchmarks.reports.numbers import number, spread_text
from swinunet.benchmarks.reports.report import Picture, Report
from swinunet.benchmarks.tuning.goal import memory_mb
from swinunet.benchmarks.tuning.measuring import Trial
from swinunet.benchmarks.tuning.search import TuningResult
from swinunet.benchmarks.tuning.tuned_config import figures
from swinunet.foundation.tables import Table

_COLOURS = ("#2a9d8f", "#3b6fb6", "#e07b39", "#9b5fc0", "#b59a2a", "#c0475b")  # one an engine
_HEADS = ("way of serving", "callers", "slices/s", "p50 ms", "p95 ms", "MB", "remark")


def tuning_report(result: TuningResult) -> Report:
    """The report, ready to be shown and written as tune.md, tune.json and tune.png."""
    title = f"{result.version.title} tuned for the {result.goal.text}"
    return Report(
        name="tune",
        title=title,
        heading=f"{result.version.title} for the {result.goal.text}",
        command="swinunet tune",
        run=result.run,
        quick=False,
        tables=[Table("Ways of serving", _HEADS, [_row(result, trial) for trial in result.trials])],
        figures={
            "goal": result.goal.text,
            "winner": figures(result),
            "trials": [_json(each) for each in result.trials],
        },
        footnotes=list(_notes(result)),
        pictures={"tune.png": Picture(partial(plot_tuning, result), "Latency against throughput of every measurement")},
        subject="Tuning",
    )


def with_gain(report: Report, result: TuningResult) -> Report:
    """Another report with what tuning a model gained over what is served by default."""
    shown = [result.default, *([result.winner] if result.winner and result.winner is not result.default else [])]
    title = f"{result.version.title} tuned for the {result.goal.text}"
    return replace(
        report,
        tables=[*report.tables, Table(title, _HEADS, [_row(result, trial) for trial in shown])],
        figures={**report.figures, "tuning": figures(result)},
        footnotes=[*report.footnotes, f"Tuned: {why_it_won(result)}"],
    )


def without_gain(report: Report, reason: str) -> Report:
    """Another report that says why tuning found nothing."""
    footnotes = [*report.footnotes, f"Not tuned: {reason}"]
    return replace(report, figures={**report.figures, "tuning": None}, footnotes=footnotes)


def plot_tuning(result: TuningResult, path: Path) -> None:
    """Latency against throughput of every measurement; the front, which nothing beats in both, is drawn as a line."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    figure = Figure(figsize=(9, 6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    engines = list(dict.fromkeys(trial.candidate.engine.name for trial in result.trials))
    for trial in result.trials:
        samples = list(trial.samples.values())
        if samples:
            colour = _COLOURS[engines.index(trial.candidate.engine.name) % len(_COLOURS)]
            first = next(
                each for each in result.trials if each.candidate.engine == trial.candidate.engine and each.samples
            )
            label = trial.candidate.engine.name if trial is first else None
            points = [sample.slices_per_s for sample in samples], [sample.p95_ms for sample in samples]
            axes.plot(*points, "o", color=colour, alpha=0.55, markersize=5, label=label)
    front = front_of([sample for trial in result.trials for sample in trial.usable])
    axes.plot([each.slices_per_s for each in front], [each.p95_ms for each in front], color="#333333", label="front")
    for marked, word, mark in ((result.default, "default", "s"), (result.winner, "winner", "*")):
        if marked and (sample := result.best_of(marked)):
            axes.plot(sample.slices_per_s, sample.p95_ms, mark, color="#111111", markersize=13, fillstyle="none")
            axes.annotate(word, (sample.slices_per_s, sample.p95_ms), (-10, 10), textcoords="offset points", ha="right")
    if result.goal.latency_ms is not None:
        axes.axhline(result.goal.latency_ms, color="#c0475b", linestyle="--", label="latency allowed")
    axes.set_xlabel("slices per second (to the right is better)")
    axes.set_ylabel("95 of 100 requests within, ms (lower is better)")
    axes.set_yscale("log")
    for formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_title(f"{result.version.title}\n{result.run.machine.cpu}, {result.run.machine.started[:10]}", fontsize=10)
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8, frameon=False)
    figure.savefig(path, format="png")


def front_of(samples: list[LatencySample]) -> list[LatencySample]:
    """The measurements that no other beats in both throughput and latency, from the slowest to the fastest."""
    front: list[LatencySample] = []
    for sample in sorted(samples, key=lambda each: (-each.slices_per_s, each.p95_ms)):
        if not front or sample.p95_ms < front[-1].p95_ms:
            front.append(sample)
    return front[::-1]


def why_it_won(result: TuningResult) -> str:
    """The winner against the next best and the default, in a sentence."""
    winner = result.winner
    assert winner is not None
    sample = result.best_of(winner)
    assert sample is not None
    found = f"{winner.candidate.title}: {number(sample.slices_per_s)} slices/s at {winner.callers_of(sample)} callers"
    if winner is result.default:
        return f"{found}; nothing else was clearly faster within the goal, so what is served by default stays."
    others = [(best, each) for each in result.trials if each is not winner and (best := result.best_of(each))]
    text = found
    if others:
        next_best, trial = max(others, key=lambda pair: pair[0].slices_per_s)
        text += f", {sample.slices_per_s / next_best.slices_per_s:.2f} times the next ({trial.candidate.title})"
    if result.gain:
        default = result.default.candidate.title
        text += f"; in turn with the default ({default}) {spread_text(result.gain)} times as many"
    return f"{text}."


def _row(result: TuningResult, trial: Trial) -> tuple[str, ...]:
    best = result.best_of(trial)
    sample = best or min(trial.usable, key=lambda each: each.p95_ms, default=None)
    if sample is None:
        return (trial.candidate.title, "-", "-", "-", "-", "-", trial.error or "WRONG: its labels are not float32's")
    marks = [word for each, word in ((result.winner, "winner"), (result.default, "default")) if each is trial]
    if best is None:
        marks.append("beyond the limit")
    numbers = (sample.slices_per_s, sample.p50_ms, sample.p95_ms, memory_mb(sample))
    return (trial.candidate.title, str(trial.callers_of(sample)), *map(number, numbers), ", ".join(marks))


def _notes(result: TuningResult) -> Iterator[str]:
    yield why_it_won(result)
    yield "Each row at the number of callers that was best; all are in tune.json and in the picture."
    peaks = ", ".join(f"{name} {number(peak)}" for name, peak in result.bounds.peaks.items())
    if peaks and result.bounds.gflop:
        void = f"; they bound nothing, as {result.bounds.void}" if result.bounds.void else ""
        yield f"Matrix peaks, GFLOP/s: {peaks}; a slice is {number(result.bounds.gflop)} GFLOP{void}."
    for each in result.left_out:
        yield f"Not measured: {each.title}: {each.reason}."


def _json(trial: Trial) -> dict[str, object]:
    samples = {
        str(callers): {
            "slices_per_s": sample.slices_per_s,
            "p50_ms": sample.p50_ms,
            "p95_ms": sample.p95_ms,
            "memory_mb": memory_mb(sample),
        }
        for callers, sample in trial.samples.items()
    }
    foreground = trial.comparison.foreground_agreement
    return {
        "title": trial.candidate.title,
        "callers": samples,
        "foreground_agreement": foreground,
        "error": trial.error,
        "stopped": trial.stopped,
    }
