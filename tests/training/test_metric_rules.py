"""training/metrics: means, bootstrap intervals and tests against scipy; surfaces and rules on shapes made by hand."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from swinunet.imaging import Volume
from swinunet.training.metrics.case_scores import TOLERANCE_MM, diagonal_mm, dice, score_case
from swinunet.training.metrics.statistics import as_estimate, estimate_means, holm, wilcoxon_p
from swinunet.training.metrics.surfaces import SurfaceDistances, surface, surface_distances

UNIT = (1.0, 1.0, 1.0)


@pytest.mark.parametrize("shape", [(12, 1, 1), (9, 3, 2)])
def test_means_and_their_intervals_are_scipys(shape: tuple[int, int, int]) -> None:
    """scipy.stats.bootstrap by percentile; both draw at random, so intervals agree within a tolerance."""
    values = np.random.default_rng(3).normal(5, 2, shape)
    each, overall = estimate_means(values, seed=1, resamples=4000)
    assert each.shape == (*shape[1:], 3)
    assert overall.shape == (shape[2], 3)
    np.testing.assert_allclose(each[..., 0], values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(overall[:, 0], values.mean(axis=(0, 1)), rtol=1e-12)
    for column, metric in itertools.product(range(shape[1]), range(shape[2])):
        interval = stats.bootstrap(
            (values[:, column, metric],), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(0)
        ).confidence_interval
        np.testing.assert_allclose(each[column, metric, 1:], interval, atol=0.12)
    for metric in range(shape[2]):
        by_case = values[:, :, metric].mean(axis=1)
        interval = stats.bootstrap(
            (by_case,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(0)
        ).confidence_interval
        np.testing.assert_allclose(overall[metric, 1:], interval, atol=0.12)


def test_the_same_seed_gives_the_same_interval_and_another_another() -> None:
    values = np.random.default_rng(0).normal(size=(10, 2, 1))
    first, again, other = (estimate_means(values, seed, 200) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[0], again[0])
    assert (first[0][..., 1:] != other[0][..., 1:]).all()


def test_what_was_not_scored_is_left_out() -> None:
    """Class 1: three cases; class 2: one case, so a mean and no interval; class 3: none."""
    nan = np.nan
    values = np.array([[0.2, 0.5, nan], [0.4, nan, nan], [0.6, nan, nan], [nan, nan, nan]])[:, :, None]
    each, overall = estimate_means(values, seed=0, resamples=500)
    np.testing.assert_allclose(each[:, 0, 0], [0.4, 0.5, nan])
    assert 0.2 <= each[0, 0, 1] < 0.4 < each[0, 0, 2] <= 0.6
    assert np.isnan(each[1:, 0, 1:]).all()
    np.testing.assert_allclose(overall[0, 0], (0.4 + 0.5) / 2)
    assert np.isfinite(overall).all()
    estimate = as_estimate(each[1, 0])
    assert (estimate.mean, estimate.low, estimate.high) == (0.5, None, None)
    assert as_estimate(each[2, 0]).mean is None
    assert as_estimate(np.array([1.0, 2.0, 3.0])) == as_estimate(np.array([1, 2, 3]))
    assert (as_estimate(np.array([1.0, 2.0, 3.0])).low, as_estimate(np.array([1.0, 2.0, 3.0])).high) == (2.0, 3.0)


def test_two_cases_have_an_interval() -> None:
    each, overall = estimate_means(np.array([0.0, 1.0]).reshape(2, 1, 1), seed=0, resamples=400)
    np.testing.assert_allclose(each[0, 0], [0.5, 0.0, 1.0])
    np.testing.assert_allclose(overall[0], [0.5, 0.0, 1.0])


def test_the_first_row_is_the_sample_itself_whatever_is_drawn() -> None:
    """One resample: its mean is both ends of the interval, and need not be the sample's mean."""
    values = np.arange(5.0).reshape(5, 1, 1)
    each, _ = estimate_means(values, seed=5, resamples=1)
    assert each[0, 0, 0] == 2.0
    assert each[0, 0, 1] == each[0, 0, 2]
    assert each[0, 0, 1] != 2.0


