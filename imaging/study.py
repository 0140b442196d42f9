"""A study: the co-registered images of one subject, in one file (fourth axis) or one file for each modality."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from swinunet.imaging.nifti import read_nifti_labels, read_nifti_modalities
from swinunet.imaging.png import read_png_labels, read_png_modalities
from swinunet.imaging.volume import Volume

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


def read_study(paths: Sequence[Path], pixel_mm: float | None = None, *, assume_ras: bool = False) -> tuple[Volume, ...]:
    """The modalities of a study, those of the first file first: a float32 Volume each.

    pixel_mm: side of a pixel of files that do not say it (PNG); None takes 1 mm. assume_ras: as in `read_nifti`.
    Raises InputError, and GeometryError.
    """
    return tuple(volume for path in paths for volume in _read(path, pixel_mm or 1.0, assume_ras))


def read_labels(path: Path, pixel_mm: float | None = None, *, assume_ras: bool = False) -> Volume:
    """A label map from NIfTI or PNG: uint8 Volume. Raises InputError if a value is not a whole number in 0..255.

    pixel_mm, assume_ras: as in `read_study`.
    """
    if path.name.lower().endswith(".png"):
        return read_png_labels(path, pixel_mm or 1.0)
    return read_nifti_labels(path, assume_ras=assume_ras)


def _read(path: Path, pixel_mm: float, assume_ras: bool) -> tuple[Volume, ...]:
    if path.name.lower().endswith(".png"):
        return read_png_modalities(path, pixel_mm)
    return read_nifti_modalities(path, assume_ras=assume_ras)
