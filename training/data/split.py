"""Which cases a run trains on and which it is validated on: split by case, kept in the run's split.json."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from swinunet.foundation.errors import InputError
from swinunet.foundation.files import write_whole
from swinunet.training.data.folders import CasePaths

Part = Literal["training", "validation"]
SPLIT_FILE = "split.json"


def split_cases(
    cases: tuple[CasePaths, ...], validation_fraction: float, seed: int
) -> tuple[list[CasePaths], list[CasePaths]]:
    """Training and validation cases, by case, shuffled with `seed`; each part has one case at least.

    Raises InputError if there are fewer than two cases.
    """
    if len(cases) < 2:
        raise InputError(f"{len(cases)} labelled cases; training needs two at least, one of them to validate on")
    shuffled = sorted(cases, key=lambda case: case.name)
    random.Random(seed).shuffle(shuffled)
    held_out = min(max(1, round(len(cases) * validation_fraction)), len(cases) - 1)
    return sorted(shuffled[held_out:], key=lambda c: c.name), sorted(shuffled[:held_out], key=lambda c: c.name)


def write_split(path: Path, training: list[str], validation: list[str]) -> None:
    """Write the names of both parts' cases. Raises OutputError."""
    content = {"training": training, "validation": validation}
    write_whole(path, (json.dumps(content, indent=1) + "\n").encode())


def read_split(path: Path, parts: Sequence[Part] = ("training", "validation")) -> tuple[list[str], ...]:
    """Names of the cases of each of `parts`, as `write_split` wrote them.

    Raises InputError if the file cannot be read, or one of `parts` is no list of at least one name.
    """
    expected = f"expected the {SPLIT_FILE} of a run"
    try:
        stored = json.loads(path.read_bytes())
        found = tuple(stored[part] for part in parts)
    except OSError as error:
        raise InputError(f"{path}: cannot read ({error.strerror}); {expected}") from None
    except (ValueError, KeyError, TypeError):
        found = ()
    if not found or not all(_is_names(part) for part in found):
        lists = "list" if len(parts) == 1 else "lists"
        raise InputError(f"{path}: no {lists} of {' and '.join(parts)} cases in it; {expected}")
    return found


def _is_names(part: object) -> bool:
    return isinstance(part, list) and bool(part) and all(isinstance(name, str) for name in part)
