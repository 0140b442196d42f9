"""The measure of a locator: the margin that it needs, sides swapped, and what the field of view cut off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from swinunet.imaging import ModelSpec, Volume
from swinunet.training.studies.locator_check import CONDITIONS, Found, Judged, Side, judge, on_locator_grid, summary

SPEC = ModelSpec.from_json((Path(__file__).parents[2] / "training/specs/head_locator.json").read_text(), "spec")


def labels() -> Volume:
    """2 mm, in LPS: left at x 60 to 78, right at x 20 to 38 (outermost voxel centres)."""
    voxels = np.zeros((60, 60, 60), np.uint8)
    voxels[30:40, 20:30, 20:30] = 1
    voxels[10:20, 20:30, 20:30] = 2
    return Volume(voxels, np.diag([2.0, 2.0, 2.0, 1.0]))


def found(left: tuple[float, float] | None, right: tuple[float, float] | None) -> Found:
    sides = []
    for name, x in (("Left hippocampus", left), ("Right hippocampus", right)):
        low, high = ((x[0], 39.0, 39.0), (x[1], 59.0, 59.0)) if x else (None, None)
        sides.append(Side(name, 3.0 if x else 0.0, 0.9, low, high))
    return Found(1200.0, 1, tuple(sides))


def judged(
    left: tuple[float, float] | None, right: tuple[float, float] | None, truth: Volume | None = None
) -> list[Judged]:
    return judge("head", "as it is", truth or labels(), SPEC, found(left, right), margin_mm=5.0)


def test_a_box_that_holds_all_needs_no_margin() -> None:
    for side in judged((59, 79), (19, 39)):
        assert (side.held, side.swapped, side.whole) == (1.0, False, True)
        assert side.needed_mm == pytest.approx(-1)


@pytest.mark.parametrize(("short_mm", "held"), [(4.0, 1.0), (9.0, 0.8)])
def test_the_margin_needed_is_how_far_the_furthest_voxel_lies_outside(short_mm: float, held: float) -> None:
    left = judged((59 + short_mm, 79), (19, 39))[0]
    assert left.needed_mm == pytest.approx(short_mm - 1)
    assert left.held == pytest.approx(held)


def test_sides_that_are_swapped_are_counted() -> None:
    assert [side.swapped for side in judged((19, 39), (59, 79))] == [True, True]
    assert summary(judged((19, 39), (59, 79)))[0]["swapped"] == 2


def test_a_side_that_is_not_there_may_not_be_found() -> None:
    image = labels()
    half = image.crop((slice(25, 60), slice(0, 60), slice(0, 60)))  # the left one only
    line = summary(judged((59, 79), None, half))[0]
    assert (line["whole"], line["held"], line["absent"], line["invented"]) == (1, 1, 1, 0)
    assert summary(judged((59, 79), (52, 58), half))[0]["invented"] == 1
    assert judged((59, 79), (60, 78), half)[1].swapped  # found, where the other side is


def test_a_side_that_a_face_cuts_is_not_counted_as_whole() -> None:
    cut = labels().crop((slice(32, 60), slice(0, 60), slice(0, 60)))
    assert [side.whole for side in judged((63, 79), None, cut)] == [False, False]


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 5.0, 0.5), (2.0, 2.0, 2.0), (3.0, 1.0, 0.7)])
def test_the_grid_keeps_places(spacing: tuple[float, float, float]) -> None:
    shape = tuple(round(120 / mm) for mm in spacing)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -30, 12, 7
    places = [np.arange(count) * mm + start for count, mm, start in zip(shape, spacing, affine[:3, 3], strict=True)]
    image = Volume(np.add.outer(np.add.outer(places[0], 2 * places[1]), 3 * places[2]).astype(np.float32), affine)
    small = on_locator_grid(image, SPEC)
    assert small.spacing_mm == pytest.approx((2, 2, 2), rel=0.02)
    at = np.argwhere(np.ones(small.shape, bool))[:: max(1, small.voxels.size // 500)]
    at = at[((at > 3) & (at < np.array(small.shape) - 4)).all(axis=1)]
    true = (at @ small.affine[:3, :3].T + small.affine[:3, 3]) @ [1, 2, 3]
    assert small.voxels[tuple(at.T)] == pytest.approx(true, abs=0.1)


def test_of_what_is_too_large_the_top_and_the_middle_are_kept() -> None:
    small = on_locator_grid(Volume(np.ones((150, 40, 200), np.float32), np.diag([2.0, 2.0, 2.0, 1.0])), SPEC)
    assert small.shape == (128, 40, 128)
    assert small.affine[:3, 3] == pytest.approx([22, 0, 144])


def test_every_condition_keeps_image_and_labels_on_one_grid() -> None:
    image, truth = Volume(labels().voxels.astype(np.float32) * 50 + 10, labels().affine), labels()
    for name, change in CONDITIONS.items():
        shown, seen = change(image, truth, np.random.default_rng(0))
        assert shown.same_grid(seen), name
