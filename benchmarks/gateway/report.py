"""The report of the gateway's benchmark: gateway.md, gateway.json, gateway.png and gateway.html."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from swinunet.benchmarks.gateway.delivery import RECIPE
from swinunet.benchmarks.gateway.receivers import PROGRAMS, PROTOCOLS
from swinunet.benchmarks.gateway.result import (
    DeliverySample,
    GatewayBenchmarkResult,
    MeasuredReceiving,
    MemorySample,
    ReceivingSample,
)
from swinunet.benchmarks.gateway.senders import sender_name
from swinunet.benchmarks.measure.measurements import Measurements
from swinunet.benchmarks.reports.goals import Goal, verdict_table
from swinunet.benchmarks.reports.numbers import number, spread_text
from swinunet.benchmarks.reports.report import Picture, Report, table_with_remarks
from swinunet.foundation.tables import Table

BEYOND_S = 1.0  # from the last instance to the delivered SEG, beside the rule and the segmentation
GROWTH = 0.05  # of the receiving process, from the first reading of its memory to the last: what still is flat
_COLOURS = {"gateway": "#2a9d8f", "storescp": "#b59a2a", "orthanc": "#4a79b8"}


def gateway_report(result: GatewayBenchmarkResult) -> Report:
    """All tables and the picture."""
    tables = [verdict_table(goals(result)), _receiving_table(result), _delivery_table(result)]
    return Report(
        name="gateway",
        title="Gateway",
        heading="the gateway",
        command="swinunet benchmark gateway",
        run=result.run,
        quick=result.settings.quick,
        tables=[*tables, _memory_table(result)],
        figures=_figures(result),
        footnotes=_footnotes(result),
        pictures={
            "gateway.png": Picture(
                partial(_draw, result), "Instances a second and CPU time of each program, memory over the instances"
            )
        },
    )


def goals(result: GatewayBenchmarkResult) -> list[Goal]:
    """How soon a result goes out, and whether memory stays what it is."""
    return [_soon(result.delivery), _flat(result.memory)]


def _soon(row: Measurements[DeliverySample]) -> Goal:
    text = f"a SEG delivered less than {BEYOND_S:g} s after the last instance, the rule's silence and the segmentation"
    beyond = row.spread(lambda each: each.beyond_s)
    return Goal(text, f"{spread_text(beyond)} s", beyond.median < BEYOND_S) if beyond else Goal(text, row.remark, None)


def _flat(row: Measurements[list[MemorySample]]) -> Goal:
    text = f"the memory of the process that receives grows by {GROWTH:.0%} at most"
    if not row.measured:
        return Goal(text, row.remark, None)
    first, last = row.samples[0][0], row.samples[0][-1]
    growth = last.receiver_mib / first.receiver_mib - 1
    found = f"{first.receiver_mib:.0f} MiB after {first.instances:,} instances, {last.receiver_mib:.0f} after "
    return Goal(
        text, f"{found}{last.instances:,}, {growth:+.1%}", last.receiver_mib <= (1 + GROWTH) * first.receiver_mib
    )


def _receiving_table(result: GatewayBenchmarkResult) -> Table:
    rows = [
        (
            PROGRAMS[row.program],
            PROTOCOLS[row.protocol],
            str(row.associations),
            spread_text(row.spread(lambda each: each.per_second)),
            spread_text(row.spread(lambda each: each.cpu_ms)),
            row.remark,
        )
        for row in result.receiving
    ]
    return table_with_remarks(
        "Receiving", ("program", "by", "at once", "instances/s", "CPU ms an instance", "remark"), rows
    )


def _delivery_table(result: GatewayBenchmarkResult) -> Table:
    row = result.delivery
    parts: list[tuple[str, Callable[[DeliverySample], float]]] = [
        ("from the last instance to the SEG in the PACS", lambda each: each.total_s),
        ("of it the silence that the rule wants", lambda each: each.rule_s),
        ("of it the segmentation", lambda each: each.segmentation_s),
        ("of it what the gateway adds", lambda each: each.beyond_s),
    ]
    rows = [(name, spread_text(row.spread(figure)), row.remark) for name, figure in parts]
    return table_with_remarks("A study there and back", ("", "s", "remark"), rows)


def _memory_table(result: GatewayBenchmarkResult) -> Table:
    row = result.memory
    samples = row.samples[0] if row.measured else []
    rows = [(f"{each.instances:,}", number(each.receiver_mib), number(each.all_mib), "") for each in samples]
    heads = ("instances", "process that receives, MiB", "with its worker, MiB", "remark")
    return table_with_remarks("Memory", heads, rows or [("-", "-", "-", row.remark)])


def _footnotes(result: GatewayBenchmarkResult) -> list[str]:
    settings = result.settings
    size = settings.pixels**2 * 2 / 1024
    return [
        f"Receiving: {settings.instances} MR instances of {size:.0f} KiB in each round to each program, started anew; "
        f"{_rounds(settings.rounds)}. C-STORE by {sender_name()}, as many processes as "
        "associations, whose start is in the time; STOW-RS by this process, 10 instances a request. Everything is on "
        "loopback and on the same cores.",
        "CPU time is of all processes of the receiver. The gateway answers when file, folder and ledger are synced; "
        "storescp syncs nothing, Orthanc as its configuration has it by default. storescp and Orthanc run with "
        "TCP_NODELAY=1, without which each answer takes 40 ms.",
        f"A study: {settings.study_slices} slices of {settings.study_pixels} x {settings.study_pixels}, the untrained "
        f"network of recipe {RECIPE} in a Triton that runs, SEG and SR to a PACS by C-STORE. Segmentation is what the "
        "job's report says, from reading its files to writing its results.",
        f"Memory: resident, of one gateway that receives small instances on {max(settings.associations)} associations "
        "at once.",
    ]


def _rounds(rounds: int) -> str:
    return f"median of {rounds} rounds (lowest to highest)" if rounds > 1 else "one round"


def _figures(result: GatewayBenchmarkResult) -> dict[str, Any]:
    return {
        "settings": asdict(result.settings),
        "verdict": [asdict(goal) for goal in goals(result)],
        "receiving": [
            {
                "program": row.program,
                "protocol": row.protocol,
                "associations": row.associations,
                "samples": [asdict(each) for each in row.samples],
                "error": row.error,
            }
            for row in result.receiving
        ],
        "delivery": {"samples": [asdict(each) for each in result.delivery.samples], "error": result.delivery.error},
        "memory": {
            "samples": [asdict(each) for course in result.memory.samples for each in course],
            "error": result.memory.error,
        },
    }


def _draw(result: GatewayBenchmarkResult, path: Path) -> None:
    """Instances a second and CPU time as bars, memory as a line over the instances."""
    measured = [row for row in result.receiving if row.measured]
    figure = Figure((14, 1.8 + 0.32 * max(len(measured), 6)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    rate, cpu, memory = figure.subplots(1, 3, width_ratios=(4, 3, 4))
    _bars(rate, measured, lambda each: each.per_second)
    _bars(cpu, measured, lambda each: each.cpu_ms)
    rate.set_yticks(range(len(measured)), [row.title for row in measured], fontsize=9)
    cpu.set_yticks([])
    rate.set_title("Received, instances a second", fontsize=10)
    cpu.set_title("CPU ms an instance", fontsize=10)
    _memory_course(memory, result.memory.samples[0] if result.memory.measured else [])
    figure.savefig(path, format="png")


def _bars(axes: Axes, rows: list[MeasuredReceiving], figure: Callable[[ReceivingSample], float]) -> None:
    for y, row in enumerate(rows):
        value = median(figure(each) for each in row.samples)
        axes.barh(y, value, 0.7, color=_COLOURS[row.program])
        axes.annotate(number(value), (value, y), (4, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_ylim(max(len(rows), 1) - 0.4, -0.6)
    axes.margins(x=0.15)
    axes.spines[["top", "right"]].set_visible(False)


def _memory_course(axes: Axes, course: list[MemorySample]) -> None:
    counts = [each.instances for each in course]
    axes.plot(counts, [each.all_mib for each in course], "o-", color="#8c8c8c", label="with its worker")
    axes.plot(counts, [each.receiver_mib for each in course], "o-", color=_COLOURS["gateway"], label="that receives")
    axes.set_ylim(0, 1.25 * max((each.all_mib for each in course), default=1))
    axes.set_xlim(left=0)
    axes.set_title("Memory of the gateway's processes, MiB", fontsize=10)
    axes.set_xlabel("instances received", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="upper left")
