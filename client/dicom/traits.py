"""What may tell the volumes of one series apart: attributes that differ between frames at one place."""

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
class Trait:
    """An attribute. name, unit: for a person. keyword: at the top level. group: (sequence, keyword) where enhanced."""

    name: str
    keyword: str
    group: tuple[str, str] | None = None
    unit: str = ""


# In the order in which they are tried as the explanation: what names a volume best comes first.
TRAITS = (
    Trait("echo time", "EchoTime", ("MREchoSequence", "EffectiveEchoTime"), "ms"),
    Trait("echo", "EchoNumbers"),
    Trait("b-value", "DiffusionBValue", ("MRDiffusionSequence", "DiffusionBValue"), "s/mm2"),
    Trait("time point", "TemporalPositionIdentifier", ("FrameContentSequence", "TemporalPositionIndex")),
    Trait("tube voltage", "KVP", ("CTXRayDetailsSequence", "KVP"), "kV"),
    Trait("image type", "ImageType", ("MRImageFrameTypeSequence", "FrameType")),
    Trait("image type", "ImageType", ("CTImageFrameTypeSequence", "FrameType")),
    Trait("complex part", "ComplexImageComponent", ("MRImageFrameTypeSequence", "ComplexImageComponent")),
    Trait("stack", "StackID", ("FrameContentSequence", "StackID")),
    Trait("inversion time", "InversionTime", None, "ms"),
    Trait("flip angle", "FlipAngle", ("MRTimingAndRelatedParametersSequence", "FlipAngle"), "degrees"),
    Trait("kernel", "ConvolutionKernel", ("CTReconstructionSequence", "ConvolutionKernel")),
    Trait("acquisition", "AcquisitionNumber", ("FrameContentSequence", "FrameAcquisitionNumber")),
    Trait("trigger time", "TriggerTime", ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"), "ms"),
    Trait("frame time", "FrameReferenceTime", ("FrameContentSequence", "FrameReferenceDateTime"), "ms"),
    Trait("gradient", "DiffusionGradientOrientation"),
    Trait("acquired", "AcquisitionDateTime", ("FrameContentSequence", "FrameAcquisitionDateTime")),
    Trait("acquired at", "AcquisitionTime"),
)
_B_VALUE = next(index for index, trait in enumerate(TRAITS) if trait.name == "b-value")
_TIMES = ("acquired", "acquired at", "frame time")  # say when a person was scanned: told apart, never shown

TRAIT_TAGS: list[int | str] = [trait.keyword for trait in TRAITS]
TRAIT_TAGS += [tag for creator, _, element in _PRIVATE_B_VALUES for tag in (creator, element)]


def is_shown(trait: Trait) -> bool:
    """Whether the trait's values may be printed: dates and times are the patient's."""
    return trait.name not in _TIMES


def traits_of(dataset: Dataset, groups: Sequence[Dataset] = ()) -> tuple[str, ...]:
    """The traits of one frame. groups: its functional groups, per-frame before shared; empty in classic images."""
    found = [_grouped(trait, groups) or text_of(dataset, trait.keyword) for trait in TRAITS]
    found[_B_VALUE] = found[_B_VALUE] or _private_b_value(dataset)
    return tuple(found)


def _grouped(trait: Trait, groups: Sequence[Dataset]) -> str:
    if trait.group is None:
        return ""
    sequence, keyword = trait.group
    items = next((items for group in groups if (items := value_of(group, sequence))), None)
    return text_of(items[0], keyword) if items else ""


def _private_b_value(dataset: Dataset) -> str:
    for creator, name, element in _PRIVATE_B_VALUES:
        if text_of(dataset, creator) == name:
            value = value_of(dataset, element)
            if isinstance(value, bytes):  # implicit VR: an integer string that pydicom does not know
                value = value.decode("ascii", "replace").split("\\")
            first = str(value[0] if isinstance(value, MultiValue | list) else value).strip()
            return str(int(first) % _GE_B_VALUE_OFFSET) if first.isdigit() else ""
    return ""
