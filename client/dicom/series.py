"""The series in a folder: found, grouped, judged, and one of them chosen."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from client.dicom.files import Frame, Ignored, ImageFile, read_header
from client.dicom.geometry import affine_of
from client.dicom.verdict import Verdict, VerdictKind, judge
from swinunet.errors import GeometryError, InputError

_LISTED = 20  # series named in one message


@dataclass(frozen=True)
class Series:
    """The images of one SeriesInstanceUID (PS3.3 C.7.3.1).

    files: in the order of their paths. frames: along the normal if they have one; index k of the volume.
    """

    uid: str
    modality: str
    body_part: str
    description: str
    files: tuple[ImageFile, ...]
    frames: tuple[Frame, ...]
    verdict: Verdict

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """Columns, rows and slices of the volume, None if it is refused."""
        if not self.verdict.usable:
            return None
        return self.files[0].columns, self.files[0].rows, len(self.frames)

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """Distance between columns, rows and slices in mm, None if it is refused."""
        if not self.verdict.usable:
            return None
        i, j, k = (float((column**2).sum() ** 0.5) for column in affine_of(self.frames)[:3, :3].T)
        return i, j, k

    def summary(self) -> str:
        """One line for a person: UID, modality, description, frames. Nothing about the patient."""
        name = f' "{self.description}"' if self.description else ""
        return f"{self.uid} ({self.modality or 'no modality'}{name}, {len(self.frames)} frames, {self.verdict.kind})"


@dataclass(frozen=True)
class Scan:
    """What a folder holds. Every file is counted: in a series, or in one of the three others.

    unreadable: DICOM files so broken that they belong to no known series, with the reason.
    """

    folder: Path
    series: tuple[Series, ...]
    not_dicom: int
    not_images: int
    unreadable: tuple[ImageFile, ...]


def scan_folder(folder: Path) -> Scan:
    """Find the DICOM series in a folder and below it, by content, whatever the files are called; or in one file.

    Headers only. Links to folders are not followed. Raises InputError if the folder is not there.
    """
    not_dicom, not_images = 0, 0
    unreadable: list[ImageFile] = []
    groups: dict[str, tuple[list[ImageFile], list[Frame]]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom quotes values in its warnings
        for path in _files_below(folder):
            found = read_header(path)
            if found is Ignored.NOT_DICOM:
                not_dicom += 1
            elif found is Ignored.NOT_AN_IMAGE:
                not_images += 1
            elif not found[0].series_uid:
                unreadable.append(found[0])
            else:
                files, frames = groups.setdefault(found[0].series_uid, ([], []))
                files.append(found[0])
                frames.extend(found[1])
    series = tuple(_series(uid, files, frames) for uid, (files, frames) in groups.items())
    return Scan(folder, series, not_dicom, not_images, tuple(unreadable))


def require_images(scan: Scan) -> None:
    """Raise InputError if the scan found nothing to speak of: an empty folder, no DICOM in it, no image among it."""
    if scan.series or scan.unreadable:
        return
    if scan.not_images:
        raise InputError(
            f"{scan.folder}: {scan.not_images} DICOM objects, none of them an image; "
            "give the folder that holds the image series"
        )
    if scan.not_dicom:
        raise InputError(
            f"{scan.folder}: {scan.not_dicom} files, none of them DICOM; give a folder with a DICOM series"
        )
    raise InputError(f"{scan.folder}: the folder is empty; give a folder with a DICOM series")


def select_series(scan: Scan, uid: str | None = None, modality: str | None = None) -> Series:
    """The one series to read: that of `uid`, else the only usable one (of `modality`, if given).

    Raises InputError if there is nothing to choose, more than one, or only series of another modality, and
    GeometryError with the verdict if the series is no volume. A broken file that may belong to the series is an error.
    """
    require_images(scan)
    if scan.unreadable:
        first = scan.unreadable[0]
        raise InputError(
            f"{first.path.name}: {first.fault}, so it is unknown to which series it belongs"
            f"{f' ({len(scan.unreadable)} such files)' if len(scan.unreadable) > 1 else ''}; "
            "fetch the study again, or remove the file"
        )
    series = scan.series
    if uid is not None:
        series = tuple(one for one in series if one.uid == uid)
        if not series:
            raise InputError(f"{scan.folder}: no series {uid}; found {_listing(scan.series)}")
    if modality is not None:
        found = sorted({one.modality or "none" for one in series})
        series = tuple(one for one in series if one.modality == modality)
        if not series:
            raise InputError(
                f"{scan.folder}: the modality is {', '.join(found)}, the model reads {modality}; "
                f"give a series of modality {modality}"
            )
    usable = tuple(one for one in series if one.verdict.usable)
    if len(usable) == 1:
        return usable[0]
    if usable:
        raise InputError(
            f"{scan.folder}: {len(usable)} series could be meant, choose one with --series UID: {_listing(usable)}"
        )
    raise (
        refusal(series[0])
        if len(series) == 1
        else InputError(
            f"{scan.folder}: none of {len(series)} series is a volume: {_listing(series)}; see `swinunet inspect`"
        )
    )


def refusal(series: Series) -> InputError:
    """The error for a series that is refused, by name and with the numbers."""
    kind, sentence = series.verdict.kind, series.verdict.sentence
    no_geometry = kind in (VerdictKind.UNREADABLE, VerdictKind.COLOUR)
    return (InputError if no_geometry else GeometryError)(f"series {series.uid}: {kind}: {sentence}")


def _series(uid: str, files: list[ImageFile], frames: list[Frame]) -> Series:
    verdict, ordered = judge(files, frames)
    whole = next((file for file in files if not file.fault), files[0])
    return Series(uid, whole.modality, whole.body_part, whole.description, tuple(files), ordered, verdict)


def _files_below(folder: Path) -> Iterator[Path]:
    if folder.is_file():
        yield folder
        return
    if not folder.is_dir():
        raise InputError(f"{folder}: no such file or folder")
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if path.is_file():
                yield path


def _listing(series: tuple[Series, ...]) -> str:
    listed = "; ".join(f"{number}) {one.summary()}" for number, one in enumerate(series[:_LISTED], start=1))
    return listed + (f"; and {len(series) - _LISTED} more" if len(series) > _LISTED else "")
