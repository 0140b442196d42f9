"""Where a locator's answer lies in the patient: the grid it reads, sides, boxes, and what is refused by name.

The locator here is a rule on the image that the test drew: voxels of 100 are brain, 180 the left structure, 300 the
right one. It answers what the slices it is given show, so everything between image and box is under test.
"""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest

from swinunet.foundation.errors import InputError, SpecError
from swinunet.imaging import ModelSpec, Volume, Window
from swinunet.imaging.box_spec import Boxes, LocatedBox
from swinunet.imaging.location import Location, LocatorSlices, Part, box_around, locator_grid, require_locator

SHIPPED = ModelSpec.from_json((Path(__file__).parents[2] / "training/specs/head_locator.json").read_text(), "spec")
SPEC = dataclasses.replace(SHIPPED, intensity=Window(0.0, 300.0), context_slices=1, input_size=(64, 64))
LEFT, RIGHT = "Left hippocampus", "Right hippocampus"
CENTRE_MM = {LEFT: np.array([20.0, 8.0, -6.0]), RIGHT: np.array([-20.0, 8.0, -6.0])}
HALF_MM = np.array([7.0, 11.0, 6.0])


def head(affine: np.ndarray, shape: tuple[int, int, int], without: tuple[str, ...] = ()) -> Volume:
    """A ball of brain of 42 mm, and a box of each side in it, on any grid; edges are soft, as a scanner's are."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    places = index @ affine[:3, :3].T + affine[:3, 3]
    voxels = 100 * np.clip((42 - np.linalg.norm(places, axis=-1)) / 2 + 0.5, 0, 1)
    for name, value in ((LEFT, 180.0), (RIGHT, 300.0)):
        beyond = (np.abs(places - CENTRE_MM[name]) - HALF_MM).max(axis=-1)
        inside = np.clip(0.5 - beyond / 2, 0, 1) * (name not in without)
        voxels = voxels * (1 - inside) + value * inside
    return Volume(voxels.astype(np.float32), affine)


def grid(axes: np.ndarray, spacing: tuple[float, float, float], shape: tuple[int, int, int]) -> np.ndarray:
    """The affine of a grid with these axes (columns) whose middle is the patient's origin."""
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def answer(images: np.ndarray, mirrored: bool, knows: str = "both") -> np.ndarray:
    """Probabilities [B, 4, H, W] of slices: what a perfect network says, or one that never learnt the right side.

    In a mirror the left structure lies where the right one was, and looks like it; a real network cannot tell. So the
    bright one, which is what it sees, is the other one there.
    """
    values = (images[:, 0].astype(np.float32) + 1) * 150
    left, right = (values > 140) & (values < 215), values >= 215
    if mirrored:
        left, right = right, left
    found = np.zeros((len(images), 4, *values.shape[1:]), np.float32)
    found[:, 1] = left * 0.9
    found[:, 2] = right * (0.9 if knows == "both" else 0.0)
    found[:, 3] = (values > 50) * 1.0 - found[:, 1] - found[:, 2]
    found[:, 0] = 1 - found[:, 1:].sum(axis=1)
    return found


