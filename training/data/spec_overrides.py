"""Fields of the model spec that the user sets, instead of what follows from the data or stands in a given spec."""

from __future__ import annotations

import dataclasses
import math
import shlex
from dataclasses import dataclass
from typing import Literal, cast, get_args

from pydantic import ValidationError

from swinunet.foundation.errors import InputError
from swinunet.imaging import ModelSpec, Window, ZScore
from swinunet.imaging.spec import Plane


@dataclass(frozen=True)
class SpecOverrides:
    """Fields that the user sets; None (no plane) leaves one as it is.

    planes: the first is the spec's `plane`, the rest its further ones.
    context: slices, odd. spacing: (row, column) mm, or "stretch" to bring every slice to the network's input.
    window: (low, high), or "zscore"; of every modality. scaled_to: what windows are scaled to, (low, high).
    pixel_mm: side of a pixel of images that do not say it (PNG).
    """

    planes: tuple[Plane, ...] = ()
    context: int | None = None
    context_step_mm: float | None = None
    spacing: tuple[float, float] | Literal["stretch"] | None = None
    modality: str | None = None
    body_part: str | None = None
    name: str | None = None
    window: tuple[float, float] | Literal["zscore"] | None = None
    pixel_mm: float | None = None
    scaled_to: tuple[float, float] | None = None

    def applied_to(self, spec: ModelSpec) -> ModelSpec:
        """`spec` with these fields instead of its own. Raises InputError for values that no spec can have."""
        changes: dict[str, object] = {
            "context_slices": self.context,
            "context_step_mm": self.context_step_mm,
            "modality": self.modality,
            "body_part": self.body_part,
            "name": self.name,
            "pixel_mm": self.pixel_mm,
        }
        changes = {key: value for key, value in changes.items() if value is not None}
        if self.planes:
            changes |= {"plane": self.planes[0], "further_planes": self.planes[1:]}
        if self.spacing is not None:
            changes["spacing_mm"] = None if self.spacing == "stretch" else self.spacing
        if self.window is not None:
            zscore = spec.intensity if isinstance(spec.intensity, ZScore) else ZScore()
            changes["intensity"] = zscore if self.window == "zscore" else Window(*self.window)
            changes["intensities"] = ()
        made = make_spec(dataclasses.asdict(spec) | changes)
        return made if self.scaled_to is None else _scaled(made, self.scaled_to)

    def overridden(self) -> list[str]:
        """The fields that are set, by the names of `Derived.reasons`."""
        values = {
            "modality": self.modality,
            "plane": self.planes or None,
            "context": self.context or self.context_step_mm,
            "spacing": self.spacing,
            "intensity": self.window or self.scaled_to,
        }
        return [name for name, value in values.items() if value is not None]

    def as_options(self) -> list[str]:
        """The command line's options that set these fields."""
        values = {
            "plane": _joined(self.planes or None),
            "context": self.context,
            "context-step": self.context_step_mm,
            "spacing": _joined(self.spacing),
            "modality": self.modality,
            "body-part": self.body_part,
            "name": self.name,
            "window": _joined(self.window),
            "pixel-mm": self.pixel_mm,
            "scaled-to": _joined(self.scaled_to),
        }
        return [f"--{flag} {shlex.quote(str(value))}" for flag, value in values.items() if value is not None]

    @staticmethod
    def parse(
        *,
        plane: str | None = None,
        context: int | None = None,
        context_step_mm: float | None = None,
        spacing: str | None = None,
        modality: str | None = None,
        body_part: str | None = None,
        name: str | None = None,
        window: str | None = None,
        pixel_mm: float | None = None,
        scaled_to: str | None = None,
    ) -> SpecOverrides:
        """Overrides as text of the command line. Raises InputError for what cannot be read."""
        planes = plane.split(",") if plane is not None else []
        if set(planes) - set(get_args(Plane)):
            raise InputError(f"plane {plane!r}; expected one of {', '.join(get_args(Plane))}, or several with commas")
        return SpecOverrides(
            planes=cast("tuple[Plane, ...]", tuple(planes)),
            context=context,
            context_step_mm=context_step_mm,
            spacing="stretch" if spacing == "stretch" else _spacing(spacing),
            modality=modality,
            body_part=body_part,
            name=name,
            pixel_mm=pixel_mm,
            window="zscore" if window == "zscore" else _range("window", window, ", or zscore"),
            scaled_to=_range("scaled-to", scaled_to),
        )


def make_spec(fields: dict[str, object]) -> ModelSpec:
    """A ModelSpec of these fields. Raises InputError, naming the first that is not allowed."""
    try:
        return ModelSpec(**fields)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{part}: " for part in first["loc"])
        raise InputError(f"there can be no such model: {where}{first['msg']}") from None


def _spacing(text: str | None) -> tuple[float, float] | None:
    """One number for both, or ROW,COLUMN."""
    if text is None:
        return None
    values = _numbers(text)
    if len(values) not in (1, 2) or not all(value > 0 for value in values):
        raise InputError(f"spacing {text!r}; expected MM, ROW_MM,COLUMN_MM, or stretch")
    return values[0], values[-1]


def _range(name: str, text: str | None, instead: str = "") -> tuple[float, float] | None:
    if text is None:
        return None
    values = _numbers(text)
    if len(values) != 2 or values[0] >= values[1]:
        raise InputError(f"{name} {text!r}; expected LOW,HIGH with LOW below HIGH{instead}")
    return values[0], values[1]


def _scaled(spec: ModelSpec, scaled_to: tuple[float, float]) -> ModelSpec:
    """The spec with its windows scaled so. Raises InputError if it has none."""
    rules = [
        dataclasses.replace(rule, scaled_to=scaled_to) if isinstance(rule, Window) else rule
        for rule in spec.intensity_rules
    ]
    if not any(isinstance(rule, Window) for rule in rules):
        raise InputError("scaled-to is of a window, and the intensity rule is none; add --window LOW,HIGH")
    return dataclasses.replace(spec, intensity=rules[0], intensities=tuple(rules) if spec.intensities else ())


def _joined(value: tuple[object, ...] | str | None) -> str | None:
    return ",".join(map(str, value)) if isinstance(value, tuple) else value


def _numbers(text: str) -> list[float]:
    """Finite numbers between commas; none where one of them is no number."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        return []
    return values if all(math.isfinite(value) for value in values) else []
