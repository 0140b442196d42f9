"""A side that contradicts the box's place is refused; a right answer never is, wherever the patient's middle lies."""

from __future__ import annotations

import numpy as np
import pytest
from placed_volumes import axis_orders

from swinunet.client.rois import Roi
from swinunet.client.sides import require_sides
from swinunet.foundation.errors import GeometryError
from swinunet.imaging import Volume

LEFT, RIGHT = (10.0, 40.0, -20.0, 20.0, -20.0, 20.0), (-40.0, -10.0, -20.0, 20.0, -20.0, 20.0)


def head(matrix: np.ndarray | None = None, middle_mm: float = 0.0, width_mm: float = 150.0, air: float = 0.0) -> Volume:
    """A head, an ellipsoid of noise brighter than the air around it, whose middle is at x = middle_mm."""
    matrix = np.eye(3) if matrix is None else matrix
    sides_mm = np.array([220.0, 240.0, 220.0])
    shape = np.ceil(np.abs(np.linalg.solve(matrix / np.linalg.norm(matrix, axis=0), sides_mm))).astype(int)
    shape = np.maximum(1, shape / np.linalg.norm(matrix, axis=0)).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = np.array([middle_mm, 0, 0]) - matrix @ (shape - 1) / 2
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    lps = index @ matrix.T + affine[:3, 3] - [middle_mm, 0, 0]
    inside = (np.square(lps / np.array([width_mm / 2, 95, 90])).sum(axis=-1)) <= 1
    noise = np.random.default_rng(0).normal(0, 10, shape)
    return Volume(np.where(inside, 500 + 5 * noise, air + noise).astype(np.float32), affine)


def shifted(box: tuple[float, ...], mm: float) -> tuple[float, ...]:
    return (box[0] + mm, box[1] + mm, *box[2:])


def refused(rois: list[Roi], volume: Volume, body_part: str = "BRAIN") -> str:
    with pytest.raises(GeometryError) as caught:
        require_sides(rois, volume, body_part)
    return str(caught.value)


COARSE = [3 * matrix for matrix in axis_orders()[::6]]


@pytest.mark.parametrize("matrix", COARSE)
@pytest.mark.parametrize("middle_mm", [-60.0, 0.0, 45.0])
def test_the_wrong_half_of_a_head_is_refused_and_the_right_one_is_not(matrix: np.ndarray, middle_mm: float) -> None:
    """Wherever the head lies in the scanner, and however its slices run."""
    volume = head(matrix, middle_mm)
    left, right = shifted(LEFT, middle_mm), shifted(RIGHT, middle_mm)
    require_sides([Roi(left, "left"), Roi(right, "right")], volume, "BRAIN")
    require_sides([Roi(left, "left")], volume, "BRAIN")
    require_sides([Roi(right, "right")], volume, "BRAIN")
    assert "named left" in refused([Roi(right, "left")], volume)
    assert "wholly in the left half of the head" in refused([Roi(left, "right")], volume)


def test_ct_has_a_middle_as_well() -> None:
    volume = head(3 * np.eye(3), air=-1000.0)
    require_sides([Roi(LEFT, "left")], volume, "HEAD")
    refused([Roi(RIGHT, "left")], volume, "HEAD")


def test_two_names_exchanged_are_refused_in_any_part_of_the_body() -> None:
    volume = Volume(np.ones((4, 4, 4), np.float32), np.eye(4))
    for body_part in ("BRAIN", "CHEST", ""):
        said = refused([Roi(RIGHT, "left"), Roi(LEFT, "right")], volume, body_part)
        assert said.startswith("the box named left (x up to -10 mm) lies to the patient's right of the one named right")
    far = (-90.0, -60.0, *LEFT[2:])
    refused([Roi(LEFT, "left"), Roi(far, "left"), Roi(RIGHT, "right")], volume, "CHEST")


def test_boxes_whose_ranges_overlap_are_not_compared() -> None:
    volume = Volume(np.ones((4, 4, 4), np.float32), np.eye(4))
    above = (-30.0, 5.0, -20.0, 20.0, 30.0, 60.0)
    require_sides([Roi(above, "left"), Roi(RIGHT, "right")], volume, "CHEST")


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("first", "last"), [(36, 48), (26, 38), (2, 36), (37, 71), (0, 50), (20, 73)])
def test_what_does_not_show_the_whole_head_is_left_alone(first: int, last: int, side: str) -> None:
    """One hippocampus, the middle, a half of the head with its air, more than a half: none of them shows a middle."""
    volume = head(3 * np.eye(3)).crop((slice(first, last), slice(20, 60), slice(15, 55)))
    low, high = volume.extent_mm()
    thirds = low[0] + (high[0] - low[0]) * np.array([0.05, 0.3, 0.7, 0.95])
    for box in ((*thirds[:2], -9, 9, -9, 9), (*thirds[2:], -9, 9, -9, 9)):
        require_sides([Roi(box, side)], volume, "BRAIN")  # type: ignore[arg-type]


@pytest.mark.parametrize("body_part", ["CHEST", "HEART", "KNEE", "ABDOMEN", ""])
def test_other_parts_of_the_body_have_no_middle_that_tells(body_part: str) -> None:
    require_sides([Roi(RIGHT, "left")], head(3 * np.eye(3)), body_part)


def test_what_is_narrower_than_a_head_has_none_either() -> None:
    require_sides([Roi(RIGHT, "left")], head(3 * np.eye(3), width_mm=90), "BRAIN")
    refused([Roi(RIGHT, "left")], head(3 * np.eye(3), width_mm=110))


@pytest.mark.parametrize("reach_mm", [-4.0, 0.0, 12.0])
def test_a_box_that_reaches_the_middle_keeps_its_name(reach_mm: float) -> None:
    require_sides([Roi((-40.0, reach_mm, *LEFT[2:]), "left")], head(3 * np.eye(3)), "BRAIN")
    require_sides([Roi((-reach_mm, 40.0, *LEFT[2:]), "right")], head(3 * np.eye(3)), "BRAIN")


def test_boxes_without_a_name_and_voxels_that_are_no_numbers_pass() -> None:
    require_sides([Roi(RIGHT)], head(3 * np.eye(3)), "BRAIN")
    require_sides([Roi(RIGHT, "left")], Volume(np.full((60, 9, 9), np.nan), np.diag([3.0, 3, 3, 1])), "BRAIN")
    require_sides([Roi(RIGHT, "left")], Volume(np.zeros((60, 9, 9)), np.diag([3.0, 3, 3, 1])), "BRAIN")
