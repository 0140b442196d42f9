"""The report of a benchmark: NAME.md (ready to paste), NAME.json (the figures of every round), pictures, NAME.html."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from swinunet.benchmarks.measure.machine import Machine
from swinunet.benchmarks.measure.rounds import Run
from swinunet.foundation.files import unwritable
from swinunet.foundation.report_page import write_report_page
from swinunet.foundation.tables import Table

_BUSY = 0.05  # share of the cores' time that others may take before figures suffer


@dataclass(frozen=True)
class Picture:
    """A PNG of a report. draw: writes it to a path. shows: what is to be seen, in words for those who do not see it."""

    draw: Callable[[Path], None]
    shows: str


@dataclass(frozen=True)
class Report:
    """What a run found, ready to be shown and written.

    name: of the files. title: of what was measured, for the terminal; heading: the same for a page. command: that ran.
    figures: for programs, beside what all reports have. footnotes: what a reader of the tables must know.
    introduction, descriptions: before the machine, and after the tables. pictures: by file name. subject: before the
    heading.
    """

    name: str
    title: str
    heading: str
    command: str
    run: Run
    quick: bool
    tables: Sequence[Table]
    figures: Mapping[str, Any]
    footnotes: Sequence[str]
    schema_version: int = 1
    introduction: str = ""
    descriptions: Sequence[str] = ()
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    subject: str = "Benchmark"

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all that `write` writes."""
        return (f"{self.name}.md", f"{self.name}.json", *self.pictures, f"{self.name}.html")

    @property
    def notes(self) -> list[str]:
        """The footnotes, then what other programs took meanwhile, if it is known, and what a quick run is worth."""
        found, others = list(self.footnotes), self.run.machine.others_cpu
        if others is not None:
            busy = f"Other programs took {others:.0%} of these cores' time during the run"
            found.append(f"{busy}: these figures are not the machine's best." if others > _BUSY else f"{busy}.")
        if self.quick:
            found.append("A quick run: it shows that everything works, not how fast it is.")
        return found

    def json(self) -> dict[str, Any]:
        """The report, for programs."""
        machine = asdict(self.run.machine)
        common = {"schema_version": self.schema_version, "machine": machine, "seconds": self.run.seconds}
        return {**common, **self.figures, "notes": self.notes}

    def markdown(self) -> str:
        """The report, as a page."""
        made = f"{self.run.machine.started}, {self.run.seconds:.0f} s, by `{self.command}`."
        parts = [
            f"# {self.subject}: {self.heading}",
            f"{self.introduction} {made}".strip(),
            *_machine(self.run.machine),
        ]
        parts += [f"## {table.title}\n\n{table.markdown(figures_to_the_right=False)}" for table in self.tables]
        parts += [f"![{picture.shows}]({name})" for name, picture in self.pictures.items()]
        if self.descriptions:
            parts += ["How each computes:", _bullets(self.descriptions)]
        return "\n\n".join([*parts, "Notes:", _bullets(self.notes)]) + "\n"

    def write(self, folder: Path) -> list[Path]:
        """Write all files into `folder`, each whole or none at all, in place of an earlier report's.

        Raises OutputError for what the file system refuses.
        """
        try:
            with tempfile.TemporaryDirectory(dir=folder, prefix=".report.") as aside:
                page, figures, *pictures, _ = (Path(aside) / name for name in self.files)
                page.write_text(self.markdown())
                figures.write_text(json.dumps(self.json(), indent=1) + "\n")
                for picture, path in zip(self.pictures.values(), pictures, strict=True):
                    picture.draw(path)
                write_report_page(Path(aside), self.name)
                return [(Path(aside) / name).replace(folder / name) for name in self.files]
        except OSError as error:
            raise unwritable(folder, error) from None


def table_with_remarks(title: str, heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Table:
    """A table whose last column are remarks; without that column where there are none."""
    rows = list(rows)
    width = None if any(row[-1] for row in rows) else -1
    return Table(title, heads[:width], [row[:width] for row in rows])


def _machine(machine: Machine) -> list[str]:
    """The machine and the versions, a paragraph each."""
    packages = ", ".join(f"{name} {number}" for name, number in machine.packages.items())
    return [
        f"Machine: {machine.cpu}, usable cores: {machine.cores} (logical CPUs: {machine.logical_cpus}), "
        f"{', '.join(machine.instruction_sets) or 'no vector instructions known'}; {machine.memory_gib:.0f} GiB; "
        f"{machine.system}; load average before the run {machine.load_average:.1f}.",
        f"Versions: Python {machine.python}, {packages}.",
    ]


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
