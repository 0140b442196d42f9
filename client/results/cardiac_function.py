"""What the volumes of a heart's ventricle over one beat say: end-diastolic and end-systolic volume, ejection fraction.

By the largest and the smallest volume among the phases (Schulz-Menger et al., doi 10.1186/s12968-020-00610-6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from swinunet.client.results.phased_segmentation import PhasedSegmentation

VENTRICLES: Final = {"87878005": "left", "53085002": "right"}  # SNOMED CT: left, right cardiac ventricle


@dataclass(frozen=True)
class CardiacFunction:
    """Of one ventricle. segment_number: in the DICOM SEG. ed_phase, es_phase: from 1. Volumes in ml, fraction in %."""

    structure: str
    segment_number: int
    ed_phase: int
    es_phase: int
    ed_ml: float
    es_ml: float
    stroke_ml: float
    ejection_fraction: float


def cardiac_functions(found: PhasedSegmentation) -> tuple[CardiacFunction, ...]:
    """Of each ventricle among the structures; none of one that no phase holds."""
    functions = []
    for at, segment in enumerate(found.segments):
        volumes_ml = [measured[at].volume_ml for measured in found.by_phase]
        if segment.label.type.value not in VENTRICLES or not max(volumes_ml):
            continue
        diastolic, systolic = max(volumes_ml), min(volumes_ml)
        functions.append(
            CardiacFunction(
                structure=segment.text,
                segment_number=segment.number,
                ed_phase=volumes_ml.index(diastolic) + 1,
                es_phase=volumes_ml.index(systolic) + 1,
                ed_ml=round(diastolic, 4),
                es_ml=round(systolic, 4),
                stroke_ml=round(diastolic - systolic, 4),
                ejection_fraction=round(100 * (diastolic - systolic) / diastolic, 2),
            )
        )
    return tuple(functions)
