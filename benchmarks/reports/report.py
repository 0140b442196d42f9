"""The report's files: report.md (ready to paste), report.json (every figure of every round) and latency.png."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from swinunet.benchmarks.measure.figures import Row
from swinunet.benchmarks.measure.machine import Machine
from swinunet.benchmarks.reports.notes import notes
from swinunet.benchmarks.reports.plot import plot_chain, plot_engines, plot_triton
from swinunet.benchmarks.reports.result import CallsRow, EngineRows, Result
from swinunet.benchmarks.reports.tables import remark, tables
from swinunet.benchmarks.reports.verdict import goals
from swinunet.foundation.files import unwritable
from swinunet.foundation.tables import Table

SCHEMA_VERSION = 2
FILES = ("report.md", "report.json", "engines.png", "triton.png", "chain.png")


def write_report(result: Result, folder: Path) -> list[Path]:
    """Write FILES into `folder`, each whole or not at all, in place of an earlier report. Raises OutputError."""
    with staged_files(folder, FILES) as (report, figures, *pictures):
        report.write_text(markdown(result))
        figures.write_text(json.dumps(as_json(result), indent=1) + "\n")
        for plot, path in zip((plot_engines, plot_triton, plot_chain), pictures, strict=True):
            plot(result, path)
    return [folder / name for name in FILES]


@contextmanager
def staged_files(folder: Path, names: Sequence[str]) -> Iterator[list[Path]]:
    """Paths to write to, which replace the files of these names in `folder` when the block ends well, none before.

    Raises OutputError for what the file system refuses.
    """
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".report.") as aside:
            staged = [Path(aside) / name for name in names]
            yield staged
            for path in staged:
                path.replace(folder / path.name)
    except OSError as error:
        raise unwritable(folder, error) from None


def markdown(result: Result) -> str:
    """The report, as Markdown."""
    machine, spec = result.machine, result.subject.spec
    head = [
        f"# Benchmark: {result.subject.title}",
        f"Input {spec.in_channels} x {spec.input_size[0]} x {spec.input_size[1]}, {spec.num_classes} classes. "
        f"{machine.started}, {result.seconds:.0f} s, by `swinunet benchmark`.",
        *machine_lines(machine),
    ]
    parts = [markdown_table(table) for table in tables(result)]
    parts += [f"![{name.removesuffix('.png')}]({name})" for name in FILES if name.endswith(".png")]
    tail = ["How each computes:", _descriptions(result), "Notes:", markdown_list(notes(result))]
    return "\n\n".join([*head, *parts, *tail]) + "\n"


def machine_lines(machine: Machine) -> list[str]:
    """The machine and the versions, a paragraph each."""
    packages = ", ".join(f"{name} {number}" for name, number in machine.packages.items())
    return [
        f"Machine: {machine.cpu}, usable cores: {machine.cores} (logical CPUs: {machine.logical_cpus}), "
        f"{', '.join(machine.instruction_sets) or 'no vector instructions known'}; {machine.memory_gib:.0f} GiB; "
        f"{machine.system}; load average before the run {machine.load_average:.1f}.",
        f"Versions: Python {machine.python}, {packages}.",
    ]


def as_json(result: Result) -> dict[str, Any]:
    """The report, for programs: the figures of every round, not only their spread."""
    plan = result.plan
    return {
        "schema_version": SCHEMA_VERSION,
        "model": {"name": result.subject.spec.name, "version": result.subject.folder.name},
        "machine": asdict(result.machine),
        "plan": {
            "rounds": result.rounds,
            "rounds_s": result.rounds_s,
            "load_s": result.load_s,
            "seconds": plan.seconds,
            "threads": result.threads,
            "quick": plan.quick,
        },
        "verdict": [asdict(goal) for goal in goals(result)],
        "gflop": result.gflop or None,
        "trained": result.trained,
        "slices": result.origin,
        "process_mib": result.process_mib,
        "seconds": result.seconds,
        "served": asdict(result.served) if result.served else None,
        "engines": [_engine(result, each, row) for each in result.engines for row in each.rows],
        "peaks": {name: {"gflop_per_s": each.rounds} for name, each in result.peaks.items()},
        "triton": [_triton(row) for row in result.triton],
        "wire_bytes": asdict(result.wire) if result.wire else None,
        "chain": result.chain.to_json() if result.chain else None,
        "gpu": asdict(result.gpu),
        "notes": notes(result),
    }


def _engine(result: Result, each: EngineRows, row: Row) -> dict[str, Any]:
    ratio = row.ratio(result.baseline(row.size), lambda sample: sample.slices_per_s)
    share = result.peak_share(each.engine, row)
    return {
        "engine": each.engine.name,
        "precision": each.engine.precision,
        "key": each.engine.key,
        "batch": row.size,
        **row.to_json(),
        "remark": remark(row),
        "speed_ratio": ratio.to_json() if ratio else None,
        "share_of_peak": share.to_json() if share else None,
    }


def _triton(row: CallsRow) -> dict[str, Any]:
    return {**asdict(row.calls), **row.to_json(), "remark": remark(row)}


def page(
    subject: str, command: str, machine: Machine, seconds: float, table: Table, notes: list[str], *pictures: str
) -> str:
    """A report of one table, as Markdown. command: that made it, in so many seconds."""
    head = [f"# Benchmark: {subject}", f"{machine.started}, {seconds:.0f} s, by `{command}`.", *machine_lines(machine)]
    return "\n\n".join([*head, markdown_table(table), *pictures, "Notes:", markdown_list(notes)]) + "\n"


def markdown_table(table: Table) -> str:
    """A table under its title."""
    return f"## {table.title}\n\n{table.markdown(figures_to_the_right=False)}"


def _descriptions(result: Result) -> str:
    """One line an engine, and one for Triton."""
    rows = [each.rows[0] for each in result.engines] + list(result.triton[:1])
    return markdown_list([f"{row.title}: {row.description or remark(row)}" for row in rows])


def markdown_list(lines: list[str]) -> str:
    """One bullet a line."""
    return "\n".join(f"- {line}" for line in lines)
