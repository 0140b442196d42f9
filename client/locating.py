"""Boxes for a model that was trained on crops, found in a whole study by another model on the same server.

The spec of the model says which locator finds them (`ModelSpec.boxes`), the spec of the locator how sure it must be
(`ModelSpec.locating`). A study that is no larger than a crop is taken as one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

from swinunet.client.rois import Roi
from swinunet.client.segments import Side
from swinunet.client.triton import JobControl, TritonModel
from swinunet.foundation.errors import GeometryError, InputError
from swinunet.imaging import ModelSpec, Volume
from swinunet.imaging.location import Location, LocatorSlices, Part, Ranges, box_around
from swinunet.imaging.slices import require_in_view

_INSTEAD = "choose another series, or boxes (--roi)"


@dataclass(frozen=True)
class LocatedPart:
    """What the locator says of one box that the model wants.

    probability: mean over what was found; where nothing was, the highest anywhere. ml: of what was found.
    fault: why there is no box; empty if there is one.
    """

    label: str
    side: Side | None
    probability: float
    ml: float
    fault: str = ""


@dataclass(frozen=True)
class Located:
    """Boxes that a locator found. locator: its spec. whole_ml: of all that it looks in, the brain for one.

    rois: the boxes; at least one. parts: one for each box that the model wants, also for those not found.
    """

    locator: ModelSpec
    margin_mm: float
    whole_ml: float
    parts: tuple[LocatedPart, ...]
    rois: tuple[Roi, ...]
    seconds: float


def needs_locator(spec: ModelSpec, volume: Volume) -> bool:
    """Whether boxes are to be found in a study: its model's spec says how, and it is larger than a crop."""
    if spec.boxes is None:
        return False
    try:
        require_in_view(volume.shape, volume.affine, spec)
    except GeometryError:
        return True
    return False


def locate_boxes(
    volume: Volume,
    model: TritonModel,
    tick: Callable[[int], None] = lambda slices: None,
    expect: Callable[[int], None] = lambda slices: None,
    control: JobControl | None = None,
) -> Located:
    """Ask the model's locator for the boxes that the model's spec wants.

    tick, expect: called with slices that are done, and that will be asked for.
    Raises InputError where there is nothing to find, ServerError if the locator is not served or fails, SpecError if it
    cannot find what the model wants.
    """
    began = time.perf_counter()
    control = control or model.new_job()
    boxes, locator = model.spec.boxes, model.locator()
    assert boxes is not None
    slices = LocatorSlices(volume, locator.spec)
    expect(len(slices))
    batches = slices.batches(locator.batch_size("probabilities"))
    with control.turn, closing(locator.predict(batches, "probabilities", control)) as answers:
        for answer in answers:
            slices.add(answer.start, answer.tensor)
            tick(len(answer.tensor))
    location = slices.location()
    parts = tuple(_located(location, box.label, box.side) for box in boxes.around)
    _require_something(location, parts, locator.spec)
    wanted = [(location.part(part.label), part.side) for part in parts if not part.fault]
    rois = _rois(volume, wanted, boxes.margin_mm, model.spec)
    return Located(locator.spec, boxes.margin_mm, location.whole_ml, parts, rois, seconds=time.perf_counter() - began)


def _located(location: Location, label: str, side: Side | None) -> LocatedPart:
    part = location.part(label)
    return LocatedPart(label, side, part.probability, part.ml, part.fault)


def _require_something(location: Location, parts: Sequence[LocatedPart], locator: ModelSpec) -> None:
    """Raise InputError if the study does not show what the locator looks in, or none of the parts was found."""
    assert locator.locating is not None
    who, whole = f"{locator.name} version {locator.version}", locator.locating.whole
    if location.fault:
        raise InputError(f"the image does not look like one of a {whole}: {who} finds {location.fault}; {_INSTEAD}")
    if all(part.fault for part in parts):
        found = "; ".join(f"{part.label}: {part.fault}" for part in parts)
        raise InputError(
            f"{who} finds {location.whole_ml:.0f} ml of {whole}, but nothing to segment in it ({found}); {_INSTEAD}"
        )


def _rois(
    volume: Volume, wanted: Sequence[tuple[Part, Side | None]], margin_mm: float, spec: ModelSpec
) -> tuple[Roi, ...]:
    """The boxes along the volume's axes, none larger than the model's field of view; where they meet, they share."""
    assert spec.spacing_mm is not None
    longest_mm = min(pixels * mm for pixels, mm in zip(spec.input_size, spec.spacing_mm, strict=True))
    ranges = [box_around(part, volume, margin_mm, longest_mm) for part, _ in wanted]
    for one in range(len(ranges)):
        for other in range(one):
            ranges[other], ranges[one] = _apart(ranges[other], ranges[one])
    return tuple(Roi.of_ranges(volume, each, side) for each, (_, side) in zip(ranges, wanted, strict=True))


def _apart(one: Ranges, other: Ranges) -> tuple[Ranges, Ranges]:
    """Two boxes, cut half-way along the axis where they overlap least, so that no voxel is in both."""
    overlap = [min(a.stop, b.stop) - max(a.start, b.start) for a, b in zip(one, other, strict=True)]
    axis = min(range(3), key=lambda each: overlap[each])
    if overlap[axis] <= 0:
        return one, other
    middle = max(one[axis].start, other[axis].start) + overlap[axis] // 2
    first_is_lower = one[axis].start + one[axis].stop < other[axis].start + other[axis].stop
    lower, upper = (one, other) if first_is_lower else (other, one)
    lower = _with(lower, axis, slice(lower[axis].start, middle))
    upper = _with(upper, axis, slice(middle, upper[axis].stop))
    return (lower, upper) if first_is_lower else (upper, lower)


def _with(ranges: Ranges, axis: int, wanted: slice) -> Ranges:
    i, j, k = (wanted if at == axis else each for at, each in enumerate(ranges))
    return i, j, k
