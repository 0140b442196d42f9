"""Images that are sheets of many small slices: Siemens' mosaic, United Imaging's grid. Whose word for it counts.

A word in ImageType describes how an image was acquired, and stays when the scanner, or a PACS, writes its slices one by
one. The number of slices, and where the planes lie, say what this file is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from swinunet.client.dicom.elements import text_of, value_of
from swinunet.client.dicom.files import Frame, ImageFile
from swinunet.client.dicom.geometry import DUPLICATE_TOLERANCE_MM, normal_of, positions_of

_FEWEST_SLICES = 3  # whose places show that they are slices of a stack
_STEP_TOLERANCE = 0.05  # of the stated distance between slices


@dataclass(frozen=True)
class _Kind:
    """One vendor's sheets. word: in ImageType. The private element `count`, of `creator`, is the number of slices."""

    name: str
    word: str
    creator_at: int
    creator: str
    count: int


_KINDS = (
    _Kind("Siemens mosaic", "MOSAIC", 0x00190010, "SIEMENS MR HEADER", 0x0019100A),
    _Kind("United Imaging grid", "VFRAME", 0x00650010, "Image Private Header", 0x00651050),
)
SHEET_TAGS: list[int | str] = [tag for kind in _KINDS for tag in (kind.creator_at, kind.count)]


def sheet_of(dataset: Dataset) -> tuple[str, int | None]:
    """What the header calls a sheet of slices, "" if it speaks of none, and how many it holds, if it says so."""
    words = value_of(dataset, "ImageType") or ()
    for kind in _KINDS:
        count = _count(dataset, kind)
        if (count or 0) > 1 or (count is None and kind.word in words):
            return kind.name, count
    return "", None


def holds_sheets(files: Sequence[ImageFile], frames: Sequence[Frame]) -> str:
    """What the images are called if they are sheets, "" if they are none, by what they say and by where they lie.

    A multi-frame file is one plane a frame where its frames lie apart: each has a place of its own there (PS3.3
    C.7.6.16.2.3). Single images of which only ImageType says that they are sheets are planes where they lie as far
    apart as they say their slices do: sheets of one series lie at one place, once for each point in time.
    """
    called = next((file.sheet for file in files if file.sheet), "")
    if not called or not frames:
        return called
    if any(frame.position_mm is None or frame.orientation is None for frame in frames):
        return called
    if all(file.multi_frame for file in files):
        own = {file.path: [frame for frame in frames if frame.file.path == file.path] for file in files}
        return "" if all(_lie_apart(group) for group in own.values()) else called
    return "" if _is_stack(files, frames) else called


def _count(dataset: Dataset, kind: _Kind) -> int | None:
    if text_of(dataset, kind.creator_at) != kind.creator:
        return None
    value = value_of(dataset, kind.count)
    if isinstance(value, bytes):  # implicit VR: pydicom does not know the element's
        text = value.decode("ascii", "replace").strip("\0 ")
        return int(text) if text.isdigit() else int.from_bytes(value[:2], "little") if len(value) == 2 else None
    try:
        return int(float(str(value)))
    except (ValueError, OverflowError):
        return None


def _lie_apart(frames: Sequence[Frame]) -> bool:
    positions = positions_of(frames)
    return len(frames) > 1 and bool(np.linalg.norm(positions - positions[0], axis=1).max() > DUPLICATE_TOLERANCE_MM)


def _is_stack(files: Sequence[ImageFile], frames: Sequence[Frame]) -> bool:
    """Whether single images, none of which states a number of slices, lie one stated step after the other."""
    if len(frames) < _FEWEST_SLICES or any(file.sheet_slices for file in files):
        return False
    stated_mm = frames[0].slice_spacing_mm or frames[0].thickness_mm
    if not stated_mm:
        return False
    steps_mm = np.diff(np.sort(positions_of(frames) @ normal_of(frames[0])))
    return bool(np.abs(steps_mm - stated_mm).max() <= _STEP_TOLERANCE * stated_mm)
