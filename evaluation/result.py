"""The result of an evaluation: every figure of every case, and how it was obtained. It is kept as evaluation.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from swinunet.evaluation.predictions import ModelIdentity
from swinunet.evaluation.selection import Split
from swinunet.foundation.errors import InputError
from swinunet.training.metrics.case_scores import ClassScore
from swinunet.training.metrics.statistics import Estimate


@dataclass(frozen=True)
class Metric:
    """key: its name in ClassScore and in the JSON. title: for people. perfect: the best value."""

    key: str
    title: str
    perfect: float
    digits: int = 3


METRICS = (
    Metric("dice", "Dice", 1.0),
    Metric("hd95_mm", "HD95 (mm)", 0.0, 2),
    Metric("nsd", "NSD", 1.0),
    Metric("volume_error_ml", "volume error (ml)", 0.0),
    Metric("absolute_volume_error_ml", "abs. volume error (ml)", 0.0),
)

DEFINITIONS = {
    "dice": "Dice (1945) of the voxels, on the image's native grid",
    "hd95_mm": "robust Hausdorff distance in mm: the larger of both directions' 95th percentiles of surface distance, "
    "weighted by area; surface elements as in DeepMind's surface-distance (arXiv 1809.04430)",
    "nsd": "normalised surface Dice: share of both surfaces within the tolerance of the other, same surface elements",
    "volume_error_ml": "predicted minus reference volume, ml",
    "absolute_volume_error_ml": "its absolute value, ml",
    "missed": "reference there, nothing predicted: counts Dice 0, NSD 0 and the volume's diagonal as HD95",
    "false_positive": "predicted, no reference: counts Dice 0, NSD 0 and the volume's diagonal as HD95",
    "absent": "in neither: left out of the means and counted",
    "mean": "mean over classes of the classes' means over cases",
    "interval": "95 % percentile bootstrap over cases (Efron and Tibshirani 1993)",
}


@dataclass(frozen=True)
class CaseResult:
    """One case. seconds: to predict it. classes: scores of foreground labels.

    ignored_voxels: of the reference, that nobody annotated and that are not scored.
    """

    case: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    seconds: float
    classes: tuple[ClassScore, ...]
    ignored_voxels: int = 0


@dataclass(frozen=True)
class ClassSummary:
    """One class over all cases. scored: cases in the means. metrics: by Metric.key."""

    index: int
    name: str
    scored: int
    absent: int
    missed: int
    false_positives: int
    metrics: dict[str, Estimate]


@dataclass(frozen=True)
class Evaluation:
    """An evaluation. selection: the cases judged, in words. mean: over classes, by Metric.key."""

    model: ModelIdentity
    data: str
    selection: str
    split: Split | None
    cases: tuple[CaseResult, ...]
    classes: tuple[ClassSummary, ...]
    mean: dict[str, Estimate]
    tolerance_mm: float
    seed: int
    resamples: int
    notes: tuple[str, ...]
    created: str
    software: str
    definitions: dict[str, str]
    schema_version: Literal[1] = 1
    format: Literal["swinunet-evaluation"] = "swinunet-evaluation"

    def to_json(self) -> str:
        """The evaluation as indented JSON; `read_evaluation` reads it."""
        return _ADAPTER.dump_json(self, indent=1).decode() + "\n"


_ADAPTER: TypeAdapter[Evaluation] = TypeAdapter(Evaluation)


def read_evaluation(path: Path) -> Evaluation:
    """Read an evaluation.json. Raises InputError if the file is missing or something else."""
    try:
        return _ADAPTER.validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot read ({error.strerror}); expected an evaluation.json") from None
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(map(str, detail["loc"])) or "the file"
        raise InputError(
            f"{path}: no result of `swinunet evaluate` ({where}: {detail['msg']}); expected an evaluation.json"
        ) from None
