"""Predict and score each case, on its native grid."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np

from swinunet.evaluation.predictions import Predictor
from swinunet.evaluation.result import DEFINITIONS, CaseResult, Evaluation
from swinunet.evaluation.selection import Selection
from swinunet.evaluation.summary import summarise
from swinunet.foundation.errors import InputError
from swinunet.training.data.cases import CasePaths
from swinunet.training.metrics.case_scores import IGNORED, TOLERANCE_MM, score_case
from swinunet.training.metrics.statistics import RESAMPLES


def evaluate(
    predictor: Predictor,
    selection: Selection,
    seed: int = 0,
    resamples: int = RESAMPLES,
    tick: Callable[[CaseResult], None] = lambda case: None,
) -> Evaluation:
    """Judge `predictor` on the selected cases; `tick` is called after each.

    seed: of the bootstrap. Raises InputError, naming the case, for labels that the model does not know, and for a
    prediction that lies on another grid than its reference.
    """
    names = predictor.class_names or selection.class_names
    if len(names) != len(selection.class_names):
        raise InputError(
            f"{predictor.identity.name} knows {len(names)} labels ({', '.join(names)}), {selection.data} has "
            f"{len(selection.class_names)} ({', '.join(selection.class_names)}); they cannot be compared"
        )
    cases = []
    for case in selection.cases:
        cases.append(_judge(predictor, case, len(names) + 1))
        tick(cases[-1])
    classes, mean = summarise(cases, names, seed, resamples)
    return Evaluation(
        model=predictor.identity,
        data=selection.data,
        selection=selection.words,
        split=selection.split,
        cases=tuple(cases),
        classes=classes,
        mean=mean,
        tolerance_mm=TOLERANCE_MM,
        seed=seed,
        resamples=resamples,
        notes=_notes(predictor, selection, cases),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        software=f"swinunet {version('swinunet')}",
        definitions=DEFINITIONS,
    )


def _pixel_mm(predictor: Predictor) -> float | None:
    """Of images that do not say it, as the predictor's spec says; None where there is none."""
    found = (predictor.identity.spec or {}).get("pixel_mm")
    return float(found) if isinstance(found, int | float) else None


def _judge(predictor: Predictor, case: CasePaths, num_classes: int) -> CaseResult:
    reference = case.read_labels(_pixel_mm(predictor))
    known = np.where(reference.voxels == IGNORED, 0, reference.voxels)
    _require_known(known, num_classes, f"{case.name}: the reference")
    began = time.perf_counter()
    try:
        predicted = predictor(case)
    except InputError as error:
        raise InputError(str(error) if case.name in str(error) else f"{case.name}: {error}") from None
    seconds = time.perf_counter() - began
    _require_known(predicted.voxels, num_classes, f"{case.name}: the prediction")
    if predicted.shape != reference.shape or not np.allclose(predicted.affine, reference.affine, atol=1e-3):
        raise InputError(
            f"{case.name}: the prediction's grid {predicted.shape} and the reference's {reference.shape} differ in "
            "size or position; predictions are judged on the grid of the reference"
        )
    scores = score_case(predicted.voxels, reference, num_classes)
    ignored = int(np.count_nonzero(reference.voxels == IGNORED))
    return CaseResult(case.name, reference.shape, reference.spacing_mm, seconds, scores, ignored)


def _require_known(labels: np.ndarray, num_classes: int, who: str) -> None:
    highest = int(labels.max())
    if highest >= num_classes:
        raise InputError(f"{who} has label {highest}, the model knows 0..{num_classes - 1}")


def _notes(predictor: Predictor, selection: Selection, cases: list[CaseResult]) -> tuple[str, ...]:
    notes = []
    if selection.split and selection.split.part == "training":
        notes.append("These are the cases the model was trained on: no measure of how good it is.")
    elif not selection.split and predictor.identity.kind != "predictions":
        notes.append("No split was given: if the model was trained on some of these cases, the figures flatter it.")
    if ignored := sum(case.ignored_voxels for case in cases):
        share = 100 * ignored / sum(math.prod(case.shape) for case in cases)
        notes.append(f"{ignored} voxels ({share:.3g} %) have the label `ignore` in the references and are not scored.")
    seen = [any(case.classes[at].reference_ml for case in cases) for at in range(len(selection.class_names))]
    never = [name for name, there in zip(selection.class_names, seen, strict=True) if not there]
    if never:
        notes.append(f"No reference of these cases has {', '.join(never)}.")
    return tuple(notes)
