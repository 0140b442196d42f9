"""Is the difference between two evaluations real? Paired by case: bootstrap intervals and Wilcoxon's signed ranks."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from swinunet.evaluation.result import METRICS, Evaluation
from swinunet.evaluation.summary import score_array
from swinunet.foundation.errors import InputError
from swinunet.foundation.tables import Table
from swinunet.training.metrics.statistics import Estimate, as_estimate, estimate_means, holm, wilcoxon_p

ALPHA = 0.05
FEWEST = 6  # below this no signed-rank test reaches 0.05
_COMPARED = METRICS[:3]  # Dice, HD95, NSD: those with a better and a worse


@dataclass(frozen=True)
class Difference:
    """One metric of one structure: means of A and B over the common cases, and the mean of B - A.

    p: Wilcoxon's, two-sided; of classes, adjusted for their number within the metric (Holm).
    """

    structure: str
    metric: str
    first: float | None
    second: float | None
    difference: Estimate
    p: float

    @property
    def real(self) -> bool:
        """Whether interval and test both exclude zero."""
        low, high = self.difference.low, self.difference.high
        return low is not None and high is not None and (low > 0 or high < 0) and self.p < ALPHA


@dataclass(frozen=True)
class Comparison:
    """B against A on their common cases. rows: the mean over classes first, then each class, by metric.

    sentence: the verdict on mean Dice, in words. left_out: cases that only one of them has.
    """

    first: str
    second: str
    cases: tuple[str, ...]
    left_out: int
    rows: tuple[Difference, ...]
    sentence: str
    seed: int

    def as_json(self) -> dict[str, Any]:
        """Everything, as a JSON object; with `real` in each row."""
        rows = [{**asdict(row), "real": row.real} for row in self.rows]
        return {"format": "swinunet-comparison", "schema_version": 1, **asdict(self), "rows": rows}

    def table(self) -> Table:
        """A row a metric and structure."""
        heads = ("metric", "structure", "A", "B", "B - A (95 % interval)", "p", "real")
        rows = tuple(_row(each) for each in self.rows)
        return Table(f"A: {self.first}; B: {self.second}; {len(self.cases)} common cases", heads, rows)

    def markdown(self) -> str:
        """Table and verdict as Markdown."""
        parts = [f"**{self.sentence}**", f"- A: {self.first}\n- B: {self.second}", self.table().markdown()]
        parts.append(
            f"{len(self.cases)} common cases ({self.left_out} left out). Intervals: paired percentile bootstrap, seed "
            f"{self.seed}. p: Wilcoxon signed-rank, two-sided; of single structures, Holm-adjusted."
        )
        return "\n\n".join(parts) + "\n"


def compare(first: Evaluation, second: Evaluation, seed: int = 0) -> Comparison:
    """Compare `second` (B) with `first` (A), case by case.

    Where a class is in neither mask of one result but falsely predicted in the other, the former counts as perfect.
    Raises InputError if they have no case in common, or judged it against other references.
    """
    names = [case.case for case in first.cases if case.case in {other.case for other in second.cases}]
    _require_comparable(first, second, names)
    a, b = _paired(first, second, names)
    structures = [each.name for each in first.classes]
    by_class, overall = estimate_means(b - a, seed)
    rows: list[Difference] = []
    for at, metric in enumerate(_COMPARED):
        means = [np.array([_mean(x[:, k, at]) for k in range(len(structures))]) for x in (a, b)]
        if len(structures) > 1:
            p = wilcoxon_p(np.array([_mean(case) for case in (b - a)[:, :, at]]))
            pair = (_optional(_mean(means[0])), _optional(_mean(means[1])))
            rows.append(Difference("mean", metric.key, *pair, as_estimate(overall[at]), p))
        adjusted = holm([wilcoxon_p((b - a)[:, k, at]) for k in range(len(structures))])
        rows += [
            Difference(
                structure=name,
                metric=metric.key,
                first=_optional(means[0][k]),
                second=_optional(means[1][k]),
                difference=as_estimate(by_class[k, at]),
                p=adjusted[k],
            )
            for k, name in enumerate(structures)
        ]
    left_out = len(first.cases) + len(second.cases) - 2 * len(names)
    titles = (_title(first), _title(second))
    return Comparison(*titles, tuple(names), left_out, tuple(rows), _sentence(rows[0], len(names)), seed)


def _title(evaluation: Evaluation) -> str:
    """The model and the start of its checksum: two trainings of one model have the same name."""
    model = evaluation.model
    return f"{model.title}, SHA-256 {model.sha256[:8]}" if model.sha256 else model.title


def _require_comparable(first: Evaluation, second: Evaluation, names: list[str]) -> None:
    if not names:
        raise InputError(
            f"the two results have no case in common (A has {first.cases[0].case}, ...; B has "
            f"{second.cases[0].case}, ...); evaluate both on the same cases"
        )
    if len(first.classes) != len(second.classes):
        raise InputError(
            f"A has {len(first.classes)} structures, B {len(second.classes)}; only results on the same labels compare"
        )
    if first.tolerance_mm != second.tolerance_mm:
        raise InputError(f"A has NSD at {first.tolerance_mm:g} mm, B at {second.tolerance_mm:g} mm; evaluate again")
    theirs = {case.case: case for case in second.cases}
    for case in (each for each in first.cases if each.case in names):
        pairs = zip(case.classes, theirs[case.case].classes, strict=True)
        if not all(math.isclose(x.reference_ml, y.reference_ml, rel_tol=1e-6, abs_tol=1e-9) for x, y in pairs):
            raise InputError(f"{case.case}: A and B were judged against different references; evaluate both again")


def _paired(first: Evaluation, second: Evaluation, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the common cases, float64 [N, classes - 1, 3] each; NaN in both where a class is in no mask."""
    by_name = [{case.case: case for case in each.cases} for each in (first, second)]
    a, b = (score_array([cases[name] for name in names])[:, :, : len(_COMPARED)] for cases in by_name)
    perfect = np.array([metric.perfect for metric in _COMPARED])
    only_a, only_b = np.isfinite(a) & ~np.isfinite(b), np.isfinite(b) & ~np.isfinite(a)
    return np.where(only_b, perfect, a), np.where(only_a, perfect, b)


