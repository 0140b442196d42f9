"""Means with bootstrap intervals over cases, and paired tests. NaN marks what is left out."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy import stats

RESAMPLES = 10_000
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95 % bootstrap interval; None where no case (or, of the interval, only one) was scored."""

    mean: float | None
    low: float | None = None
    high: float | None = None


def estimate_means(values: np.ndarray, seed: int, resamples: int = RESAMPLES) -> tuple[np.ndarray, np.ndarray]:
    """Means over cases of each column, and over columns of those, with percentile bootstrap intervals over cases.

    values: float64 [cases, columns, metrics], NaN left out. Returns mean, low and high: float64
    [columns, metrics, 3] and [metrics, 3] (Efron and Tibshirani 1993, chapter 13). The same `seed` draws the
    same cases.
    """
    count, columns, metrics = values.shape
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    weights = np.vstack([np.ones((1, count)), draws])  # first row: the sample itself
    flat = values.reshape(count, columns * metrics)
    here = np.isfinite(flat)
    with np.errstate(invalid="ignore"):
        means = (weights @ np.where(here, flat, 0)) / (weights @ here)
    means = means.reshape(len(weights), columns, metrics)
    scored = here.reshape(count, columns, metrics).sum(axis=0)
    return _intervals(means, scored), _intervals(_nanmean(means), scored.max(axis=0))


def as_estimate(triple: np.ndarray) -> Estimate:
    """Mean, low, high (float64 [3]) with None for NaN."""
    mean, low, high = (None if np.isnan(value) else float(value) for value in triple)
    return Estimate(mean, low, high)


def wilcoxon_p(differences: np.ndarray) -> float:
    """Two-sided p of the Wilcoxon signed-rank test (1945) that paired differences (float64 [N]) centre on zero.

    Zeros are dropped; p is 1 if nothing is left.
    """
    differences = np.round(differences[np.isfinite(differences)], 12)  # the last bits would break ties
    if not differences.any():
        return 1.0
    return float(stats.wilcoxon(differences[differences != 0]).pvalue)


def holm(p_values: list[float]) -> list[float]:
    """p-values adjusted for their number (Holm 1979), in the order given."""
    adjusted, highest = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def _intervals(means: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """[1 + resamples, ...] to [..., 3]; no interval from a single case."""
    tail = (1 - LEVEL) / 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a class that no case has is NaN throughout
        low, high = np.nanquantile(means[1:], [tail, 1 - tail], axis=0)
    alone = scored < 2
    return np.stack([means[0], np.where(alone, np.nan, low), np.where(alone, np.nan, high)], axis=-1)


def _nanmean(means: np.ndarray) -> np.ndarray:
    """Over classes: [resamples, columns, metrics] to [resamples, metrics]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        averaged: np.ndarray = np.nanmean(means, axis=1)
    return averaged