@given(seed=st.integers(0, 10**6), count=st.integers(6, 30), zeros=st.integers(0, 4))
@settings(max_examples=30, deadline=None)
def test_wilcoxon_is_scipys_on_what_is_not_zero(seed: int, count: int, zeros: int) -> None:
    found = np.random.default_rng(seed).normal(0.5, 1, count)
    padded = np.concatenate([found, np.zeros(zeros), [np.nan]])
    assert wilcoxon_p(padded) == pytest.approx(stats.wilcoxon(found).pvalue, rel=1e-6)


def test_wilcoxon_of_nothing_and_of_last_bits() -> None:
    assert wilcoxon_p(np.zeros(5)) == 1.0
    assert wilcoxon_p(np.array([np.nan])) == 1.0
    assert wilcoxon_p(np.full(6, 1e-14)) == 1.0
    ties = np.array([0.1, 0.1, 0.1, -0.1, 0.2, 0.3])
    shaken = ties + np.array([0, 1, -1, 1, 0, 1]) * 1e-15
    assert wilcoxon_p(shaken) == wilcoxon_p(ties)


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),  # worked by hand: 3 * 0.01, then 2 * 0.03, then max(0.06, 0.04)
        ([0.04, 0.01, 0.03], [0.06, 0.03, 0.06]),
        ([0.2], [0.2]),
        ([0.6, 0.9], [1.0, 1.0]),
        ([0.5, 0.001, 0.002, 0.04], [0.5, 0.004, 0.006, 0.08]),
        ([], []),
    ],
)
def test_holm_by_hand(p_values: list[float], adjusted: list[float]) -> None:
    np.testing.assert_allclose(holm(p_values), adjusted, rtol=1e-12)


def test_quantile_and_tolerance_by_hand() -> None:
    """Half of one surface is 0 mm away, the other half 4 mm; all of the other is 2 mm away and three times as large."""
    found = SurfaceDistances(np.array([0.0, 4.0]), np.array([1.0, 1.0]), np.array([2.0]), np.array([6.0]))
    assert found.hausdorff_mm(0.5) == 2.0
    assert found.hausdorff_mm(0.51) == 4.0
    assert found.hausdorff_mm(1.0) == 4.0
    assert found.hausdorff_mm() == 4.0
    assert [found.surface_dice(mm) for mm in (0.0, 1.9, 2.0, 3.9, 4.0)] == [1 / 8, 1 / 8, 7 / 8, 7 / 8, 1.0]
    assert found.surface_dice(2.0 - 5e-7) == 7 / 8  # a float32 header's rounding
    assert found.surface_dice(2.0 - 2e-6) == 1 / 8
    swapped = SurfaceDistances(found.back_mm, found.back_mm2, found.there_mm, found.there_mm2)
    assert swapped.hausdorff_mm(0.51) == 4.0


def test_one_voxel_has_the_area_of_an_octahedron() -> None:
    """Vertices halfway along the edges to its six neighbours: eight triangles of sqrt(3)/8 mm2."""
    mask = np.zeros((5, 5, 5), bool)
    mask[2, 2, 2] = True
    found = surface(mask, UNIT)
    assert len(found.corners) == 8
    assert found.areas_mm2.sum() == pytest.approx(math.sqrt(3))
    np.testing.assert_array_equal(np.unique(found.corners), [2, 3])


def test_a_slab_has_two_faces_of_its_size() -> None:
    """Away from the rim each surfel of a face is one voxel's face."""
    mask = np.zeros((30, 30, 6), bool)
    mask[:, :, 2:4] = True
    found = surface(mask, (0.5, 2.0, 3.0))
    inner = ((found.corners[:, :2] > 0) & (found.corners[:, :2] < 30)).all(axis=1)
    np.testing.assert_allclose(found.areas_mm2[inner], 0.5 * 2.0)
    assert inner.sum() == 2 * 29 * 29


def test_a_flat_image_has_contours() -> None:
    """One slice: the surfels of a square's straight sides are as long as a pixel, times twice the slice's thickness."""
    mask = np.zeros((12, 12, 1), bool)
    mask[3:9, 3:9] = True
    found = surface(mask, (1.0, 1.0, 2.0))
    assert len(found.corners) == 2 * 4 * 6
    straight = np.sort(found.areas_mm2)[-40:]
    np.testing.assert_allclose(straight, 2.0)


