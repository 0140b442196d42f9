"""Cases that belong together, as the slices of one patient: they fall on one side of the split."""

from __future__ import annotations

import re
from collections.abc import Iterable

from swinunet.foundation.errors import InputError


def group_of(name: str, pattern: str) -> str:
    """What `name` has in common with the cases it belongs to: the pattern's first group, or all that it matches.

    pattern: a regular expression, matched from the start of the name; empty makes each case a group of its own.
        `.+(?=_)` is the text before the last underscore.
    Raises InputError if the pattern is no regular expression, or does not match the name.
    """
    if not pattern:
        return name
    try:
        found = re.match(pattern, name)
    except re.error as error:
        raise InputError(f"group_by {pattern!r}: no regular expression ({error})") from None
    if found is None or not (group := found[1 if found.re.groups else 0]):
        raise InputError(f"group_by {pattern!r}: does not match {name!r}; expected to find the part that names a group")
    return group


def count_groups(names: Iterable[str], pattern: str) -> int:
    """How many groups these cases are."""
    return len({group_of(name, pattern) for name in names})
