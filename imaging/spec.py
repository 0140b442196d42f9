"""ModelSpec: the one statement of what a model expects and what its outputs mean.

It travels inside the checkpoint, in the ONNX metadata and in the Triton config's parameters, always as the same JSON.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from swinunet.foundation.errors import SpecError
from swinunet.imaging.box_spec import Boxes, Locating

SCHEMA_VERSION = 1
SPEC_KEY = "swinunet_spec"  # the key under which the JSON travels, in every carrier

AnatomicalPlane = Literal["sagittal", "coronal", "axial"]
Plane = Literal[AnatomicalPlane, "acquired"]
_STRICT = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)
_Byte = Annotated[int, Field(ge=0, le=255)]
_Percentile = Annotated[float, Field(ge=0, le=100)]
_LARGEST_SIDE = 16384  # pixels of `input_size`, as many as a DICOM image has
_MOST_CONTEXT_SLICES = 255


@dataclass(frozen=True, config=_STRICT)
class Code:
    """A coded concept (PS3.3 8.8): value, coding scheme designator, meaning."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, config=_STRICT)
class Label:
    """One foreground class. `index` is its value in `labels`; 0 is background and has no Label.

    volume_ml: lowest and highest volume among the training cases that hold the structure; None where it is not known.
    """

    index: Annotated[int, Field(ge=1, le=255)]
    name: str
    color: tuple[_Byte, _Byte, _Byte]  # RGB
    type: Code  # segmented property type, for the DICOM SEG (PS3.3 C.8.20.2)
    modifier: Code | None = None  # segmented property type modifier
    volume_ml: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _plausible(self) -> Label:
        if self.volume_ml and not 0 <= self.volume_ml[0] <= self.volume_ml[1]:
            raise ValueError(f"volume_ml must be the lowest and the highest volume, found {self.volume_ml}")
        return self


@dataclass(frozen=True, config=_STRICT)
class ZScore:
    """Clip to two percentiles, then subtract the mean and divide by the standard deviation.

    per: whose percentiles, mean and deviation: those of the whole "volume", or of each "slice" its own, as a model
        needs that was trained on single slices, or of each slice the part in the network's field of "view" alone, so
        that what lies outside, bright fat beside a coil, does not count.
    """

    rule: Literal["zscore"] = "zscore"
    low_percentile: _Percentile = 0.5
    high_percentile: _Percentile = 99.5
    per: Literal["volume", "slice", "view"] = "volume"

    @model_validator(mode="after")
    def _in_order(self) -> ZScore:
        _require_order("low_percentile", self.low_percentile, "high_percentile", self.high_percentile)
        return self


@dataclass(frozen=True, config=_STRICT)
class Window:
    """Clip to `low`..`high` (HU for CT) and scale that range to `scaled_to`, as to 0..1 for published Swin-Unets."""

    low: float
    high: float
    rule: Literal["window"] = "window"
    scaled_to: tuple[float, float] = (-1.0, 1.0)

    @model_validator(mode="after")
    def _in_order(self) -> Window:
        _require_order("low", self.low, "high", self.high)
        _require_order("scaled_to, low", self.scaled_to[0], "high", self.scaled_to[1])
        return self


Intensity = Annotated[ZScore | Window, Field(discriminator="rule")]


@dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))
class Provenance:
    """Where the weights come from. `metrics` holds figures measured on `split`, never on training cases."""

    dataset: str = ""
    licence: str = ""
    attribution: str = ""
    split: str = ""
    seed: int = 0
    metrics: dict[str, float] = Field(default_factory=dict)
    command: str = ""  # that trained the weights
    checkpoint_sha256: str = ""


