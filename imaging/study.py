"""A study: the co-registered images of one subject, in one file (fourth axis) or one file for each modality."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from imaging.nifti import read_nifti_labels, read_nifti_modalities
from imaging.png import read_png_labels, read_png_modalities
from imaging.volume import Volume

SUFFIXES = (".nii.gz", ".nii", ".png")
_CHANNEL = re.compile(r"^(?P<name>.+)_(?P<channel>\d{4})$")  # nnU-Net: NAME_0000.nii.gz, NAME_0001.nii.gz


def is_image(path: Path) -> bool:
    """Whether the file's name says that it is an image this software reads; hidden files are not."""
    return path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".")


def image_name(path: Path) -> str:
    """The file's name without the suffix of its format."""
    suffix = next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), "")
    return path.name[: len(path.name) - len(suffix)]


def channel_of(name: str) -> tuple[str, int] | None:
    """NAME and 2 of `NAME_0002`, as nnU-Net numbers the files of a study; None for any other name."""
    found = _CHANNEL.match(name)
    return (found["name"], int(found["channel"])) if found else None


def group_channels(paths: Iterable[Path]) -> dict[str, tuple[Path, ...]]:
    """Files by study: those that differ only in their channel number belong together, in its order."""
    studies: dict[str, list[tuple[int, Path]]] = {}
    for path in paths:
        name, channel = channel_of(image_name(path)) or (image_name(path), 0)
        studies.setdefault(name, []).append((channel, path))
    return {name: tuple(path for _, path in sorted(files)) for name, files in studies.items()}


def read_study(paths: Sequence[Path], pixel_mm: float | None = None) -> tuple[Volume, ...]:
    """The modalities of a study, those of the first file first: a float32 Volume each. Raises InputError.

    pixel_mm: side of a pixel of files that do not say it (PNG); None takes 1 mm.
    """
    return tuple(volume for path in paths for volume in _read(path, pixel_mm or 1.0))


def read_labels(path: Path, pixel_mm: float | None = None) -> Volume:
    """A label map from NIfTI or PNG: uint8 Volume. Raises InputError if a value is not a whole number in 0..255.

    pixel_mm: as in `read_study`.
    """
    return read_png_labels(path, pixel_mm or 1.0) if path.name.lower().endswith(".png") else read_nifti_labels(path)


def _read(path: Path, pixel_mm: float) -> tuple[Volume, ...]:
    return read_png_modalities(path, pixel_mm) if path.name.lower().endswith(".png") else read_nifti_modalities(path)
