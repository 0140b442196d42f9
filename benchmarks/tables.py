"""A result as tables of text, for the terminal and for Markdown alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.figures import Row, Spread
from benchmarks.machine import Machine
from benchmarks.runner import Result
from serving.canary import MIN_AGREEMENT, MIN_FOREGROUND_AGREEMENT

NONE = "-"
Column = tuple[str, Callable[[Result, Row], str]]


@dataclass(frozen=True)
class Table:
    """A title, the heads of the columns, and the rows."""

    title: str
    heads: tuple[str, ...]
    rows: list[tuple[str, ...]]


def tables(result: Result) -> list[Table]:
    """The engines, and Triton where it was asked for."""
    engine_rows = [row for each in result.engines for row in each.rows]
    found = [_table("Engines", _ENGINE, result, engine_rows)]
    if result.triton:
        found.append(_table("Through Triton (gRPC)", _TRITON, result, result.triton))
    return found


def notes(result: Result) -> list[str]:
    """What a reader of the tables must know, a sentence or two each."""
    plan, machine = result.plan, result.machine
    found = [
        f"Figures are the median of {plan.rounds} rounds (lowest to highest). Each round runs every row in turn for "
        f"{plan.seconds:g} s while all others are idle; ratios and shares are taken within a round.",
        f"Every engine has a process of its own; threads of each: {result.threads}. Peak memory is that process's peak "
        f"RSS (VmHWM) once this batch has run, smaller batches before it; {number(result.process_mib)} MiB of it were "
        "there before the engine was. Load is from the model file to the first answer, the library's import apart; "
        "both are measured once.",
        f"Slices: {result.origin}. Every timed answer's labels are compared with PyTorch's, at one slice a batch: all "
        "pixels / pixels that are foreground in either.",
    ]
    if result.triton:
        bare = next((row for row in map(result.bare, plan.callers) if row), None)
        found.append(
            "Triton: each caller is a process of its own (no shared Python interpreter lock), with one request of one "
            "slice at a time; mean batch is nv_inference_count / nv_inference_exec_count. Its share is of the bare "
            f"engine's slices/s ({bare.title if bare else 'not measured'}) at the largest measured batch that so many "
            "callers can form. Memory is the sum over tritonserver and its stubs; the callers run on the same cores."
        )
    if note := busy_note(machine):
        found.append(note)
    if plan.quick:
        found.append("A quick run: it shows that everything works, not how fast it is.")
    return found


def busy_note(machine: Machine) -> str | None:
    """What other programs took meanwhile; None if it cannot be known."""
    if machine.others_cpu is None:
        return None
    busy = f"Other programs took {machine.others_cpu:.0%} of these cores' time during the run"
    return f"{busy}: these figures are not the machine's best." if machine.others_cpu > 0.05 else f"{busy}."


def remark(row: Row) -> str:
    """Why a row has no figures, or why its figures are worth nothing; else an empty text."""
    if row.error is not None:
        return f"not measured: {row.error}"
    agreement, foreground = row.tally.agreement, row.tally.foreground_agreement
    low = agreement is not None and agreement < MIN_AGREEMENT
    if low or (foreground is not None and foreground < MIN_FOREGROUND_AGREEMENT):
        return "WRONG: its labels are not PyTorch's"
    return ""


def _table(title: str, columns: tuple[Column, ...], result: Result, rows: list[Row]) -> Table:
    shown = columns if any(map(remark, rows)) else columns[:-1]
    cells = [tuple(text(result, row) for _, text in shown) for row in rows]
    return Table(title, tuple(head for head, _ in shown), cells)


def number(value: float | None) -> str:
    """Three significant digits, and never an exponent."""
    if value is None:
        return NONE
    digits = 2 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{max(0, digits)}f}"


def _seconds(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"


def spread_text(spread: Spread | None) -> str:
    """The median, and in brackets the lowest and the highest round."""
    if spread is None:
        return NONE
    return f"{number(spread.median)} ({number(spread.low)}-{number(spread.high)})"


def percent_text(spread: Spread | None) -> str:
    """The same of a share, in percent."""
    return NONE if spread is None else f"{spread.median:.0%} ({spread.low:.0%}-{spread.high:.0%})"


def _agreement(share: float | None) -> str:
    """In percent, rounded down: 100 means every pixel."""
    return NONE if share is None else f"{math.floor(share * 1e5) / 1e3:g}"


def _labels(result: Result, row: Row) -> str:
    if not row.measured or not row.tally.pixels:
        return NONE
    return f"{_agreement(row.tally.agreement)} / {_agreement(row.tally.foreground_agreement)}"


def _loading(result: Result, row: Row) -> str:
    return NONE if row.load_s is None else f"{_seconds(row.import_s)} + {_seconds(row.load_s)}"


def _memory(result: Result, row: Row) -> str:
    return f"{row.peak_mib:.0f}" if row.measured else NONE


_LATENCY: tuple[Column, ...] = (
    ("p50 ms", lambda result, row: spread_text(row.spread(lambda sample: sample.p50_ms))),
    ("p95 ms", lambda result, row: spread_text(row.spread(lambda sample: sample.p95_ms))),
    ("slices/s", lambda result, row: spread_text(row.spread(lambda sample: sample.slices_per_s))),
)
_LAST: tuple[Column, ...] = (
    ("peak MiB", _memory),
    ("labels = PyTorch's, %", _labels),
    ("remark", lambda result, row: remark(row)),
)
_ENGINE: tuple[Column, ...] = (
    ("engine", lambda result, row: row.title),
    ("batch", lambda result, row: str(row.size)),
    *_LATENCY,
    (
        "x PyTorch",
        lambda result, row: spread_text(row.ratio(result.baseline(row.size), lambda sample: sample.slices_per_s)),
    ),
    ("import + load s", _loading),
    *_LAST,
)
_TRITON: tuple[Column, ...] = (
    ("callers", lambda result, row: str(row.size)),
    *_LATENCY,
    (
        "mean batch",
        lambda result, row: spread_text(row.spread(lambda sample: sample.mean_batch)),
    ),
    (
        "share of bare engine",
        lambda result, row: percent_text(row.ratio(result.bare(row.size), lambda sample: sample.slices_per_s)),
    ),
    ("callers' CPU", lambda result, row: percent_text(row.spread(lambda sample: sample.caller_cpu))),
    ("start s", lambda result, row: _seconds(row.load_s)),
    *_LAST,
)
