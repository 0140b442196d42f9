"""From stored values to real ones: the rescale attributes, or where an image has none, its real world value mapping."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset

from swinunet.client.dicom.elements import number_of
from swinunet.client.dicom.sources import FaultError

_RANGE = (
    ("RealWorldValueFirstValueMapped", "RealWorldValueLastValueMapped"),
    ("DoubleFloatRealWorldValueFirstValueMapped", "DoubleFloatRealWorldValueLastValueMapped"),
)


def scale_of(rescaling: Dataset, mappings: Sequence[Dataset], has_table: bool) -> tuple[float, float]:
    """Slope and intercept of one frame, (1, 0) where it has none.

    rescaling: holds RescaleSlope and RescaleIntercept (PS3.3 C.11.1.1.2, C.7.6.16.2.9). mappings: items of its
    RealWorldValueMappingSequence (C.7.6.16.2.11), which speak where there is neither of those, nor a modality lookup
    table: some scanners scale each slice on its own and say so only there. Several items are the same values in
    several units: the first counts. Raises FaultError for a slope of 0, and for a mapping that is no straight line.
    """
    slope, intercept, name = number_of(rescaling, "RescaleSlope"), number_of(rescaling, "RescaleIntercept"), "Rescale"
    if slope is None and intercept is None and mappings and not has_table:
        name = "RealWorldValue"
        linear = [item for item in mappings if number_of(item, "RealWorldValueSlope") is not None]
        if not linear:
            raise FaultError("its real values are given by a table (RealWorldValueLUTData), which is not read")
        if len({_mapped_range(item) for item in linear}) > 1:
            raise FaultError("its RealWorldValueMappingSequence has several slopes, each for a part of its values")
        slope = number_of(linear[0], "RealWorldValueSlope")
        intercept = number_of(linear[0], "RealWorldValueIntercept")
    if slope == 0:
        raise FaultError(f"its {name}Slope is 0")
    return 1.0 if slope is None else slope, 0.0 if intercept is None else intercept


def _mapped_range(item: Dataset) -> tuple[object, ...]:
    return next((ends for keys in _RANGE if any(ends := tuple(str(item.get(key, "")) for key in keys))), ())