def located(volume: Volume, spec: ModelSpec = SPEC, knows: str = "both") -> Location:
    slices = LocatorSlices(volume, spec)
    for start, images in slices.batches(7):
        slices.add(start, answer(images, start >= len(slices) // 2, knows))
    return slices.location()


ORIENTATIONS = [
    np.eye(3)[:, list(order)] * signs
    for order in itertools.permutations(range(3))
    for signs in itertools.product([1, -1], repeat=3)
]


@pytest.mark.parametrize("at", range(48))
def test_sides_and_boxes_are_the_same_in_all_48_orientations(at: int) -> None:
    shape = (48, 50, 52)
    axes = ORIENTATIONS[at]
    turned = tuple(int(n) for n in np.abs(axes.T) @ shape)
    volume = head(grid(axes, (2.0, 2.0, 2.0), turned), turned)
    for knows in ("both", "left")[: 1 + (at % 8 == 0)]:
        found = located(volume, knows=knows)
        assert found.fault == ""
        for part in found.parts:
            assert part.found, (part.label, part.fault)
            assert part.centre_mm == pytest.approx(CENTRE_MM[part.label], abs=1.0)
            held = volume.crop(box_around(part, volume, 4.0)).extent_mm()
            assert (held[0] <= CENTRE_MM[part.label] - HALF_MM).all()
            assert (held[1] >= CENTRE_MM[part.label] + HALF_MM).all()
            assert (held[1] - held[0] <= 2 * HALF_MM + 2 * 4 + 4.5).all()


def turn(axis: int, degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    one, other = [each for each in range(3) if each != axis]
    rotation = np.eye(3)
    rotation[one, one] = rotation[other, other] = np.cos(angle)
    rotation[one, other], rotation[other, one] = -np.sin(angle), np.sin(angle)
    return rotation


@pytest.mark.parametrize("degrees", [-44.0, -20.0, 12.0, 30.0, 44.0])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_oblique_grids_find_the_same_places(axis: int, degrees: float) -> None:
    shape = (60, 58, 62)
    volume = head(grid(turn(axis, degrees), (2.0, 2.0, 2.0), shape), shape)
    found = located(volume)
    assert found.fault == ""
    for part in found.parts:
        assert part.centre_mm == pytest.approx(CENTRE_MM[part.label], abs=2.0)
        crop = volume.crop(box_around(part, volume, 4.0))
        corners = np.stack(np.meshgrid(*zip(-HALF_MM, HALF_MM, strict=True), indexing="ij"), -1).reshape(-1, 3)
        index = np.linalg.solve(crop.affine, np.c_[corners + CENTRE_MM[part.label], np.ones(8)].T)[:3]
        assert index.min() >= -0.5
        assert (index.max(axis=1) <= np.array(crop.shape) - 0.5).all()


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 5.0, 0.8), (1.2, 0.9, 4.0), (3.0, 3.0, 3.0)])
def test_any_spacing_finds_the_same_places(spacing: tuple[float, float, float]) -> None:
    shape = tuple(int(100 / mm) for mm in spacing)
    volume = head(grid(np.eye(3), spacing, shape), shape)
    assert located(volume).fault == ""
    for part in located(volume).parts:
        assert part.centre_mm == pytest.approx(CENTRE_MM[part.label], abs=max(spacing) / 2 + 0.5)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 5.0, 0.5), (2.0, 2.0, 2.0), (3.0, 1.0, 0.7)])
def test_the_grid_keeps_places(spacing: tuple[float, float, float]) -> None:
    shape = tuple(round(120 / mm) for mm in spacing)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -30, 12, 7
    places = [np.arange(count) * mm + start for count, mm, start in zip(shape, spacing, affine[:3, 3], strict=True)]
    image = Volume(np.add.outer(np.add.outer(places[0], 2 * places[1]), 3 * places[2]).astype(np.float32), affine)
    small = locator_grid(image, SPEC)
    assert small.spacing_mm == pytest.approx((2, 2, 2), rel=0.02)
    at = np.argwhere(np.ones(small.shape, bool))[:: max(1, small.voxels.size // 500)]
    at = at[((at > 3) & (at < np.array(small.shape) - 4)).all(axis=1)]
    true = (at @ small.affine[:3, :3].T + small.affine[:3, 3]) @ [1, 2, 3]
    assert small.voxels[tuple(at.T)] == pytest.approx(true, abs=0.1)


def test_of_what_is_too_large_the_top_and_the_middle_are_kept() -> None:
    small = locator_grid(Volume(np.ones((150, 40, 200), np.float32), np.diag([2.0, 2.0, 2.0, 1.0])), SPEC)
    assert small.shape == (64, 40, 64)
    assert small.affine[:3, 3] == pytest.approx([86, 0, 272])


@pytest.mark.parametrize("spacing", [0.93, 1.0, 1.07, 1.9, 2.1])
def test_no_study_is_larger_than_the_field_of_view(spacing: float) -> None:
    shape = (round(140 / spacing), 40, round(150 / spacing))
    voxels = np.random.default_rng(0).normal(100, 10, shape).astype(np.float32)
    LocatorSlices(Volume(voxels, np.diag([spacing, 2.0, spacing, 1.0])), SPEC)  # 128 mm


def test_a_side_that_is_not_there_is_named_and_the_other_one_is_found() -> None:
    shape = (48, 50, 52)
    found = located(head(grid(np.eye(3), (2.0, 2.0, 2.0), shape), shape, without=(RIGHT,)))
    assert found.fault == ""
    assert found.part(LEFT).found
    assert found.part(RIGHT).fault == "nothing with a probability above 0.5, the highest is 0.00"


def test_without_a_brain_there_is_no_head() -> None:
    voxels = head(np.diag([2.0, 2, 2, 1]), (50, 50, 50)).voxels
    found = located(Volume(np.where(voxels > 150, voxels, voxels * 0.2).astype(np.float32), np.diag([2.0, 2, 2, 1])))
    assert found.fault.endswith("ml of brain, expected 250 to 2400 ml")


def test_left_to_the_right_of_right_is_no_head() -> None:
    shape = (48, 50, 52)
    volume = head(grid(np.eye(3), (2.0, 2.0, 2.0), shape), shape)
    swapped = {100.0: 100.0, 180.0: 300.0, 300.0: 180.0}
    voxels = np.select([np.isclose(volume.voxels, old) for old in swapped], list(swapped.values()), volume.voxels)
    found = located(Volume(voxels.astype(np.float32), volume.affine))
    assert found.fault == f"{LEFT} to the right of {RIGHT}"


def test_sides_that_are_too_near_are_no_head() -> None:
    ruled = dataclasses.replace(SPEC.locating, apart_mm=(70.0, 90.0))
    shape = (48, 50, 52)
    found = located(head(grid(np.eye(3), (2.0,) * 3, shape), shape), dataclasses.replace(SPEC, locating=ruled))
    assert found.fault == f"{LEFT} and {RIGHT} 40 mm apart, expected 70 to 90 mm"


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ({"part_ml": (0.1, 2.0)}, "expected 0.1 to 2 ml"),
        ({"least_probability": 0.95}, "mean probability 0.90, expected 0.95 or more"),
    ],
)
def test_a_part_that_is_no_such_structure_is_not_found(rule: dict[str, object], fault: str) -> None:
    shape = (48, 50, 52)
    spec = dataclasses.replace(SPEC, locating=dataclasses.replace(SPEC.locating, **rule))
    found = located(head(grid(np.eye(3), (2.0,) * 3, shape), shape), spec)
    assert [part.fault.endswith(fault) for part in found.parts] == [True, True]


