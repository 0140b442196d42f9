"""Coded concepts that results use (PS3.16), as highdicom takes them."""

from __future__ import annotations

from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes

from swinunet.client.results.quality import Check, FlagKind
from swinunet.client.segments import Segment, Side
from swinunet.imaging import Code

# CID 244 "Laterality"
LATERALITY: dict[Side, CodedConcept] = {
    "left": CodedConcept("7771000", "SCT", "Left"),
    "right": CodedConcept("24028007", "SCT", "Right"),
}

# CID 7180, DCM; the generic one is the Image Biomarker Standardisation Initiative's "Mean intensity".
_INTENSITY = {
    "CT": (CodedConcept.from_code(codes.DCM.AttenuationCoefficient), CodedConcept.from_code(codes.UCUM.HounsfieldUnit)),
    "MR": (CodedConcept.from_code(codes.DCM.MRSignalIntensity), CodedConcept.from_code(codes.UCUM.NoUnits)),
}
_ANY_INTENSITY = (CodedConcept("Q4LE", "IBSI", "Mean intensity"), CodedConcept.from_code(codes.UCUM.NoUnits))

# The standard has no codes for these: a private scheme (PS3.3 8.2).
PRIVATE_SCHEME = "99SWINUNET"
CONFIDENCE = CodedConcept("confidence", PRIVATE_SCHEME, "Mean probability of the assigned class")
QUALITY = CodedConcept("quality", PRIVATE_SCHEME, "Quality flag")
NO_FLAG = CodedConcept("none", PRIVATE_SCHEME, "No quality flag raised")
NOT_JUDGED = CodedConcept("not_judged", PRIVATE_SCHEME, "Quality check not made")
FLAGS: dict[FlagKind, CodedConcept] = {
    "volume_low": CodedConcept("volume_low", PRIVATE_SCHEME, "Volume below the range seen in training"),
    "volume_high": CodedConcept("volume_high", PRIVATE_SCHEME, "Volume above the range seen in training"),
    "side_volume": CodedConcept("side_volume", PRIVATE_SCHEME, "Implausible volume of one side"),
    "low_confidence": CodedConcept("low_confidence", PRIVATE_SCHEME, "Low mean probability"),
    "many_components": CodedConcept("many_components", PRIVATE_SCHEME, "Many separate pieces"),
    "cut": CodedConcept("cut", PRIVATE_SCHEME, "Cut by the box or the field of view"),
}
CHECKS: dict[Check, CodedConcept] = {
    "volume": CodedConcept("volume", PRIVATE_SCHEME, "Volume against training"),
    "confidence": CONFIDENCE,
}


def intensity(modality: str) -> tuple[CodedConcept, CodedConcept]:
    """What an image's values are called, and their unit."""
    return _INTENSITY.get(modality, _ANY_INTENSITY)


def concept(code: Code) -> CodedConcept:
    """A code of the spec."""
    return CodedConcept(code.value, code.scheme, code.meaning)


def modifiers(segment: Segment) -> list[CodedConcept]:
    """Laterality first, then the label's own modifier (Segmented Property Type Modifier, PS3.3 C.8.20.4)."""
    side = [LATERALITY[segment.laterality]] if segment.laterality else []
    return side + ([concept(segment.label.modifier)] if segment.label.modifier else [])