def _sentence(dice: Difference, cases: int) -> str:
    """The verdict on mean Dice, from its row."""
    change, low, high = dice.difference.mean, dice.difference.low, dice.difference.high
    if change is None:
        return "Nothing to compare: no structure is in any of the common cases."
    if dice.first == dice.second and change == 0 and low == high:
        return f"A and B have the same Dice on every one of the {cases} common cases."
    what = f"mean Dice {change:+.4f}"
    if cases < FEWEST or low is None or high is None:
        return (
            f"Too few common cases ({cases}) to tell whether B differs from A ({what}); {FEWEST} at least are needed."
        )
    facts = f"{what}, 95 % interval {low:+.4f} to {high:+.4f}, {cases} common cases, Wilcoxon p {_p(dice.p)}"
    if dice.real:
        return f"B is {'better' if change > 0 else 'worse'} than A, and the difference is real: {facts}."
    if low <= 0 <= high and dice.p >= ALPHA:
        return f"No real difference can be shown between A and B: {facts}."
    return f"It is not clear whether B differs from A, for interval and test disagree: {facts}."


def _row(each: Difference) -> tuple[str, ...]:
    metric = next(metric for metric in _COMPARED if metric.key == each.metric)
    low, high, d = each.difference.low, each.difference.high, metric.digits + 1
    interval = "" if low is None else f" ({low:+.{d}f} to {high:+.{d}f})"
    change = "-" if each.difference.mean is None else f"{each.difference.mean:+.{d}f}{interval}"
    means = ["-" if value is None else f"{value:.{d}f}" for value in (each.first, each.second)]
    return metric.title, each.structure, *means, change, _p(each.p).removeprefix("= "), "yes" if each.real else "no"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


def _mean(values: np.ndarray) -> float:
    here = values[np.isfinite(values)]
    return float(here.mean()) if here.size else math.nan


def _optional(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
