"""How long work tells what it is at: bars on a terminal, plain lines where the output is a file or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from swinunet.foundation.terminal import printable

if TYPE_CHECKING:
    from rich.progress import Task

Say = Callable[[str], None]  # one step, in a few words


def say_nothing(step: str) -> None:
    """For callers that do not ask."""


class _Bars(Progress):
    """Bars whose descriptions, notes and lines are plain text, never markup."""

    def __init__(self, *columns: ProgressColumn, console: Console, **options: bool) -> None:
        super().__init__(*columns, console=console, **options)  # type: ignore[arg-type]
        self.print = self._print

    def _print(self, *objects: Any, **_style: Any) -> None:
        line = " ".join(map(printable, objects))
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def add_task(self, description: str, *arguments: Any, **fields: Any) -> TaskID:
        """As Rich's; `note` is shown behind the bar."""
        return super().add_task(printable(description), *arguments, **{"note": ""} | _plain(fields))

    def update(self, task_id: TaskID, **fields: Any) -> None:
        """As Rich's."""
        super().update(task_id, **_plain(fields))


class _Lines(_Bars):
    """Progress for a log: a line when a task begins, at each tenth of it, and at its end."""

    def __init__(self, *columns: ProgressColumn, console: Console) -> None:
        super().__init__(*columns, console=console, disable=True)
        self._told: dict[TaskID, int] = {}

    def update(self, task_id: TaskID, **fields: Any) -> None:
        """Change a task, and print a line if it has come a tenth further."""
        super().update(task_id, **fields)
        self._tell(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Advance a task, and print a line if it has come a tenth further."""
        super().advance(task_id, advance)
        self._tell(task_id)

    def _tell(self, task_id: TaskID) -> None:
        task: Task = self._tasks[task_id]
        if not task.total:
            return
        tenth = int(10 * task.completed / task.total)
        if tenth > self._told.get(task_id, 0):
            self._told[task_id] = tenth
            note = f", {task.fields['note']}" if task.fields["note"] else ""
            self._print(f"{task.description} {task.completed:g}/{task.total:g}{note}")


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: printable(value) if isinstance(value, str) else value for name, value in fields.items()}


def work_progress(*, shown: bool = True, lines: bool = True) -> Progress:
    """Progress of tasks with a total, on standard error: bars on a terminal, which go when the block ends.

    Elsewhere lines at each tenth of a task; without `lines`, nothing. shown: False for a process that keeps silent.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    if shown and not console.is_terminal and lines:
        return _Lines(*columns, console=console)
    return _Bars(*columns, console=console, transient=True, disable=not (shown and console.is_terminal))


@contextmanager
def step_progress(first: str) -> Iterator[Say]:
    """Tells each step on standard error: on a terminal in one line that changes, elsewhere in a line of its own."""
    console = Console(stderr=True)
    if console.is_terminal:
        from rich.markup import escape

        with console.status(first) as status:
            yield lambda step: status.update(escape(printable(step)))
        return
    last = ""

    def say(step: str) -> None:
        nonlocal last
        if step != last:
            print(printable(step), file=sys.stderr, flush=True)
        last = step

    yield say
