"""The mean scores of each class over the cases, with their intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from swinunet.evaluation.result import METRICS, CaseResult, ClassSummary
from swinunet.training.metrics.statistics import Estimate, as_estimate, estimate_means


def score_array(cases: Sequence[CaseResult]) -> np.ndarray:
    """Every metric of every case and class: float64 [N, classes - 1, len(METRICS)], NaN where the class is absent."""
    rows = [[[getattr(score, metric.key) for metric in METRICS] for score in case.classes] for case in cases]
    return np.array(rows, dtype=np.float64)  # None becomes NaN


def summarise(
    cases: Sequence[CaseResult], class_names: Sequence[str], seed: int, resamples: int
) -> tuple[tuple[ClassSummary, ...], dict[str, Estimate]]:
    """A summary of each class, and the mean over classes by Metric.key."""
    by_class, overall = estimate_means(score_array(cases), seed, resamples)
    summaries = []
    for at, name in enumerate(class_names):
        outcomes = Counter(case.classes[at].outcome for case in cases)
        summaries.append(
            ClassSummary(
                index=at + 1,
                name=name,
                scored=len(cases) - outcomes["absent"],
                absent=outcomes["absent"],
                missed=outcomes["missed"],
                false_positives=outcomes["false_positive"],
                metrics=_by_key(by_class[at]),
            )
        )
    return tuple(summaries), _by_key(overall)


def _by_key(estimates: np.ndarray) -> dict[str, Estimate]:
    return {metric.key: as_estimate(triple) for metric, triple in zip(METRICS, estimates, strict=True)}
