"""Attributes by which the volumes of one series are told apart: they differ between frames at one position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from swinunet.client.dicom.elements import text_of, value_of

_PRIVATE_B_VALUES = (  # of MR before b-values had a public attribute: creator's element, creator, element
    (0x00190010, "SIEMENS MR HEADER", 0x0019100C),
    (0x00430010, "GEMS_PARM_01", 0x00431039),
    (0x20010010, "Philips Imaging DD 001", 0x20011003),
)
_GE_B_VALUE_OFFSET = 1_000_000_000  # GE adds it to b-values of some protocols


@dataclass(frozen=True)
class Attribute:
    """An attribute that may tell volumes apart.

    name, unit: for a person. keyword: of classic images, at the top level. group: (sequence, keyword) of the functional
    group macro that holds it in enhanced multi-frame images; some converters write its attribute at the top level.
    """

    name: str
    keyword: str
    group: tuple[str, str] | None = None
    unit: str = ""


# In the order in which they are tried as the explanation: what names a volume best comes first.
ATTRIBUTES = (
    Attribute("echo time", "EchoTime", ("MREchoSequence", "EffectiveEchoTime"), "ms"),
    Attribute("echo", "EchoNumbers"),
    Attribute("b-value", "DiffusionBValue", ("MRDiffusionSequence", "DiffusionBValue"), "s/mm2"),
    Attribute("time point", "TemporalPositionIdentifier", ("FrameContentSequence", "TemporalPositionIndex")),
    Attribute(
        "time offset", "TemporalPositionTimeOffset", ("TemporalPositionSequence", "TemporalPositionTimeOffset"), "s"
    ),
    Attribute("tube voltage", "KVP", ("CTXRayDetailsSequence", "KVP"), "kV"),
    Attribute("image type", "ImageType", ("MRImageFrameTypeSequence", "FrameType")),
    Attribute("image type", "ImageType", ("CTImageFrameTypeSequence", "FrameType")),
    Attribute("complex part", "ComplexImageComponent", ("MRImageFrameTypeSequence", "ComplexImageComponent")),
    Attribute("stack", "StackID", ("FrameContentSequence", "StackID")),
    Attribute("inversion time", "InversionTime", None, "ms"),
    Attribute("flip angle", "FlipAngle", ("MRTimingAndRelatedParametersSequence", "FlipAngle"), "degrees"),
    Attribute("kernel", "ConvolutionKernel", ("CTReconstructionSequence", "ConvolutionKernel")),
    Attribute("acquisition", "AcquisitionNumber", ("FrameContentSequence", "FrameAcquisitionNumber")),
    Attribute(
        "trigger time", "TriggerTime", ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"), "ms"
    ),
    Attribute("frame time", "FrameReferenceTime", ("FrameContentSequence", "FrameReferenceDateTime"), "ms"),
    Attribute("gradient", "DiffusionGradientOrientation"),
    Attribute("acquired", "AcquisitionDateTime", ("FrameContentSequence", "FrameAcquisitionDateTime")),
    Attribute("acquired at", "AcquisitionTime"),
)
_B_VALUE = next(index for index, each in enumerate(ATTRIBUTES) if each.name == "b-value")
_TIMES = ("acquired", "acquired at", "frame time")  # of when a person was scanned: compared, never shown

ATTRIBUTE_TAGS: list[int | str] = [each.keyword for each in ATTRIBUTES]
ATTRIBUTE_TAGS += [each.group[1] for each in ATTRIBUTES if each.group]
ATTRIBUTE_TAGS += [tag for creator, _, element in _PRIVATE_B_VALUES for tag in (creator, element)]


def is_shown(attribute: Attribute) -> bool:
    """Whether the attribute's values may be printed: dates and times are the patient's."""
    return attribute.name not in _TIMES


def distinguishing_values(dataset: Dataset, groups: Sequence[Dataset] = ()) -> tuple[str, ...]:
    """The values of ATTRIBUTES in one frame, "" for one that it lacks.

    groups: the frame's functional groups, per-frame before shared; empty in classic images.
    """
    found = [_grouped(each, groups) or _at_top_level(each, dataset) for each in ATTRIBUTES]
    found[_B_VALUE] = found[_B_VALUE] or _private_b_value(dataset)
    return tuple(found)


def _grouped(attribute: Attribute, groups: Sequence[Dataset]) -> str:
    if attribute.group is None:
        return ""
    sequence, keyword = attribute.group
    items = next((items for group in groups if (items := value_of(group, sequence))), None)
    return text_of(items[0], keyword) if items else ""


def _at_top_level(attribute: Attribute, dataset: Dataset) -> str:
    return text_of(dataset, attribute.keyword) or (text_of(dataset, attribute.group[1]) if attribute.group else "")


def _private_b_value(dataset: Dataset) -> str:
    for creator, name, element in _PRIVATE_B_VALUES:
        if text_of(dataset, creator) == name:
            value = value_of(dataset, element)
            if isinstance(value, bytes):  # implicit VR: an integer string that pydicom does not know
                value = value.decode("ascii", "replace").split("\\")
            first = str(value[0] if isinstance(value, MultiValue | list) else value).strip()
            return str(int(first) % _GE_B_VALUE_OFFSET) if first.isdigit() else ""
    return ""