@dataclass(frozen=True, config=_STRICT)
class ModelSpec:
    """What a model expects and what its outputs mean.

    name, version: as Triton knows them.
    modality, body_part: DICOM defined terms (PS3.3 C.7.3.1.1.1, PS3.16 Annex L).
    plane: the anatomical plane nearest to the slices the network reads; or "acquired": slices as they were taken,
        however they lie, as of the short axis of a heart.
    larger_slices: what becomes of a slice that is larger than the network's field of view: it is "refused", or its
        "middle" is read and what lies around that is background, as for a heart, which scanners put in the middle.
    pixel_mm: side of a pixel of images that do not say it (PNG); None takes 1 mm.
    further_planes: the same network reads the study along these as well, and the probabilities are averaged.
    context_slices: of each image: the slice itself in the middle, its neighbours `context_step_mm` apart around it.
    input_size: (H, W) of the network's input in pixels.
    spacing_mm: (row, column) pixel spacing to which slices are resampled, then centred and padded to `input_size`;
        None stretches every slice to `input_size`.
    modalities: names of the co-registered images of a study, in the order of the channels; empty where a study is one
        image. Each is normalised on its own.
    intensities: the rule of each of the modalities; empty where all follow `intensity`, which is otherwise the first.
    mirrored: every plane is read a second time in a mirror, left for right, and averaged as further planes are; not for
        labels that name sides.
    descriptions: words of which a series' description should hold one, such as "t1", where a study has several series.
    min_slices: how many slices a series should have at least, where a study has several.
    components: "largest" keeps only the largest connected piece of all labels together, in each box or volume.
    boxes: how the boxes of a model that was trained on crops are found; None for one that takes whole studies, or
        boxes drawn by hand.
    locating: how the answer of a model that finds such boxes is judged; None for any other.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-]+$")]
    version: Annotated[int, Field(ge=1)]
    modality: str
    body_part: str
    plane: Plane
    context_slices: Annotated[int, Field(ge=1, le=_MOST_CONTEXT_SLICES)]
    context_step_mm: Annotated[float, Field(gt=0)]
    input_size: tuple[int, int]
    spacing_mm: tuple[float, float] | None
    intensity: Intensity
    labels: tuple[Label, ...]
    modalities: tuple[str, ...] = ()
    intensities: tuple[Intensity, ...] = ()
    further_planes: tuple[Plane, ...] = ()
    mirrored: bool = False
    components: Literal["all", "largest"] = "all"
    larger_slices: Literal["refused", "middle"] = "refused"
    pixel_mm: Annotated[float, Field(gt=0)] | None = None
    descriptions: tuple[str, ...] = ()
    min_slices: Annotated[int, Field(ge=0)] = 0
    boxes: Boxes | None = None
    locating: Locating | None = None
    provenance: Provenance = Provenance()
    schema_version: int = SCHEMA_VERSION

    @model_validator(mode="after")
    def _consistent(self) -> ModelSpec:
        if self.context_slices % 2 == 0:
            raise ValueError(f"context_slices must be odd, found {self.context_slices}")
        if [label.index for label in self.labels] != list(range(1, len(self.labels) + 1)):
            raise ValueError("label indices must run from 1 upwards without a gap")
        if min(self.input_size) < 1 or (self.spacing_mm and min(self.spacing_mm) <= 0):
            raise ValueError("input_size and spacing_mm must be positive")
        if max(self.input_size) > _LARGEST_SIDE:
            raise ValueError(f"input_size must be at most {_LARGEST_SIDE} along each side, found {self.input_size}")
        if len(self.modalities) == 1 or len(set(self.modalities)) != len(self.modalities):
            raise ValueError("modalities are the different names of two images or more; leave them away for one image")
        if self.intensities and (
            len(self.intensities) != len(self.modalities) or self.intensities[0] != self.intensity
        ):
            raise ValueError("intensities must be a rule for each of the modalities, and intensity the first of them")
        if len(set(self.planes)) != len(self.planes):
            raise ValueError("further_planes must be other planes than plane, each once")
        if self.mirrored and "acquired" in self.planes:
            raise ValueError("mirrored is for anatomical planes: slices as acquired do not say where left is")
        if self.mirrored and self.names_sides:
            raise ValueError("mirrored is not for labels that name sides: a mirror image contradicts them")
        if self.boxes and self.locating:
            raise ValueError("boxes are of a model that needs a locator and locating of the locator; give one of them")
        if self.locating and (self.spacing_mm is None or self.spacing_mm[0] != self.spacing_mm[1] or self.modalities):
            raise ValueError("a locator needs one spacing_mm along both axes, and one image a study")
        return self

    @property
    def planes(self) -> tuple[Plane, ...]:
        """All planes that the study is read along."""
        return (self.plane, *self.further_planes)

    @property
    def readings(self) -> tuple[tuple[Plane, bool], ...]:
        """Every way the study is read: the plane, and whether in a mirror."""
        return tuple((plane, mirror) for mirror in (False, True)[: 1 + self.mirrored] for plane in self.planes)

    @property
    def names_sides(self) -> bool:
        """Whether a label's name says left or right, so that a mirror image contradicts it."""
        words = {word for label in self.labels for word in re.split(r"[^a-z]+", label.name.lower())}
        return bool(words & {"left", "right"})

    @property
    def side_pairs(self) -> tuple[tuple[int, int], ...]:
        """Indices (left, right) of labels whose names differ in nothing but the side."""
        index_of = {label.name.lower(): label.index for label in self.labels}
        pairs = (
            (index, index_of.get(name.replace("left", "right"))) for name, index in index_of.items() if "left" in name
        )
        return tuple((left, right) for left, right in pairs if right is not None)

    @property
    def num_modalities(self) -> int:
        """Images of a study."""
        return max(1, len(self.modalities))

    @property
    def intensity_rules(self) -> tuple[ZScore | Window, ...]:
        """How each image of a study is normalised, in the order of the channels."""
        return self.intensities or (self.intensity,) * self.num_modalities

    @property
    def in_channels(self) -> int:
        """C of the network's input: the slices of the first modality, then those of the second, and so on."""
        return self.num_modalities * self.context_slices

    @property
    def num_classes(self) -> int:
        """The labels and the background."""
        return len(self.labels) + 1

    def to_json(self) -> str:
        """The spec as one line of JSON; newer fields only where they say something, so older readers read the rest."""
        newer = (
            "modalities", "intensities", "further_planes", "mirrored", "descriptions", "min_slices", "pixel_mm",
            "boxes", "locating",
        )  # fmt: skip
        left_out: dict[str, Any] = {name: True for name in newer if not getattr(self, name)}
        left_out |= {"larger_slices": True} if self.larger_slices == "refused" else {}
        left_out["intensity"] = _unsaid(self.intensity)
        if self.intensities:
            left_out["intensities"] = {at: _unsaid(each) for at, each in enumerate(self.intensities)}
        left_out["labels"] = {at: {"volume_ml"} for at, label in enumerate(self.labels) if label.volume_ml is None}
        return _ADAPTER.dump_json(self, exclude=left_out).decode()

    @staticmethod
    def from_json(text: str, origin: str) -> ModelSpec:
        """Read a spec that came from outside; `origin` names the carrier in errors.

        Raises SpecError if the JSON is broken, lacks a field, or has a newer schema than this software.
        """
        try:
            found = pydantic.TypeAdapter(_Versioned).validate_json(text).schema_version
        except ValidationError as error:
            raise SpecError(f"{origin}: this is no model spec ({_first(error)}); export the model again") from None
        if found > SCHEMA_VERSION:
            raise SpecError(
                f"{origin}: the model's spec has schema version {found}, this software reads up to {SCHEMA_VERSION}; "
                "update this software (pip install -U swinunet)"
            )
        try:
            return _ADAPTER.validate_json(text)
        except ValidationError as error:
            raise SpecError(f"{origin}: broken model spec ({_first(error)}); export the model again") from None


def _unsaid(rule: ZScore | Window) -> set[str]:
    """Newer fields of a rule that say what was always meant."""
    if isinstance(rule, ZScore):
        return {"per"} if rule.per == "volume" else set()
    return {"scaled_to"} if rule.scaled_to == (-1, 1) else set()


def _require_order(low_name: str, low: float, high_name: str, high: float) -> None:
    if not low < high:
        raise ValueError(f"{low_name} must lie below {high_name}, found {low:g} and {high:g}")


@dataclass(frozen=True)
class _Versioned:
    schema_version: int


_ADAPTER: TypeAdapter[ModelSpec] = TypeAdapter(ModelSpec)


def _first(error: ValidationError) -> str:
    detail = error.errors()[0]
    where = ".".join(str(part) for part in detail["loc"])
    return f"{where}: {detail['msg']}" if where else str(detail["msg"])
