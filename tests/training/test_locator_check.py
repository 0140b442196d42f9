"""The measure of a locator: the margin that it needs, sides swapped, and what the field of view cut off."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from swinunet.imaging import ModelSpec, Volume
from swinunet.imaging.location import Location, Part
from swinunet.training.metrics.box_scores import score_boxes
from swinunet.training.studies.locator_check import CONDITIONS, Judged, summary

SPEC = ModelSpec.from_json((Path(__file__).parents[2] / "training/specs/head_locator.json").read_text(), "spec")


def labels() -> Volume:
    """2 mm, in LPS: left at x 60 to 78, right at x 20 to 38 (outermost voxel centres)."""
    voxels = np.zeros((60, 60, 60), np.uint8)
    voxels[30:40, 20:30, 20:30] = 1
    voxels[10:20, 20:30, 20:30] = 2
    return Volume(voxels, np.diag([2.0, 2.0, 2.0, 1.0]))


def found(left: tuple[float, float] | None, right: tuple[float, float] | None) -> Location:
    """Boxes whose outermost voxel edges lie at these x, and from 39 to 59 mm otherwise."""
    parts = []
    for name, x in (("Left hippocampus", left), ("Right hippocampus", right)):
        places = np.array([[x[0] + 1, 40.0, 40.0], [x[1] - 1, 58.0, 58.0]]) if x else np.empty((0, 3))
        parts.append(Part(name, 3.0 if x else 0.0, 0.9, places, 2.0, "" if x else "nothing there"))
    return Location(1200.0, tuple(parts))


def judged(
    left: tuple[float, float] | None, right: tuple[float, float] | None, truth: Volume | None = None
) -> list[Judged]:
    scores = score_boxes(truth or labels(), SPEC, found(left, right), margin_mm=5.0)
    return [Judged(**dataclasses.asdict(score), case="head", condition="as it is") for score in scores]


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


def test_every_condition_keeps_image_and_labels_on_one_grid() -> None:
    image, truth = Volume(labels().voxels.astype(np.float32) * 50 + 10, labels().affine), labels()
    for name, change in CONDITIONS.items():
        shown, seen = change(image, truth, np.random.default_rng(0))
        assert shown.same_grid(seen), name
