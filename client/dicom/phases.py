"""The phases of a series in time: volumes of one stack of slices, told apart by when each frame was taken.

A cine of the heart, for one. Slices are taken one after another, each over several heart beats of its own length, so
that the Trigger Times (PS3.3 C.7.6.18.1) of one phase differ from slice to slice: by a few milliseconds at first, by
half a phase or more at the end of the beat. What a phase is follows from the order of the times on each slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from swinunet.client.dicom.distinguishing_attributes import ATTRIBUTES

TIMES = ("time point", "time offset", "trigger time")  # names of ATTRIBUTES, as they are tried
_MOST_STRETCHED = 2.0  # longest to shortest heart beat in one series
_LARGEST_LACK = 0.5  # share of the slices that a phase may lack and still be one of this stack
_LISTED = 4  # places named in one sentence


@dataclass(frozen=True)
class Phase:
    """Which phase of a series a volume is.

    number, total: from 1, in the order of time. attribute: of ATTRIBUTES, by which phases are told apart. time: its
    median over the slices. group: what tells phases of one kind from those of another in the same series, such as an
    image type; empty if there is one kind. lacks: the slices that other phases have and this one has not, in words.
    """

    number: int
    total: int
    attribute: str
    time: float
    group: str = ""
    lacks: str = ""

    @property
    def time_ms(self) -> float | None:
        """The time in milliseconds; None where only the order is known."""
        return {"trigger time": self.time, "time offset": 1000 * self.time}.get(self.attribute)

    @property
    def text(self) -> str:
        """For a person: "phase 3 of 20, trigger time 94 ms"."""
        return f"phase {self.number} of {self.total}, {self.attribute} {self.time:.5g} {self.unit}".rstrip()

    @property
    def unit(self) -> str:
        """Of `time`; empty for one without."""
        return next(each.unit for each in ATTRIBUTES if each.name == self.attribute)


def times_of(values: Sequence[str]) -> list[float] | None:
    """The values of one attribute as numbers; None if one of them is none, or all are alike."""
    try:
        times = [float(value) for value in values]
    except ValueError:
        return None
    return times if np.isfinite(times).all() and len(set(times)) > 1 else None


def phase_numbers(places: Sequence[tuple[int, int]], times: Sequence[float]) -> list[int] | None:
    """The phase of each frame, from 0, by the order of times at each place; None if there are no such phases.

    places: where each frame lies. A place with fewer frames than most is matched by its own step in time.
    """
    at: dict[tuple[int, int], list[int]] = {}
    for index, place in enumerate(places):
        at.setdefault(place, []).append(index)
    in_order = {place: sorted(own, key=lambda index: times[index]) for place, own in at.items()}
    series = {place: np.array([times[index] for index in own]) for place, own in in_order.items()}
    if len(at) < 2 or any((np.diff(own) <= 0).any() for own in series.values()):
        return None
    count = max(map(len, series.values()))
    whole = np.array([own for own in series.values() if len(own) == count])
    if count < 2 or not _agree(whole):
        return None
    found = [0] * len(places)
    for place, own in series.items():
        numbers = _matched(own, whole)
        if numbers is None:
            return None
        for index, number in zip(in_order[place], numbers, strict=True):
            found[index] = number
    return found


def lacking(parts: Sequence[Sequence[tuple[int, int]]]) -> list[str] | None:
    """What each part lacks of the places that others have, in words; None if they are no parts of one stack.

    parts: the places of the frames of each, in order from the first slice to the last.
    """
    every = sorted({place for part in parts for place in part})
    said = []
    for part in parts:
        own = set(part)
        missing = [number for number, place in enumerate(every, start=1) if place not in own]
        if len(missing) > _LARGEST_LACK * len(every):
            return None
        listed = ", ".join(map(str, missing[:_LISTED])) + (", ..." if len(missing) > _LISTED else "")
        said.append(f"slice{'s' if len(missing) > 1 else ''} {listed} of {len(every)}" if missing else "")
    return said


def _agree(whole: np.ndarray) -> bool:
    """Whether the times of whole places, [places, phases], are those of one cycle, stretched from place to place.

    The first phase of each lies within a step of the others', and every phase nearer to its own than to the next.
    """
    steps = (whole[:, -1] - whole[:, 0]) / (whole.shape[1] - 1)
    if steps.max() > _MOST_STRETCHED * steps.min() or np.ptp(whole[:, 0]) > steps.max():
        return False
    relative = (whole - whole[:, :1]) / steps[:, None]
    return bool(np.abs(relative - np.median(relative, axis=0)).max() < 0.5)


def _matched(own: np.ndarray, whole: np.ndarray) -> list[int] | None:
    """The phases that the times of one place belong to; None if that cannot be told."""
    count = whole.shape[1]
    if len(own) == count:
        return list(range(count))
    usual = np.median(np.diff(whole, axis=1))
    step = float(np.diff(own).min()) if len(own) > 2 else float(usual)  # a phase that is lacking makes others longer
    step = step if usual / _MOST_STRETCHED < step < usual * _MOST_STRETCHED else float(usual)
    first = float(np.median(whole[:, 0])) * step / float(usual)
    numbers = [round(float(number)) for number in (own - first) / step]
    fits = len(set(numbers)) == len(numbers) and min(numbers) >= 0 and max(numbers) < count
    return numbers if fits else None


def step_ms(phases: Sequence[Phase]) -> float | None:
    """Median time from one phase to the next; None where only their order is known, or there is one."""
    times = [phase.time_ms for phase in phases if phase.time_ms is not None]
    return float(np.median(np.diff(times))) if len(times) == len(phases) > 1 else None
