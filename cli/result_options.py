"""Options that say which results are written, and where, for any verb that segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from swinunet.client.results.formats import outputs_default, outputs_help
from swinunet.foundation.errors import InputError

if TYPE_CHECKING:
    from swinunet.client import OutputOptions, Study
    from swinunet.client.results.deidentify import Pseudonyms


@dataclass(frozen=True)
class ResultFormatOptions:
    """Which results are written of each study, in which form, and where."""

    output: Annotated[Path, typer.Option("--output", "-o")]
    """Folder for the results; each input gets a folder in it."""
    outputs: Annotated[str | None, typer.Option(help=outputs_help(), show_default=outputs_default())] = None
    """Results to write, of client/results/formats.py."""
    # The two lists of words are those of swinunet.client.results: importing it here would load Matplotlib for help.
    seg_type: Literal["binary", "labelmap"] = "binary"
    """How the DICOM SEG stores its segments."""
    restore: Literal["labels", "probabilities"] = "labels"
    """How the mask returns to the native grid: by nearest label (fast), or by interpolated probability (smooth)."""


@dataclass(frozen=True)
class ResultOptions(ResultFormatOptions):
    """The same, with what becomes of results that exist, and of names."""

    deidentify: Path | None = None
    """De-identify the results for research. Names and UIDs follow from this key file, which is created if absent."""
    identified: Annotated[bool, typer.Option("--identified")] = False
    """Name the patient on the result page."""
    overwrite: Annotated[bool, typer.Option("--overwrite")] = False
    """Replace results that exist."""
    resume: Annotated[bool, typer.Option("--resume")] = False
    """Skip inputs that have a result by the same model with the same options."""

    def chosen_formats(self, tree: Path | None) -> tuple[str, ...] | None:
        """Names of the results to write; None for the default ones. tree: the folder whose studies are segmented.

        Raises InputError for what does not go together, and where results are recognised by their JSON report and
        there would be none.
        """
        from swinunet.client.results.formats import parse_outputs

        if self.identified and self.deidentify:
            raise InputError("--identified names the patient and --deidentify removes the name; give one of the two")
        formats = None if self.outputs is None else parse_outputs(self.outputs)
        if formats is None or "json" in formats:
            return formats
        if self.resume:
            raise InputError("--resume goes by the JSON report of each result; add json to --outputs")
        if tree and "nifti" in formats and self.output.resolve().is_relative_to(tree.resolve()):
            raise InputError(
                f"{self.output}: lies in the tree, where the next run would take masks without a JSON report for "
                "images; add json to --outputs, or give an output folder elsewhere"
            )
        return formats

    def output_options(self, formats: tuple[str, ...] | None) -> OutputOptions:
        """As `segment_studies` takes them. Creates the key if it is absent, so input is looked at before.

        formats: of `chosen_formats`. Raises InputError for a key that cannot be used, OutputError if it cannot be made.
        """
        from swinunet.client import OutputOptions
        from swinunet.client.results.deidentify import Pseudonyms

        pseudonyms = Pseudonyms.from_file(self.deidentify) if self.deidentify else None
        return OutputOptions(formats, self.seg_type, self.restore, pseudonyms, self.identified)


def result_names(studies: Sequence[Study], pseudonyms: Pseudonyms | None) -> list[str]:
    """What the studies' folders of results are to be called."""
    if pseudonyms is None:
        return [study.name for study in studies]
    return [pseudonyms.case(study.path, study.series_uid) for study in studies]
