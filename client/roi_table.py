"""Boxes for many studies from a CSV: `study,side,x_min,x_max,y_min,y_max,z_min,z_max`, a box a line, mm (LPS).

study: what the input's folder of results is called, or the input's path or name. side: left, right or nothing. The
columns may stand in any order, between commas, semicolons (then 1,5 is a number, too) or tabs, as spreadsheets write
them.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from swinunet.client.rois import Roi, parse_roi
from swinunet.client.study_list import Study
from swinunet.foundation.errors import InputError

_BOUNDS = ("x_min", "x_max", "y_min", "y_max", "z_min", "z_max")
_COLUMNS = ("study", "side", *_BOUNDS)
_MAX_BYTES = 64 << 20
Table = dict[str, list[tuple[int, Roi]]]  # study -> line and box


def studies_with_boxes(studies: Sequence[Study], names: Sequence[str], file: Path) -> list[Study]:
    """The studies with the boxes that a CSV gives them. names: of their folders of results.

    Raises InputError, naming the line, for what cannot be read, for a study that is none of these, for one that is
    meant by several, and for a study without a box.
    """
    table, used, found = read_boxes(file), set[str](), []
    by_key: dict[str, list[int]] = {}
    for index, (study, name) in enumerate(zip(studies, names, strict=True)):
        for key in {name, str(study.path), study.path.name, study.name}:
            by_key.setdefault(key, []).append(index)
    boxes: dict[int, list[Roi]] = {}
    for key, lines in table.items():
        meant = by_key.get(key, [])
        if len(meant) != 1:
            what = "is none of the inputs" if not meant else f"could be {len(meant)} of the inputs; name its folder"
            raise InputError(f"{file}: line {lines[0][0]}: study {key!r} {what}")
        used.add(key)
        boxes.setdefault(meant[0], []).extend(roi for _, roi in lines)
    for index, study in enumerate(studies):
        if index not in boxes:
            raise InputError(f"{file}: no box for {names[index]}; add a line for it, or leave the input out")
        found.append(dataclasses.replace(study, rois=tuple(boxes[index])))
    return found


def read_boxes(file: Path) -> Table:
    """The boxes in a CSV by study. Raises InputError, naming the line, if there are none or one cannot be read."""
    lines = _text_of(file).splitlines()
    delimiter = max(",;\t", key=lines[0].count) if lines else ","
    rows = csv.DictReader(lines, delimiter=delimiter, skipinitialspace=True)
    heads = [head.strip().lower() for head in rows.fieldnames or ()]
    if missing := [column for column in _COLUMNS if column not in heads and column != "side"]:
        raise InputError(f"{file}: line 1: no column {missing[0]!r}; expected {','.join(_COLUMNS)}")
    rows.fieldnames = heads
    found: Table = {}
    for row in rows:
        if any(str(cell).strip() for cell in row.values() if cell):
            study, roi = _box(row, f"{file}: line {rows.line_num}", delimiter)
            found.setdefault(study, []).append((rows.line_num, roi))
    if not found:
        raise InputError(f"{file}: no box in it; expected a line for each under {','.join(_COLUMNS)}")
    return found


def _box(row: Mapping[str, str | None], where: str, delimiter: str) -> tuple[str, Roi]:
    cells = {column: (row.get(column) or "").strip() for column in _COLUMNS}
    if not cells["study"]:
        raise InputError(f"{where}: no study; expected {','.join(_COLUMNS)}")
    if None in row:
        raise InputError(f"{where}: more cells than the first line has")
    numbers = [cells[column].replace(",", ".") if delimiter != "," else cells[column] for column in _BOUNDS]
    side = cells["side"].lower()
    try:
        roi = parse_roi(f"{side}={','.join(numbers)}" if side else ",".join(numbers))
    except InputError:
        said = ",".join(cells[column] for column in ("side", *_BOUNDS))
        raise InputError(f"{where}: {said!r}: expected left, right or nothing, and six numbers in mm") from None
    if (roi.low_mm > roi.high_mm).any():
        raise InputError(f"{where}: a minimum is above its maximum; expected {','.join(_BOUNDS)}")
    return cells["study"], roi


def _text_of(file: Path) -> str:
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise InputError(f"{file}: too large for a table of boxes")
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{file}: cannot read the boxes ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{file}: not a CSV of boxes; expected UTF-8 text") from None
