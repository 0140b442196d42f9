"""Predict and score each case, on its native grid."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np

from imaging import Volume, read_labels
from swinunet.errors import InputError
from training.dataset import CasePaths
from training.evaluation.predictions import Predictor
from training.evaluation.result import DEFINITIONS, CaseResult, Evaluation
from training.evaluation.selection import Selection
from training.evaluation.statistics import RESAMPLES
from training.evaluation.summary import summarise
from training.metrics import TOLERANCE_MM, score_case


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
    reference = read_labels(case.labels, _pixel_mm(predictor))
    _require_known(reference, num_classes, f"{case.name}: the reference")
    began = time.perf_counter()
    try:
        predicted = predictor(case)
    except InputError as error:
        raise InputError(str(error) if case.name in str(error) else f"{case.name}: {error}") from None
    seconds = time.perf_counter() - began
    _require_known(predicted, num_classes, f"{case.name}: the prediction")
    if predicted.shape != reference.shape or not np.allclose(predicted.affine, reference.affine, atol=1e-3):
        raise InputError(
            f"{case.name}: the prediction's grid {predicted.shape} and the reference's {reference.shape} differ in "
            "size or position; predictions are judged on the grid of the reference"
        )
    scores = score_case(predicted.voxels, reference, num_classes)
    return CaseResult(case.name, reference.shape, reference.spacing_mm, seconds, scores)


def _require_known(labels: Volume, num_classes: int, who: str) -> None:
    highest = int(labels.voxels.max())
    if highest >= num_classes:
        raise InputError(f"{who} has label {highest}, the model knows 0..{num_classes - 1}")


def _notes(predictor: Predictor, selection: Selection, cases: list[CaseResult]) -> tuple[str, ...]:
    notes = []
    if selection.split and selection.split.part == "training":
        notes.append("These are the cases the model was trained on: no measure of how good it is.")
    elif not selection.split and predictor.identity.kind != "predictions":
        notes.append("No split was given: if the model was trained on some of these cases, the figures flatter it.")
    seen = [any(case.classes[at].reference_ml for case in cases) for at in range(len(selection.class_names))]
    never = [name for name, there in zip(selection.class_names, seen, strict=True) if not there]
    if never:
        notes.append(f"No reference of these cases has {', '.join(never)}.")
    return tuple(notes)
