"""The second half of the gate: whole masks on the native grid, against the labels and against the checkpoint's masks.

Dice, HD95 and ml are those of `training/metrics/case_scores.py`, so a figure here is the figure of `swinunet evaluate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from swinunet.export.gate.evidence import Evidence
from swinunet.export.tolerances import MAX_DICE_DROP, MAX_VOLUME_CHANGE
from swinunet.foundation.progress import Say, say_nothing
from swinunet.imaging import Volume
from swinunet.training.data.cases import Case, PredictSlices
from swinunet.training.metrics.case_scores import ClassScore, score_case
from swinunet.training.metrics.statistics import Estimate, as_estimate, estimate_means

BATCH = 8  # slices


@dataclass(frozen=True)
class StructureFigures:
    """One structure over all cases; None where nothing was there to judge.

    dice, hd95_mm: mean of the engine against the labels; dice_change: from the checkpoint's, with a 95 % bootstrap
    interval over cases; hd95_change_mm: the same difference of HD95.
    dice_with_checkpoint, hd95_with_checkpoint_mm: mean of the engine's mask against the checkpoint's.
    volume_ml: of the checkpoint's masks, summed; volume_change_ml: absolute changes of the cases, summed.
    """

    name: str
    dice: float | None
    dice_change: Estimate
    hd95_mm: float | None
    hd95_change_mm: float | None
    dice_with_checkpoint: float | None
    hd95_with_checkpoint_mm: float | None
    volume_ml: float
    volume_change_ml: float

    @property
    def volume_change(self) -> float | None:
        """Change as a share of the checkpoint's volume; infinite for a structure that the checkpoint has not."""
        if self.volume_ml:
            return self.volume_change_ml / self.volume_ml
        return float("inf") if self.volume_change_ml else None


@dataclass(frozen=True)
class MaskFigures:
    """An engine on all cases. flipped: share of voxels whose label is not the checkpoint's."""

    cases: int
    labelled: bool
    flipped: float
    structures: tuple[StructureFigures, ...]

    def failures(self) -> list[str]:
        """What exceeds the limits, in words. Without labels, Dice with the checkpoint's mask stands in for them."""
        found = []
        for each in self.structures:
            drop = -(each.dice_change.mean or 0.0)
            if self.labelled and not drop <= MAX_DICE_DROP:
                found.append(f"Dice of {each.name} down {drop:.4f} to {each.dice:.4f} (allowed {MAX_DICE_DROP:g})")
            agreement = each.dice_with_checkpoint
            if not self.labelled and agreement is not None and not 1 - agreement <= MAX_DICE_DROP:
                found.append(
                    f"Dice of {each.name} with the checkpoint's mask {agreement:.4f} (allowed {1 - MAX_DICE_DROP:g})"
                )
            change = each.volume_change
            if change is not None and not change <= MAX_VOLUME_CHANGE:
                found.append(f"volume of {each.name} changed by {change:.2%} (allowed {MAX_VOLUME_CHANGE:.0%})")
        return found


def compare_masks(
    engines: Mapping[str, PredictSlices], checkpoint: PredictSlices, evidence: Evidence, say: Say = say_nothing
) -> dict[str, MaskFigures | Exception]:
    """Every engine on every case. An engine that raises is left out from there on; its exception is its result."""
    scores: dict[str, list[_CaseScores]] = {name: [] for name in engines}
    failed: dict[str, Exception] = {}
    for number, case in enumerate(evidence.cases(), start=1):
        say(f"gate: masks of {len(engines) - len(failed)} engines, case {number} of {evidence.count}")
        expected = case.predict(checkpoint, BATCH)
        before = _against_labels(expected, case, evidence)
        for name, ask in engines.items():
            if name in failed:
                continue
            try:
                mask = case.predict(ask, BATCH)
            except Exception as error:  # each engine raises its own
                failed[name] = error
                continue
            reference = Volume(expected, case.native_labels.affine)
            same = score_case(mask, reference, evidence.spec.num_classes)
            flipped = int((mask != expected).sum())
            scores[name].append(_CaseScores(mask.size, flipped, same, before, _against_labels(mask, case, evidence)))
    return {name: failed.get(name) or _summarise(scores[name], evidence) for name in engines}


@dataclass(frozen=True)
class _CaseScores:
    """voxels, flipped: counts. same: the engine's mask against the checkpoint's; before, after: each against labels."""

    voxels: int
    flipped: int
    same: tuple[ClassScore, ...]
    before: tuple[ClassScore, ...]
    after: tuple[ClassScore, ...]


def _against_labels(mask: np.ndarray, case: Case, evidence: Evidence) -> tuple[ClassScore, ...]:
    return score_case(mask, case.native_labels, evidence.spec.num_classes) if evidence.labelled else ()


def _summarise(scores: list[_CaseScores], evidence: Evidence) -> MaskFigures:
    structures = []
    for at, label in enumerate(evidence.spec.labels):
        same = [score.same[at] for score in scores]
        before = [score.before[at] for score in scores] if evidence.labelled else []
        after = [score.after[at] for score in scores] if evidence.labelled else []
        hd95 = _values(after, "hd95_mm") - _values(before, "hd95_mm")
        structures.append(
            StructureFigures(
                name=label.name,
                dice=_mean(_values(after, "dice")),
                dice_change=_estimate(_values(after, "dice") - _values(before, "dice")),
                hd95_mm=_mean(_values(after, "hd95_mm")),
                hd95_change_mm=_mean(hd95),
                dice_with_checkpoint=_mean(_values(same, "dice")),
                hd95_with_checkpoint_mm=_mean(_values(same, "hd95_mm")),
                volume_ml=sum(score.reference_ml for score in same),
                volume_change_ml=sum(abs(score.predicted_ml - score.reference_ml) for score in same),
            )
        )
    flipped = sum(score.flipped for score in scores) / sum(score.voxels for score in scores)
    return MaskFigures(len(scores), evidence.labelled, flipped, tuple(structures))


def _values(scores: list[ClassScore], metric: str) -> np.ndarray:
    """A metric of each case: float64 [N], NaN where the class is absent from both masks."""
    return np.array([getattr(score, metric) for score in scores], dtype=np.float64)


def _mean(values: np.ndarray) -> float | None:
    scored = values[np.isfinite(values)]
    return float(scored.mean()) if len(scored) else None


def _estimate(changes: np.ndarray) -> Estimate:
    if not np.isfinite(changes).any():
        return Estimate(None)
    by_column, _ = estimate_means(changes[:, None, None], seed=0)
    return as_estimate(by_column[0, 0])
