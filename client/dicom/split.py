"""One series, several volumes: told apart where that explains why slices lie at one place, or lie differently."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from swinunet.client.dicom.distinguishing_attributes import ATTRIBUTES, is_shown
from swinunet.client.dicom.files import Frame
from swinunet.client.dicom.geometry import (
    COSINE_TOLERANCE,
    DUPLICATE_TOLERANCE_MM,
    SPACING_TOLERANCE,
    normal_of,
    plane_of,
    positions_of,
)
from swinunet.client.dicom.phases import TIMES, Phase, lacking, phase_numbers, times_of
from swinunet.client.dicom.spacing_runs import spacing_runs
from swinunet.client.dicom.verdict import VerdictKind, judge

_Place = tuple[int, int]  # the plane, and the place along its normal
_MOST_ATTRIBUTES = 3  # that together tell volumes apart, as echo, time point and image type may
_MOST_KINDS = 16  # of planes in one series; a radial scan is no set of volumes
_SLABS = ("stack", "acquisition")  # attributes of volumes that lie apart, or between each other's slices
_MOST_SLABS = 4  # a scanner that counts every few slices as an acquisition makes one volume
_FEWEST_SLICES = 3  # of a slab: two slices are even always


@dataclass(frozen=True)
class Part:
    """Frames of one series that may be a volume. name: what tells them from the rest, empty if they are all of it.

    steps: of a part of a stack with several spacings, how the whole stack is spaced. phase: of a part of a series in
    time, which one it is.
    """

    name: str
    frames: tuple[Frame, ...]
    steps: str = ""
    phase: Phase | None = None


def split_frames(frames: Sequence[Frame]) -> tuple[Part, ...]:
    """Split the frames of one series into volumes; the result does not depend on the order of its files.

    Frames of different orientations are first split into stacks of one orientation, if each has two slices or more.
    A stack with several frames at one position is split by the attribute, or the set of two or three attributes, that
    leaves one frame at each position of every part and makes no more parts than frames share a position; sets are
    tried from the smallest, in the order of ATTRIBUTES. Where none does, because times differ from slice to slice, it
    is split into phases, see `phases.phase_numbers`. A stack with one frame at each position stays whole, whatever
    differs between its frames; the exception is one with uneven steps whose StackIDs or acquisitions are evenly spaced
    by themselves, or one that `spacing_runs` finds to be taken with several spacings. Frames for which there is no such
    split, or which lack their geometry, stay together as one part.
    """
    whole = (Part("", tuple(frames)),)
    for frame in frames:
        if not (frame.position_mm and frame.orientation and frame.pixel_spacing_mm) or min(frame.pixel_spacing_mm) <= 0:
            return whole
    planes = _kinds([frame.orientation or () for frame in frames], COSINE_TOLERANCE)
    if len(set(planes)) == 1:
        return _split_places(frames, planes) or _split_stack(frames) or whole
    if len(set(planes)) > _MOST_KINDS:
        return whole
    stacks = [[frame for frame, plane in zip(frames, planes, strict=True) if plane == kind] for kind in set(planes)]
    if any(len(set(_places(stack, [0] * len(stack)))) < 2 for stack in stacks):
        return _split_places(frames, planes) or whole
    named = _numbered([(plane_of(stack[0]), stack) for stack in sorted(stacks, key=_orientation)])
    return tuple(
        replace(part, name=f"{name}, {part.name}" if part.name else name)
        for name, stack in named
        for part in _split_places(stack, [0] * len(stack)) or _split_stack(stack) or (Part("", tuple(stack)),)
    )


def _split_places(frames: Sequence[Frame], planes: Sequence[int]) -> tuple[Part, ...]:
    """The parts of frames several of which lie at one place; none if no place has several, or nothing explains it."""
    return _split_by_attributes(frames, planes) or _split_by_phases(frames, planes)


def _split_by_attributes(frames: Sequence[Frame], planes: Sequence[int]) -> tuple[Part, ...]:
    """The parts by the fewest attributes that explain the series; none if it needs no split, or none explains it."""
    shapes = _kinds([(frame.file.rows, frame.file.columns) for frame in frames], 0)
    spacings = _kinds([tuple(np.log(frame.pixel_spacing_mm or 1)) for frame in frames], SPACING_TOLERANCE)
    kinds = [*zip(planes, shapes, spacings, strict=True)]
    places = _places(frames, planes)
    shared = max(Counter(zip(kinds, places, strict=True)).values())
    mixed, most = len(set(kinds)) > 1, shared * len(set(kinds))
    if (shared == 1 and not mixed) or len(set(places)) < 2:
        return ()
    for chosen in _attribute_sets(frames):
        values = [tuple(frame.distinguishing[index] for index in chosen) for frame in frames]
        if len(set(values)) > most or len(set(zip(values, places, strict=True))) < len(frames):
            continue
        parts = {value: [i for i, other in enumerate(values) if other == value] for value in set(values)}
        if any(len({kinds[i] for i in part}) > 1 for part in parts.values()):
            continue
        if mixed and any(len(part) < 2 and not _is_localizer(frames[part[0]]) for part in parts.values()):
            continue
        ordered = sorted(parts, key=lambda value: [_number_first(text) for text in value])
        named = [
            Part(_name(chosen, value, number), tuple(frames[i] for i in parts[value]))
            for number, value in enumerate(ordered, start=1)
        ]
        return _as_phases(named, chosen, ordered, [[places[i] for i in parts[value]] for value in ordered])
    return ()


def _as_phases(
    parts: Sequence[Part],
    chosen: tuple[int, ...],
    values: Sequence[tuple[str, ...]],
    places: Sequence[Sequence[_Place]],
) -> tuple[Part, ...]:
    """The parts, numbered as phases where a time is among what tells them apart.

    chosen: of ATTRIBUTES. values: of those, for each part. places: of the frames of each part.
    """
    by_time = [at for at, index in enumerate(chosen) if ATTRIBUTES[index].name in TIMES]
    if len(by_time) != 1 or times_of([value[by_time[0]] for value in values]) is None:
        return tuple(parts)
    (time,) = by_time
    rest = tuple(index for at, index in enumerate(chosen) if at != time)
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, value in enumerate(values):
        groups.setdefault(value[:time] + value[time + 1 :], []).append(number)
    found = list(parts)
    for at, (group, members) in enumerate(groups.items(), start=1):
        lacks = lacking([places[number] for number in members])
        if len(members) < 2 or lacks is None:
            continue
        for nth, number in enumerate(members):
            about = (ATTRIBUTES[chosen[time]].name, float(values[number][time]), _name(rest, group, at), lacks[nth])
            found[number] = replace(parts[number], phase=Phase(nth + 1, len(members), *about))
    return tuple(found)


def _split_by_phases(frames: Sequence[Frame], planes: Sequence[int]) -> tuple[Part, ...]:
    """The phases of a series whose times differ from slice to slice, and of each kind of its images; else none."""
    places = _places(frames, planes)
    if max(Counter(places).values()) == 1:
        return ()
    varying = [index for index in range(len(ATTRIBUTES)) if len({frame.distinguishing[index] for frame in frames}) > 1]
    by_time = [index for index in varying if ATTRIBUTES[index].name in TIMES]
    for kind, time in itertools.product((None, *(index for index in varying if index not in by_time)), by_time):
        groups: dict[str, list[int]] = {}
        for number, frame in enumerate(frames):
            groups.setdefault("" if kind is None else frame.distinguishing[kind], []).append(number)
        if len(groups) > _MOST_KINDS:
            continue
        split = []
        for at, (value, own) in enumerate(sorted(groups.items()), start=1):
            name = "" if kind is None else _name((kind,), (value,), at)
            split.append(_phases_of([frames[i] for i in own], [places[i] for i in own], time, name))
        if all(split):
            return tuple(part for parts in split for part in parts)
    return ()


def _phases_of(frames: Sequence[Frame], places: Sequence[_Place], time: int, group: str) -> tuple[Part, ...]:
    """The phases of one kind of images by the attribute numbered `time`; none if it makes none."""
    times = times_of([frame.distinguishing[time] for frame in frames])
    numbers = phase_numbers(places, times) if times else None
    if times is None or numbers is None:
        return ()
    members = [[i for i, number in enumerate(numbers) if number == phase] for phase in range(max(numbers) + 1)]
    lacks = lacking([[places[i] for i in own] for own in members])
    if lacks is None:
        return ()
    attribute, parts = ATTRIBUTES[time], []
    for number, own in enumerate(members, start=1):
        at = float(np.median([times[i] for i in own]))
        name = ", ".join(filter(None, (group, f"{attribute.name} {at:.5g} {attribute.unit}".rstrip())))
        phase = Phase(number, len(members), attribute.name, at, group, lacks[number - 1])
        parts.append(Part(name, tuple(frames[i] for i in own), phase=phase))
    return tuple(parts)


def _split_by_slabs(frames: Sequence[Frame]) -> tuple[Part, ...]:
    """The stacks, or the acquisitions, of a series of uneven steps, if each is even by itself; else none."""
    for index in (index for index, each in enumerate(ATTRIBUTES) if each.name in _SLABS):
        values = sorted({frame.distinguishing[index] for frame in frames}, key=_number_first)
        slabs = [tuple(frame for frame in frames if frame.distinguishing[index] == value) for value in values]
        if not 2 <= len(slabs) <= _MOST_SLABS or min(map(len, slabs)) < _FEWEST_SLICES:
            continue
        if _is_gapped(frames) and not any(map(_is_gapped, slabs)):
            names = [_name((index,), (value,), number) for number, value in enumerate(values, start=1)]
            return tuple(Part(name, slab) for name, slab in zip(names, slabs, strict=True))
    return ()


def _split_stack(frames: Sequence[Frame]) -> tuple[Part, ...]:
    """The parts of a stack of uneven steps, each of which is even; none if it is even, or nothing explains it."""
    return _split_by_slabs(frames) or _split_by_spacing(frames)


def _split_by_spacing(frames: Sequence[Frame]) -> tuple[Part, ...]:
    """The runs of slices that lie equally far apart, of a stack that was taken with several spacings; else none."""
    if not _is_gapped(frames):
        return ()
    runs = spacing_runs(frames)
    steps = "slices " + ", then ".join(
        f"{run.first} to {run.first + len(run.frames) - 1} lie {run.step_mm:.3g} mm apart" for run in runs
    )
    named = _numbered([(f"{run.step_mm:.3g} mm apart", list(run.frames)) for run in runs])
    return tuple(Part(name, tuple(part), steps) for name, part in named)


def _is_gapped(frames: Sequence[Frame]) -> bool:
    return judge((), frames)[0].kind is VerdictKind.GAP


def _attribute_sets(frames: Sequence[Frame]) -> Iterator[tuple[int, ...]]:
    """Sets of indices of ATTRIBUTES that vary within the frames, the smallest sets first."""
    varying = [index for index in range(len(ATTRIBUTES)) if len({frame.distinguishing[index] for frame in frames}) > 1]
    for size in range(1, _MOST_ATTRIBUTES + 1):
        yield from itertools.combinations(varying, size)


def _places(frames: Sequence[Frame], planes: Sequence[int]) -> list[_Place]:
    """The plane of each frame, and a number: frames of one number lie at one distance along that plane's normal."""
    places = np.empty(len(frames), int)
    for plane in set(planes):
        own = np.flatnonzero(np.array(planes) == plane).tolist()
        along_mm = positions_of([frames[i] for i in own]) @ normal_of(frames[own[0]])
        order = np.argsort(along_mm, kind="stable")
        places[np.array(own)[order]] = np.cumsum(
            np.diff(along_mm[order], prepend=along_mm[order[0]]) >= DUPLICATE_TOLERANCE_MM
        )
    return [(plane, int(place)) for plane, place in zip(planes, places, strict=True)]


