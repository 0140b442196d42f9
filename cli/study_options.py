"""Options that name the studies to segment, for any verb that reads studies."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swinunet.foundation.errors import InputError

if TYPE_CHECKING:
    from swinunet.client import Study

_STDIN = Path("-")


class Allowance(StrEnum):
    """ALLOWANCES of client.dicom.verdict, which imports pydicom."""

    tilted = "tilted"
    gap = "gap"
    variable_spacing = "variable_spacing"


@dataclass(frozen=True)
class StudyOptions:
    """Which studies, and which of their series and boxes."""

    inputs: Annotated[list[Path] | None, typer.Argument(metavar="INPUT...")] = None
    """DICOM folders or NIfTI files; - reads paths from standard input."""
    tree: Path | None = None
    """Take every DICOM series, also those in ZIP files, and every NIfTI file below this folder."""
    list_: Annotated[Path | None, typer.Option("--list")] = None
    """Text file with one path per line."""
    roi: list[str] | None = None
    """Box in patient coordinates (mm, LPS): x, y and z from and to, and the side if it
    matters, as left=7,43,-2,47,-31,8; repeatable."""
    rois: Annotated[Path | None, typer.Option(metavar="FILE.csv")] = None
    """CSV with a box a line, of the columns study, side, x_min, x_max, y_min, y_max, z_min and z_max; each study is
    segmented in its own."""
    series: str | None = None
    """SeriesInstanceUID, if a folder has several series."""
    allow: Annotated[list[Allowance] | None, typer.Option(metavar="VERDICT")] = None
    """Accept a series in spite of its verdict: tilted (sheared grid), gap (even steps) or variable_spacing."""
    assume_ras: Annotated[bool, typer.Option("--assume-ras")] = False
    """NIfTI without qform and sform: its axes run to the patient's right, front and head."""

    def studies(self) -> list[Study]:
        """The studies that the options name.

        Raises InputError if there are none, not one of them is there, or the options contradict each other.
        """
        from swinunet.client.study_list import read_list, read_paths, studies_at, studies_below

        if self.tree and self.series:
            raise InputError("--tree takes every series and --series one of an input; give one of the two")
        if self.rois and self.roi:
            raise InputError("--rois gives each study its boxes and --roi the same to all; give one of the two")
        paths: list[Path] = []
        for path in self.inputs or ():
            paths += read_paths(sys.stdin) if path == _STDIN else [path]
        if self.list_:
            paths += read_list(self.list_)
        studies = studies_at(paths, self.series) + (studies_below(self.tree) if self.tree else [])
        if not studies:
            raise InputError("nothing to segment: no input was given, and no list that names one")
        if not any(each.path.exists() for each in studies):
            others = f", nor is any of the {len(studies) - 1} others there" if len(studies) > 1 else ""
            raise InputError(f"{studies[0].path}: no such file or folder{others}")
        return studies
