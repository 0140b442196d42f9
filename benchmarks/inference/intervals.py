"""Sets of moments as intervals: where client and server work at once, each moment counts once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Interval = tuple[int, int]  # begin and end, ns, monotonic clock


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """The same moments as intervals that do not touch, in order."""
    found: list[Interval] = []
    for begin, end in sorted(intervals):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        elif end > begin:
            found.append((begin, end))
    return found


def without(intervals: Sequence[Interval], taken: Sequence[Interval]) -> list[Interval]:
    """The moments of `intervals` that are not in `taken`; both as `union` gives them."""
    found = []
    for begin, end in intervals:
        for start, stop in taken:
            if stop <= begin or start >= end:
                continue
            if start > begin:
                found.append((begin, start))
            begin = stop
        if begin < end:
            found.append((begin, end))
    return found


def seconds(intervals: Iterable[Interval]) -> float:
    """How long they are together; they do not touch."""
    return sum(end - begin for begin, end in intervals) / 1e9
