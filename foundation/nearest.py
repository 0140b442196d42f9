"""What a person who made a slip of the pen may have meant: the nearest name, or the nearest file that exists."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

_ALIKE = 0.6  # difflib's ratio, from which on two names are said to be alike
_MOST_ENTRIES = 10_000  # of a folder that are looked at


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like `name`, whatever the case of its letters; None if none is like it."""
    by_folded = {each.casefold(): each for each in known}
    found = difflib.get_close_matches(name.casefold(), by_folded, 1, _ALIKE)
    return by_folded[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: `; did you mean 'train'?`, or nothing if no known one is like it."""
    found = nearest_name(name, known)
    return f"; did you mean {found!r}?" if found else ""


def nearest_path(path: Path) -> Path | None:
    """The file or folder that exists and is most like `path`, which does not; None if none is like it.

    The first part of the path that is missing is compared with what lies in its folder; the parts behind it stay as
    they are where they then exist.
    """
    parts = path.parts
    missing = next((at for at in range(len(parts)) if not os.path.lexists(Path(*parts[: at + 1]))), None)
    if missing is None:
        return None
    folder = Path(*parts[:missing])
    try:
        with os.scandir(folder) as entries:
            name = nearest_name(parts[missing], [entry.name for entry in islice(entries, _MOST_ENTRIES)])
    except OSError:  # no folder, or not ours to read
        return None
    if name is None:
        return None
    whole = Path(folder, name, *parts[missing + 1 :])
    return whole if whole.exists() else folder / name
