"""The results below a folder: what each report says, the ones to look at first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from swinunet.client.results.formats import FILE_NAMES
from swinunet.client.results.report import Report, read_report
from swinunet.foundation.errors import InputError


@dataclass(frozen=True, eq=False)
class FoundResult:
    """One folder of results. name: its path below the root, "." for the root itself.

    report: None where it cannot be read, fault then says why.
    """

    name: str
    folder: Path
    report: Report | None
    fault: str = ""

    @property
    def files(self) -> frozenset[str]:
        """Names of the outputs that are there."""
        return frozenset(name for name in FILE_NAMES.values() if (self.folder / name).is_file())

    @property
    def flags(self) -> tuple[str, ...]:
        """What to look at, "structure: kind"; the series' verdict and outputs that failed count, too."""
        if self.report is None:
            return (self.fault,)
        found = [
            f"{each.name}: {flag.kind.replace('_', ' ')}" for each in self.report.structures for flag in each.flags
        ]
        found += [f"series: {self.report.input.verdict}"] if self.report.input.verdict else []
        return *found, *(f"{kind} was not written" for kind in self.report.failed)

    @property
    def made(self) -> str:
        """When the result was made, UTC as ISO 8601; empty if it is not known."""
        return self.report.created if self.report else ""


def results_below(root: Path) -> list[FoundResult]:
    """Every folder with a report below `root`, and `root` itself, those with flags first, then by name.

    Raises InputError if there is none.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give a folder of results, or one that holds such folders")
    found = [_result(root, folder) for folder in _folders(root)]
    if not found:
        raise InputError(
            f"{root}: no results here; expected {FILE_NAMES['json']} in it or below, as swinunet segment writes it"
        )
    return sorted(found, key=lambda each: (-len(each.flags), each.name))


def _folders(root: Path) -> Iterator[Path]:
    for folder, below, files in os.walk(root):
        below[:] = [name for name in below if not name.startswith(".")]
        if FILE_NAMES["json"] in files:
            yield Path(folder)


def _result(root: Path, folder: Path) -> FoundResult:
    name = os.fsencode(folder.relative_to(root)).decode("utf-8", "backslashreplace")
    try:
        return FoundResult(name, folder, read_report(folder / FILE_NAMES["json"]))
    except InputError as error:
        return FoundResult(name, folder, None, str(error).removeprefix(f"{folder}/"))
