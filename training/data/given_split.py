"""The split of an earlier run, taken over: weights that go on learning must not meet what they are judged by."""

from __future__ import annotations

from pathlib import Path

from swinunet.foundation.errors import InputError
from swinunet.training.data.folders import CasePaths
from swinunet.training.data.split_file import read_part


def split_as_given(cases: tuple[CasePaths, ...], path: Path) -> tuple[list[CasePaths], list[CasePaths]]:
    """Training and validation cases as a `split.json` names them, each in the order of their names.

    path: JSON with the lists `training` and `validation`, as a run folder holds it. Cases that it does not name are
    trained on: data that came after the split. Training cases that it names may be gone.
    Raises InputError if the file is no split, a validation case is not in the data, or a part would be empty.
    """
    try:
        training, validation = set(read_part(path, "training")), set(read_part(path, "validation"))
    except InputError as error:
        raise InputError(f"no split to take over: {error}") from None
    if both := training & validation:
        raise InputError(f"{path}: {min(both)} is named both in training and in validation; keep one")
    if missing := validation - {case.name for case in cases}:
        raise InputError(f"{path}: of its validation cases {len(missing)} are not in the data, as {min(missing)}")
    ordered = sorted(cases, key=lambda case: case.name)
    parts = [[case for case in ordered if (case.name in validation) == held_out] for held_out in (False, True)]
    if not all(parts):
        counts = f"{len(parts[0])} training and {len(parts[1])} validation cases"
        raise InputError(f"{path}: makes {counts}; expected some of each")
    return parts[0], parts[1]
