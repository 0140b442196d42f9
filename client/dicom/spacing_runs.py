"""A stack taken with several spacings, as a head CT is: thin slices through the skull's base, thicker ones above."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from swinunet.client.dicom.files import Frame
from swinunet.client.dicom.geometry import normal_of, order_along_normal, positions_of

_STEP_TOLERANCE = 0.05  # relative difference of steps in one run; or, if that is more,
_ROUNDING_MM = 0.1  # what positions with one decimal need
_FEWEST_SLICES = 3  # of a run: two slices are even always
_MOST_RUNS = 4


@dataclass(frozen=True)
class Run:
    """Slices that lie equally far apart, in order. first: the number of the first of them in the stack, from 1."""

    first: int
    frames: tuple[Frame, ...]
    step_mm: float


def spacing_runs(frames: Sequence[Frame]) -> tuple[Run, ...]:
    """The runs of a stack that was taken with two to four spacings; none where slices may be missing instead.

    A slice between two runs goes to the one whose thickness it has, else to the first. One step between two runs may be
    of a length between theirs. Where one step is a multiple of its neighbour's, slices may be missing from the longer:
    it is a spacing of its own only if the slices are thicker there.
    """
    ordered = order_along_normal(frames)
    steps_mm = np.diff(positions_of(ordered) @ normal_of(ordered[0]))
    spans = _spans(steps_mm)
    spans = [span for index, span in enumerate(spans) if not _is_transition(spans, index, steps_mm)]
    if not 2 <= len(spans) <= _MOST_RUNS:
        return ()
    bounds = [[start, stop] for start, stop in spans]  # first and last slice of each run
    for one, other in itertools.pairwise(bounds):
        if one[1] == other[0]:
            shared = ordered[one[1]].thickness_mm
            if shared == ordered[other[0] + 1].thickness_mm != ordered[one[1] - 1].thickness_mm:
                one[1] -= 1
            else:
                other[0] += 1
    runs = tuple(
        Run(first + 1, ordered[first : last + 1], float(steps_mm[start:stop].mean()))
        for (first, last), (start, stop) in zip(bounds, spans, strict=True)
    )
    if min(len(run.frames) for run in runs) < _FEWEST_SLICES or any(map(_lacks_slices, runs, runs[1:])):
        return ()
    return runs


def _spans(steps_mm: np.ndarray) -> list[tuple[int, int]]:
    """Ranges of steps that are equal: (first, one after the last)."""
    spans, start = [], 0
    for at in range(1, len(steps_mm) + 1):
        if at == len(steps_mm) or abs(steps_mm[at] - steps_mm[start]) > max(
            _ROUNDING_MM, _STEP_TOLERANCE * steps_mm[start]
        ):
            spans.append((start, at))
            start = at
    return spans


def _is_transition(spans: Sequence[tuple[int, int]], index: int, steps_mm: np.ndarray) -> bool:
    """Whether a range is a single step whose length lies between those of the ranges beside it."""
    if not 0 < index < len(spans) - 1 or spans[index][1] - spans[index][0] > 1:
        return False
    before, own, after = (float(steps_mm[start]) for start, _ in spans[index - 1 : index + 2])
    return min(before, after) < own < max(before, after)


def _lacks_slices(one: Run, other: Run) -> bool:
    """Whether the longer step may be the shorter one with slices missing."""
    short, long = sorted((one, other), key=lambda run: run.step_mm)
    ratio = long.step_mm / short.step_mm
    is_multiple = abs(ratio - round(ratio)) * short.step_mm <= max(_ROUNDING_MM, _STEP_TOLERANCE * long.step_mm)
    thin, thick = short.frames[1].thickness_mm, long.frames[1].thickness_mm
    return is_multiple and not (thin is not None and thick is not None and thick > thin)
