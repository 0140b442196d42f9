"""Options that say what a model's spec is, for any verb that makes a model: training's and import's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from swinunet.imaging import ModelSpec
    from swinunet.training.data.spec_overrides import SpecOverrides


@dataclass(frozen=True)
class SpecOptions:
    """A spec, and what of it, or of the one that is made, is set."""

    spec: Path | None = None
    """Model spec (JSON), as in training/specs/."""
    plane: str | None = None
    """Slice plane: sagittal, coronal, axial, or acquired, which takes slices as they were taken, however they lie. For
    several, separated by commas, the answers are averaged."""
    context_slices: Annotated[int | None, typer.Option("--context")] = None
    """Number of neighbouring slices that are the input channels; odd."""
    context_step: float | None = None
    """Distance between these slices in mm."""
    spacing: str | None = None
    """Pixel spacing in mm: MM, or ROW,COLUMN, or stretch."""
    modality: str | None = None
    """DICOM modality: MR, CT, ..."""
    body_part: str | None = None
    """DICOM body part: BRAIN, ABDOMEN, ..."""
    name: str | None = None
    """Name under which Triton serves the model."""
    pixel_mm: float | None = None
    """Side of a pixel of PNGs in mm, which they do not say. By default 1 mm."""
    window: str | None = None
    """Intensity window LOW,HIGH, or zscore; of every modality. In training each has a rule of its own by default."""
    scaled_to: Annotated[str | None, typer.Option(show_default="-1,1")] = None
    """Range LOW,HIGH to which the window is scaled; 0,1 for the published Synapse weights."""

    def overrides(self) -> SpecOverrides:
        """What the user sets. Raises InputError for what cannot be read."""
        from swinunet.training.data.spec_overrides import SpecOverrides

        return SpecOverrides.parse(
            plane=self.plane,
            context=self.context_slices,
            context_step_mm=self.context_step,
            spacing=self.spacing,
            modality=self.modality,
            body_part=self.body_part,
            name=self.name,
            window=self.window,
            pixel_mm=self.pixel_mm,
            scaled_to=self.scaled_to,
        )

    def given(self) -> ModelSpec | None:
        """The spec in the file; None where none is named. Raises InputError, SpecError."""
        from swinunet.foundation.errors import InputError
        from swinunet.imaging import ModelSpec

        if self.spec is None:
            return None
        try:
            return ModelSpec.from_json(self.spec.read_text(), str(self.spec))
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise InputError(f"{self.spec}: cannot read ({why})") from None
