"""Metrics against surface-distance, against shapes whose answer is known, and the rules for what is absent."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from swinunet.foundation.errors import InputError
from swinunet.imaging import Volume
from swinunet.training.metrics.case_scores import ClassScore, dice, score_case
from swinunet.training.metrics.surfaces import surface

surface_distance = pytest.importorskip("surface_distance")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SPACINGS = [(1.0, 1.0, 1.0), (0.7, 0.7, 3.0), (2.5, 0.6, 1.1)]
spacings = st.tuples(*[st.floats(0.3, 4.0)] * 3)


def score(predicted: np.ndarray, reference: np.ndarray, spacing_mm: tuple[float, ...]) -> ClassScore:
    """The only class of two masks, bool [I, J, K]."""
    volume = Volume(reference.astype(np.uint8), np.diag([*spacing_mm, 1.0]))
    return score_case(predicted.astype(np.uint8), volume, 2)[0]


def oracle(predicted: np.ndarray, reference: np.ndarray, spacing_mm: tuple[float, ...]) -> tuple[float, float, float]:
    """Dice, HD95 and NSD at 1 mm by surface-distance; axes of one voxel are dropped, as it wants them."""
    kept = [spacing for spacing, length in zip(spacing_mm, reference.shape, strict=True) if length > 1]
    ours, theirs = predicted.squeeze(), reference.squeeze()
    found = surface_distance.compute_surface_distances(theirs, ours, kept)
    return (
        surface_distance.compute_dice_coefficient(theirs, ours),
        surface_distance.compute_robust_hausdorff(found, 95),
        surface_distance.compute_surface_dice_at_tolerance(found, 1.0),
    )


def ball(shape: tuple[int, ...], spacing_mm: tuple[float, ...], centre_mm: np.ndarray, radius_mm: float) -> np.ndarray:
    """bool [I, J, K]: voxel centres within `radius_mm` of a point."""
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1) * np.array(spacing_mm)
    return np.linalg.norm(grid - centre_mm, axis=-1) <= radius_mm


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("shape", [(9, 8, 7), (12, 2, 5), (20, 18, 1), (1, 15, 15)])
@pytest.mark.parametrize("density", [0.02, 0.3, 0.9])
def test_noise_scores_as_surface_distance_scores_it(
    spacing: tuple[float, ...], shape: tuple[int, ...], density: float
) -> None:
    """Noise has every one of the 256 neighbourhoods."""
    random = np.random.default_rng(int(1000 * density) + sum(shape))
    for _ in range(4):
        ours, theirs = random.random(shape) < density, random.random(shape) < density
        ours.flat[0] = theirs.flat[-1] = True
        found = score(ours, theirs, spacing)
        np.testing.assert_allclose((found.dice, found.hd95_mm, found.nsd), oracle(ours, theirs, spacing), atol=1e-9)


@given(
    masks=hnp.array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=6).flatmap(
        lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape))
    ),
    spacing=spacings,
)
@settings(max_examples=60, deadline=None)
def test_any_masks_score_as_surface_distance_scores_them(
    masks: tuple[np.ndarray, np.ndarray], spacing: tuple[float, ...]
) -> None:
    ours, theirs = masks
    assume(ours.any() and theirs.any())
    found = score(ours, theirs, spacing)
    assert found.outcome == "found"
    overlap, _, _ = expected = oracle(ours, theirs, spacing)
    assert found.dice == pytest.approx(overlap)
    # At a quantile or a tolerance that falls on a tie, the last bit decides: compare within what a tie can change.
    np.testing.assert_allclose((found.hd95_mm, found.nsd), expected[1:], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_shifted_box_is_off_by_its_shift(spacing: tuple[float, float, float]) -> None:
    reference = np.zeros((30, 30, 30), bool)
    reference[5:15, 5:15, 5:15] = True
    for axis in range(3):
        found = score(np.roll(reference, 2, axis), reference, spacing)
        assert found.hd95_mm == pytest.approx(2 * spacing[axis])
        assert found.dice == pytest.approx(0.8)
        assert found.volume_error_ml == 0


def test_two_balls_one_inside_the_other() -> None:
    """Radii 14 and 11 mm about one centre: the surfaces are 3 mm apart everywhere, up to the grid."""
    spacing, shape = (0.9, 1.0, 1.2), (40, 36, 32)
    centre = np.array(shape) * spacing / 2
    big, small = (ball(shape, spacing, centre, radius) for radius in (14.0, 11.0))
    found = score(small, big, spacing)
    assert found.hd95_mm == pytest.approx(3.0, abs=0.6)
    assert found.nsd == 0.0
    assert found.dice == pytest.approx(2 * 11**3 / (14**3 + 11**3), abs=0.01)
    assert found.volume_error_ml == pytest.approx(4 / 3 * math.pi * (11**3 - 14**3) / 1000, rel=0.01)
    assert found.absolute_volume_error_ml == -found.volume_error_ml
    area_mm2 = surface(big, spacing).areas_mm2.sum()
    assert area_mm2 == pytest.approx(4 * math.pi * 14**2, rel=0.12)  # marching cubes overstate a sphere by a tenth


@given(shift=st.integers(0, 8), spacing=st.floats(0.2, 2.0))
@settings(max_examples=40, deadline=None)
def test_nsd_forgives_a_millimetre_and_no_more(shift: int, spacing: float) -> None:
    """A slab that fills two axes but for a margin, shifted along the third: its faces count as near or they do not."""
    assume(abs(shift * spacing - 1) > 1e-3)
    reference = np.zeros((30, 5, 5), bool)
    reference[5:15, 1:4, 1:4] = True
    found = score(np.roll(reference, shift, 0), reference, (spacing, 20.0, 20.0))
    assert found.nsd is not None
    assert (found.nsd == 1.0) == (shift * spacing < 1)


def test_a_spacing_from_a_float32_header_is_what_it_was_meant_to_be() -> None:
    reference = np.zeros((12, 12, 12), bool)
    reference[3:8, 3:8, 3:8] = True
    assert score(np.roll(reference, 1, 0), reference, (1.0000001, 1.0, 1.0)).nsd == 1.0


@given(masks=st.tuples(*[hnp.arrays(np.uint8, (5, 6, 4), elements=st.integers(0, 3))] * 2), spacing=spacings)
@settings(max_examples=40, deadline=None)
def test_symmetric_and_the_same_wherever_axes_point(
    masks: tuple[np.ndarray, np.ndarray], spacing: tuple[float, ...]
) -> None:
    """Prediction and reference swapped, or all axes turned: the same Dice, HD95 and NSD, the opposite volume error."""
    ours, theirs = masks
    plain = score_case(ours, Volume(theirs, np.diag([*spacing, 1.0])), 4)
    swapped = score_case(theirs, Volume(ours, np.diag([*spacing, 1.0])), 4)
    turned_affine = np.diag([spacing[2], -spacing[0], spacing[1], 1.0])
    turned = score_case(ours.transpose(2, 0, 1), Volume(theirs.transpose(2, 0, 1), turned_affine), 4)
    for a, b, c in zip(plain, swapped, turned, strict=True):
        assert (a.dice, a.hd95_mm, a.nsd) == pytest.approx((b.dice, b.hd95_mm, b.nsd), abs=1e-6)
        assert (a.dice, a.hd95_mm, a.nsd) == pytest.approx((c.dice, c.hd95_mm, c.nsd), abs=1e-6)
        assert (a.volume_error_ml or 0) == pytest.approx(-(b.volume_error_ml or 0))


@given(mask=hnp.arrays(bool, (4, 5, 6)), spacing=spacings)
@settings(max_examples=30, deadline=None)
def test_perfect_is_perfect(mask: np.ndarray, spacing: tuple[float, ...]) -> None:
    assume(mask.any())
    found = score(mask, mask, spacing)
    assert (found.dice, found.hd95_mm, found.nsd, found.volume_error_ml) == (1.0, 0.0, 1.0, 0.0)


def test_a_miss_and_a_false_positive_cost_the_diagonal() -> None:
    """DESIGN.md: Dice 0, NSD 0, and the volume's diagonal as HD95; absent from both is left out."""
    spacing = (1.0, 2.0, 3.0)
    predicted, reference = np.zeros((2, 10, 10, 10), np.uint8)
    reference[2:4, 2:4, 2:4], predicted[6:9, 6:8, 6:8] = 1, 2
    missed, invented, absent = score_case(predicted, Volume(reference, np.diag([*spacing, 1.0])), 4)
    diagonal = math.hypot(10, 20, 30)
    for found, outcome, error in ((missed, "missed", -0.048), (invented, "false_positive", 0.072)):
        assert found.outcome == outcome
        assert (found.dice, found.nsd) == (0.0, 0.0)
        assert found.hd95_mm == pytest.approx(diagonal)
        assert found.volume_error_ml == pytest.approx(error)
    assert absent == ClassScore("absent", 0.0, 0.0)
    np.testing.assert_array_equal(dice(predicted, reference, 4), [0.0, 0.0, np.nan])


def test_a_class_one_slice_thick_is_not_taken_for_a_flat_image() -> None:
    mask = np.zeros((9, 9, 9), bool)
    mask[2:7, 2:7, 4] = True
    shifted = np.roll(mask, 1, 2)
    found = score(shifted, mask, (1.0, 1.0, 1.0))
    assert (found.dice, found.hd95_mm) == (0.0, 1.0)
    np.testing.assert_allclose((found.hd95_mm, found.nsd), oracle(shifted, mask, (1.0, 1.0, 1.0))[1:])


def test_other_grids_are_refused() -> None:
    with pytest.raises(InputError, match="expected one grid"):
        score_case(np.zeros((3, 3, 3), np.uint8), Volume(np.zeros((3, 3, 4), np.uint8), np.eye(4)), 2)
