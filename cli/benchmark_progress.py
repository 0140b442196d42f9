"""How the progress of what is measured for minutes is shown, and its report at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swinunet.benchmarks.measure.rounds import Progress
    from swinunet.benchmarks.reports.report import Report


@contextmanager
def benchmark_progress() -> Iterator[Progress]:
    """A bar on a terminal; in a log a line for what is loaded and for each round, not for every row."""
    from rich.console import Console

    from swinunet.foundation.progress import step_progress, work_progress

    if Console(stderr=True).is_terminal:
        with work_progress() as bar:
            task = bar.add_task("preparing", total=None)
            yield lambda done, total, text: bar.update(task, completed=done, total=total, note=text)
        return
    stage = ""
    with step_progress("preparing") as say:

        def progress(done: int, total: int, text: str) -> None:
            nonlocal stage
            if text.partition(":")[0] != stage:
                stage = text.partition(":")[0]
                say(f"{done}/{total} {stage}")

        yield progress


def publish(report: Report, output: Path) -> None:
    """Write the files, and show what is in them."""
    from swinunet.foundation.terminal import print_line, show_table

    files, machine = report.write(output), report.run.machine
    print_line(f"{report.title} on {machine.cpu}, {', '.join(machine.instruction_sets)}")
    for table in report.tables:
        show_table(table, figures_to_the_right=False)
    for note in report.notes:
        print_line(f"- {note}")
    print_line(f"{output}: {', '.join(path.name for path in files)}")