def test_what_is_constant_or_not_finite_is_refused() -> None:
    with pytest.raises(InputError, match="the image is constant"):
        LocatorSlices(Volume(np.zeros((50, 50, 50), np.float32), np.diag([2.0, 2, 2, 1])), SHIPPED)
    voxels = head(np.diag([2.0, 2, 2, 1]), (50, 50, 50)).voxels
    voxels[3, 3, 3] = np.nan
    with pytest.raises(InputError, match=r"not finite numbers \(1 of 125000\)"):
        LocatorSlices(Volume(voxels, np.diag([2.0, 2, 2, 1])), SPEC)


def a_part(length_mm: float) -> Part:
    places = np.array([[0.0, 0.0, 0.0], [length_mm - 2, 0.0, 0.0]])
    return Part(LEFT, 3.0, 0.9, places, 2.0)


def test_a_box_is_no_longer_than_the_network_sees_and_ends_with_the_volume() -> None:
    volume = Volume(np.zeros((100, 100, 100), np.uint8), np.eye(4))
    affine = np.eye(4)
    affine[:3, 3] = -20
    wide = Volume(volume.voxels, affine)
    ranges = box_around(a_part(40), wide, 8.0)
    assert [(each.start, each.stop) for each in ranges] == [(11, 68), (11, 30), (11, 30)]  # x -9..47, y and z -9..9
    ranges = box_around(a_part(40), wide, 8.0, longest_mm=50)
    assert (ranges[0].start, ranges[0].stop) == (14, 64)
    assert box_around(a_part(40), volume, 8.0)[1] == slice(0, 10)  # the rest lies outside
    coarse = Volume(np.zeros((40, 40, 40), np.uint8), np.diag([2.0, 2.0, 2.0, 1.0]))
    for length_mm in (38.0, 40.0, 41.0, 44.0):
        size = box_around(Part(LEFT, 3.0, 0.9, a_part(length_mm).places_mm + 11.3, 2.0), coarse, 8.0, longest_mm=44)[0]
        assert 2 * (size.stop - size.start) <= 44
    with pytest.raises(InputError, match="is 40 mm long, the model sees 30 mm"):
        box_around(a_part(40), wide, 8.0, longest_mm=30)


def consumer(**changes: object) -> ModelSpec:
    boxes = Boxes(SHIPPED.name, (LocatedBox(LEFT, "left"), LocatedBox(RIGHT, "right")), 8.0)
    return dataclasses.replace(SHIPPED, **({"name": "consumer", "locating": None, "boxes": boxes} | changes))


def test_a_locator_that_cannot_find_what_is_wanted_is_refused() -> None:
    require_locator(consumer(), SHIPPED)
    with pytest.raises(SpecError, match="which is no locator"):
        require_locator(consumer(), dataclasses.replace(SHIPPED, locating=None))
    with pytest.raises(SpecError, match="which reads MR, not CT"):
        require_locator(consumer(modality="CT"), SHIPPED)
    strange = Boxes(SHIPPED.name, (LocatedBox("Rest of the brain"),), 8.0)
    with pytest.raises(SpecError, match="does not know 'Rest of the brain'; it finds Left hippocampus, Right"):
        require_locator(consumer(boxes=strange), SHIPPED)
