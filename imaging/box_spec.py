"""What a spec says of boxes: how a model trained on crops gets them, and how the answer of a locator is judged."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

_STRICT = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)
_Range = tuple[float, float]
_ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-]+$")]


@dataclass(frozen=True, config=_STRICT)
class LocatedBox:
    """One box. label: of the locator, by name, around whose largest piece it is drawn. side: of the patient, if any."""

    label: str
    side: Literal["left", "right"] | None = None


@dataclass(frozen=True, config=_STRICT)
class Boxes:
    """How the boxes of a model that was trained on crops are found in a study that is larger than a crop.

    locator: name of the model, served beside this one, that finds them. around: what each box is drawn around.
    margin_mm: from what was found to each face of its box.
    volume_ml: lowest and highest plausible volume, in one box, of all structures together; None where not known.
    """

    locator: _ModelName
    around: tuple[LocatedBox, ...]
    margin_mm: Annotated[float, Field(ge=0, le=100)]
    volume_ml: _Range | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Boxes:
        if not self.around:
            raise ValueError("around must name a label of the locator for each box")
        for what in ([box.label for box in self.around], [box.side for box in self.around]):
            if len(set(what)) != len(what):
                raise ValueError("around must name each label and each side once")
        _require_range("volume_ml", self.volume_ml)
        return self


@dataclass(frozen=True, config=_STRICT)
class Locating:
    """How the answer of a locator, a model whose labels are places to look at, is judged.

    whole: what all its labels make up together, "brain" for one. whole_ml: lowest and highest volume of its largest
        connected piece in a study that shows it wholly or in part: anything else is no study of it.
    part_ml: lowest and highest volume of the largest piece of a label that counts as found.
    least_probability: mean over that piece, from which on it counts as found.
    apart_mm: lowest and highest distance between the centres of the left and the right of one structure.
    """

    whole: str
    whole_ml: _Range
    part_ml: _Range
    least_probability: Annotated[float, Field(ge=0.5, le=1)]
    apart_mm: _Range

    @model_validator(mode="after")
    def _consistent(self) -> Locating:
        for name in ("whole_ml", "part_ml", "apart_mm"):
            _require_range(name, getattr(self, name))
        return self


def _require_range(name: str, found: _Range | None) -> None:
    if found and not 0 <= found[0] <= found[1]:
        raise ValueError(f"{name} must be the lowest and the highest value, found {found}")