def _kinds(vectors: Sequence[Sequence[float]], tolerance: float) -> list[int]:
    """A number for each vector: vectors of one number are equal to within the tolerance, but for the last of many."""
    rest, kinds = np.array(vectors, float), np.full(len(vectors), -1)
    for kind in range(_MOST_KINDS):
        first = int(np.argmax(kinds < 0))
        kinds[(kinds < 0) & (np.abs(rest - rest[first]).max(axis=1) <= tolerance)] = kind
        if (kinds >= 0).all():
            break
    kinds[kinds < 0] = _MOST_KINDS
    return [int(kind) for kind in kinds]


def _name(chosen: tuple[int, ...], value: tuple[str, ...], number: int) -> str:
    words = []
    for index, text in zip(chosen, value, strict=True):
        attribute = ATTRIBUTES[index]
        if is_shown(attribute):
            unit = f" {attribute.unit}" if attribute.unit and text else ""
            words.append(f"{attribute.name} {text or 'none'}{unit}")
        else:
            words.append(f"{attribute.name} time {number}")
    return ", ".join(words)


def _numbered(named: list[tuple[str, list[Frame]]]) -> list[tuple[str, list[Frame]]]:
    """Names made different: two axial stacks are "axial 1" and "axial 2"."""
    total, seen = Counter(name for name, _ in named), Counter[str]()
    numbered = []
    for name, frames in named:
        seen[name] += 1
        numbered.append((f"{name} {seen[name]}" if total[name] > 1 else name, frames))
    return numbered


def _orientation(stack: Sequence[Frame]) -> tuple[str, tuple[float, ...]]:
    return plane_of(stack[0]), stack[0].orientation or ()


def _is_localizer(frame: Frame) -> bool:
    return "LOCALIZER" in frame.file.image_type


def _number_first(text: str) -> tuple[float, str]:
    try:
        return float(text), text
    except ValueError:
        return float("inf"), text