def test_distances_are_in_mm_and_whole() -> None:
    first, second = np.zeros((2, 9, 9, 9), bool)
    first[2, 4, 4] = second[6, 4, 4] = True
    spacing = (0.1, 1.0, 1.0)
    found = surface_distances(surface(first, spacing), surface(second, spacing), spacing)
    assert found.hausdorff_mm(1.0) == pytest.approx(0.4, abs=1e-12)
    assert found.there_mm.tolist() == sorted(found.there_mm)
    assert found.back_mm.min() == pytest.approx(0.3)


@given(masks=st.integers(0, 10**6), classes=st.integers(2, 5))
@settings(max_examples=30, deadline=None)
def test_dice_of_sets(masks: int, classes: int) -> None:
    """Python's sets of voxels are the oracle; index and volumes of score_case with them."""
    rng = np.random.default_rng(masks)
    ours, theirs = rng.integers(0, classes, (2, 4, 5, 3)).astype(np.uint8) * (rng.random((2, 4, 5, 3)) < 0.4)
    ours, theirs = ours.astype(np.uint8), theirs.astype(np.uint8)
    found = dice(ours, theirs, classes)
    scores = score_case(ours, Volume(theirs, np.diag([2.0, 3.0, 4.0, 1.0])), classes)
    assert len(found) == len(scores) == classes - 1
    for index in range(1, classes):
        a, b = ({tuple(at) for at in np.argwhere(each == index)} for each in (ours, theirs))
        score = scores[index - 1]
        assert score.predicted_ml == pytest.approx(len(a) * 0.024)
        assert score.reference_ml == pytest.approx(len(b) * 0.024)
        if not a and not b:
            assert np.isnan(found[index - 1])
            assert (score.outcome, score.dice, score.volume_error_ml) == ("absent", None, None)
            continue
        overlap = 2 * len(a & b) / (len(a) + len(b))
        assert found[index - 1] == pytest.approx(overlap)
        assert score.dice == pytest.approx(overlap)
        assert score.volume_error_ml == pytest.approx((len(a) - len(b)) * 0.024)
        assert score.absolute_volume_error_ml == pytest.approx(abs(len(a) - len(b)) * 0.024)
        assert score.outcome == ("found" if a and b else "missed" if b else "false_positive")


def test_the_tolerance_is_a_millimetre_and_may_be_another() -> None:
    assert TOLERANCE_MM == 1.0
    reference = np.zeros((20, 5, 5), np.uint8)
    reference[5:10, 1:4, 1:4] = 1
    moved, volume = np.roll(reference, 2, 0), Volume(reference, np.diag([1.0, 9.0, 9.0, 1.0]))
    assert score_case(moved, volume, 2)[0].nsd < 1  # type: ignore[operator]
    assert score_case(moved, volume, 2, tolerance_mm=2.0)[0].nsd == 1.0
    assert diagonal_mm(volume) == pytest.approx(math.sqrt(20**2 + 45**2 + 45**2))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("at", [0, 8])
def test_a_structure_at_the_rim_scores_as_one_in_the_middle(axis: int, at: int) -> None:
    """Outside the volume is background: a plate in the outermost slice has two faces, as one in the middle has."""
    reference = np.zeros((9, 9, 9), np.uint8)
    index: list[object] = [slice(2, 7)] * 3
    index[axis] = at
    reference[tuple(index)] = 1  # type: ignore[index]
    inner = np.roll(reference, 1 if at == 0 else -1, axis)
    found = score_case(inner, Volume(reference, np.eye(4)), 2)[0]
    assert (found.dice, found.hd95_mm) == (0.0, 1.0)
    same = score_case(reference, Volume(reference, np.eye(4)), 2)[0]
    assert (same.dice, same.hd95_mm, same.nsd) == (1.0, 0.0, 1.0)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("at", [0, 8])
def test_one_slice_at_the_rim_scores_as_one_slice_in_the_middle(axis: int, at: int) -> None:
    """Of the same noise: neither is taken for a flat image, whose contours would weigh otherwise."""
    ours, theirs = np.random.default_rng(1).random((2, 9, 9)) < 0.4
    scores = []
    for place in (at, 4):
        predicted, reference = np.zeros((2, 9, 9, 9), np.uint8)
        np.moveaxis(predicted, axis, 0)[place], np.moveaxis(reference, axis, 0)[place] = ours, theirs
        scores.append(score_case(predicted, Volume(reference, np.diag([1.0, 2.0, 3.0, 1.0])), 2)[0])
    assert dataclasses.astuple(scores[0]) == pytest.approx(dataclasses.astuple(scores[1]))
